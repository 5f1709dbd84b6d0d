"""`gpufleet slo diff`: what changes between two sets of files."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gpufleet.cli import main
from gpufleet.slo_diff import diff
from slo.definition import definition
from slo.model import Alerting, Edge, Matcher, Method, Slo
from slo.windows import parse_window

ROOT = Path(__file__).parents[2]
OLD, NEW = "tests/golden/slo/diff-old.yaml", "tests/golden/slo/diff-new.yaml"
SLO = Slo("chat", "ttft", "ttft", Decimal("0.95"), parse_window("30d"), Method.OCCURRENCES, Decimal("0.5"))


@pytest.fixture
def told(monkeypatch, capsys) -> str:
    monkeypatch.chdir(ROOT)
    assert main(["slo", "diff", OLD, NEW]) == 0
    return capsys.readouterr().out


def test_diff_is_up_to_date(told):
    assert told == (ROOT / "tests/golden/slo/diff.txt").read_text(encoding="utf-8"), "out of date: run make generate"


def test_a_set_compared_with_itself_has_no_change(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["slo", "diff", OLD, OLD]) == 0
    assert capsys.readouterr().out == "5 unchanged\n"


def test_two_empty_sets_have_nothing_to_tell():
    assert diff([], []) == ""


@pytest.mark.parametrize(
    "changed",
    [
        replace(SLO, threshold_seconds=Decimal(1)),
        replace(SLO, selector=(Matcher("pod", "=", "a"),)),
        replace(SLO, group_by=("pod",)),
        replace(SLO, edge=Edge.LOWER),
        replace(SLO, signal="tpot"),
        replace(SLO, objective=Decimal("0.99")),
        replace(SLO, window=parse_window("7d")),
        replace(SLO, owner="x"),
        replace(SLO, labels={"a": "b"}),
        replace(SLO, page=Alerting(disabled=True)),
    ],
    ids=["threshold", "selector", "group_by", "edge", "signal", "objective", "window", "owner", "labels", "page"],
)
def test_every_change_is_told_and_says_what_becomes_of_the_budget(changed, request):
    lines = diff([SLO], [changed]).splitlines()
    assert lines[0] == "chat-ttft"
    assert lines[1].split()[0] == request.node.callspec.id or request.node.callspec.id == "page"
    begins_anew = any("begins anew" in line for line in lines)
    assert begins_anew == (definition(SLO) != definition(changed))
    assert any("computed anew" in line for line in lines) == (
        not begins_anew and (SLO.objective, SLO.window) != (changed.objective, changed.window)
    )


def test_a_changed_window_takes_its_alerts_with_it():
    lines = diff([SLO], [replace(SLO, window=parse_window("7d"))]).splitlines()
    gone = [line for line in lines if "alert           - " in line]
    come = [line for line in lines if "alert           + " in line]
    assert gone
    assert come
    assert not {line.partition("- ")[2] for line in gone} & {line.partition("+ ")[2] for line in come}
