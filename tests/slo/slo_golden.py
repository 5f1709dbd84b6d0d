"""The texts of `slo show` and `slo diff`: generated, and held against what the commands print."""

from contextlib import chdir
from pathlib import Path

from gpufleet.slo_diff import diff
from gpufleet.slo_text import show
from slo.spec import load

ROOT = Path(__file__).parents[2]
SLOS = Path("tests/golden/slo/slos.yaml")
OLD, NEW = Path("tests/golden/slo/diff-old.yaml"), Path("tests/golden/slo/diff-new.yaml")


def generate() -> dict[str, str]:
    """The texts by their paths from the repository's root."""
    with chdir(ROOT):  # locations are printed as paths are given
        shown = show(load([SLOS]))
        changed = diff(load([OLD]), load([NEW]))
    return {"tests/golden/slo/show.txt": shown + "\n", "tests/golden/slo/diff.txt": changed + "\n"}
