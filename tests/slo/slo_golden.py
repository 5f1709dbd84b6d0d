"""What is generated from slo's code: the JSON Schema of SLO files, and the text of `slo show` for one file of them."""

from contextlib import chdir
from pathlib import Path

from gpufleet.slo_text import show
from slo.spec import load, schema

ROOT = Path(__file__).parents[2]
SLOS = Path("tests/golden/slo/slos.yaml")


def generate() -> dict[str, str]:
    """Texts by path from the repository's root."""
    with chdir(ROOT):  # locations are printed as paths are given
        shown = show(load([SLOS]))
    return {"slo/spec/schema.json": schema.render(), "tests/golden/slo/show.txt": shown + "\n"}
