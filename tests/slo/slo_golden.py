"""The text of `slo show` for a file of SLOs: generated, and held against what the command prints."""

from contextlib import chdir
from pathlib import Path

from gpufleet.slo_text import show
from slo.spec import load

ROOT = Path(__file__).parents[2]
SLOS = Path("tests/golden/slo/slos.yaml")


def generate() -> dict[str, str]:
    """The text by its path from the repository's root."""
    with chdir(ROOT):  # locations are printed as paths are given
        shown = show(load([SLOS]))
    return {"tests/golden/slo/show.txt": shown + "\n"}
