"""What deploy/SECURITY.md says is so: its figures are the code's, and the tests that it names are there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "deploy" / "SECURITY.md").read_text(encoding="utf-8")
LIMITS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+): (\w+)(?: ([\w/-]+))?` \|$", TEXT, re.MULTILINE)


def written(value: float) -> set[str]:
    """A figure as the document may write it."""
    found = {f"{value:,}", f"{value:g} s", f"{value * 100:g} %"}
    if value >= 1 << 20 and value == int(value):
        found.add(f"{int(value) >> 20} MiB" if int(value) % (1 << 20) == 0 else "")
    return found


@pytest.mark.parametrize(("what", "limit", "module", "name", "key"), LIMITS, ids=[one[0] for one in LIMITS])
def test_a_limit_is_the_codes(what: str, limit: str, module: str, name: str, key: str) -> None:
    value = getattr(importlib.import_module(module), name)
    assert limit in written(value[key] if key else value), what


def test_every_limit_is_held() -> None:
    table = TEXT.partition("## Limits")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert len(LIMITS) == len(table.splitlines()) - 2


def test_every_row_of_what_a_hostile_one_can_do_names_tests_that_are_there() -> None:
    table = TEXT.partition("## What a hostile one can do\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    for row in table:
        [path] = re.findall(r"\| `(tests/[\w/]+\.py)` \|$", row)
        assert (ROOT / path).is_file(), row
    here = {f"tests/hostile/{path.name}" for path in Path(__file__).parent.glob("test_*.py")} - {
        f"tests/hostile/{Path(__file__).name}"
    }
    assert here <= set(re.findall(r"`(tests/[\w/]+\.py)`", TEXT))
