"""What is generated from slo's code: the JSON Schema of SLO files, and the text of `slo show` for one file of them."""

from pathlib import Path

from gpufleet.slo_text import show
from slo.spec import load, schema

SLOS = Path("tests/golden/slo/slos.yaml")


def generate() -> dict[str, str]:
    """Texts by path from the repository's root; run from there, since locations are printed as paths are given."""
    return {
        "slo/spec/schema.json": schema.render(),
        "tests/golden/slo/show.txt": show(load([SLOS])) + "\n",
    }
