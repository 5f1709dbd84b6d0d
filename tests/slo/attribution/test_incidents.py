"""Seeded incidents of every cause, judged: the right GPU with the right evidence, and no hardware where none did it.

It plays some 80 incidents of three hours each through pages, counting and ledger, on seeds that nothing was tuned on;
`make bench ARGS=incidents` plays many more.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.slo.attribution.incidents import HARDWARE, OTHERS, play
from tests.slo.attribution.judging import Judged, judged

SEEDS = range(5)


def outcomes(causes: Iterable[str], tmp_path: Path) -> list[Judged]:
    found = []
    for cause in causes:
        for seed in SEEDS:
            incident = play(cause, seed, tmp_path)
            found.append(judged(incident))
            incident.ledger.close()
    return found


@pytest.mark.parametrize("part", [0, 1, 2])
def test_hardware_is_named_first_with_its_evidence(part: int, tmp_path: Path) -> None:
    causes = sorted(HARDWARE)[part::3]
    told = outcomes(causes, tmp_path)
    assert len(told) == len(causes) * len(SEEDS)
    wrong = [one.why for one in told if not one.right]
    assert len(wrong) <= 0.05 * len(told), wrong


def test_no_hardware_is_named_where_none_did_it_and_what_did_is(tmp_path: Path) -> None:
    told = {cause: outcomes([cause], tmp_path) for cause in OTHERS}
    assert [one.why for many in told.values() for one in many if one.kind == "hardware"] == []
    expected = {"upstream": "none"}
    for cause, many in told.items():
        right = [one for one in many if one.kind == expected.get(cause, cause)]
        assert len(right) >= len(many) - 1, [one.why for one in many]
