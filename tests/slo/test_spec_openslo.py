"""OpenSLO's files: methods, sources, windows, objectives, and faults with their lines."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import yaml

from slo.model import Method
from slo.periods import span_of
from slo.spec import load, reports_of

FILE = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers, displayName: Answers, labels: {team: web, env: [a, b]}}
spec:
  service: web
  budgetingMethod: Occurrences
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'sum(http_total{code="200"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(http_total)}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.99}]
"""


def write(tmp_path, **changes):
    """FILE with parts of its spec replaced; in a line a part, so that lines stay known."""
    document = yaml.safe_load(FILE)
    document["spec"] |= changes
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return reports_of([tmp_path])[0]


def threshold(query, source="Prometheus"):
    source = {"type": source, "spec": {"query": query}}
    return {"metadata": {"name": "x"}, "spec": {"thresholdMetric": {"metricSource": source}}}


def test_counters_in_place(tmp_path):
    (tmp_path / "a.yaml").write_text(FILE)
    (slo,) = load([tmp_path])
    assert (slo.id, slo.objective, slo.window.text) == ("web-answers", Decimal("0.99"), "28d")
    assert (slo.description, slo.labels) == ("Answers", {"team": "web"})
    assert str(slo.indicator) == 'good http_total{code="200"} of total http_total'
    assert reports_of([tmp_path])[0].notes == (f"{tmp_path}/a.yaml:3: metadata.labels.env is not used",)


def test_several_objectives_are_several_slos(tmp_path):
    found = write(tmp_path, objectives=[{"displayName": "Our Goal", "target": 0.99}, {"targetPercent": 95}])
    assert [(slo.id, slo.objective) for slo in found.slos] == [
        ("web-answers-our-goal", Decimal("0.99")),
        ("web-answers-2", Decimal("0.95")),
    ]


def test_slices_are_minutes(tmp_path):
    slices = {"timeSliceTarget": 0.95, "timeSliceWindow": "1m", "target": 0.99}
    (slo,) = write(tmp_path, budgetingMethod="Timeslices", objectives=[slices]).slos
    total, good = ("sum by ($by) (rate(http_total%s[$window]))" % part for part in ("", '{code="200"}'))  # noqa: UP031  # braces
    assert slo.method is Method.TIMESLICES
    assert slo.indicator.minute == f"({good} or {total} * 0) / {total} >= bool 0.95"
    del slices["timeSliceTarget"]
    (slo,) = write(tmp_path, budgetingMethod="RatioTimeslices", objectives=[slices]).slos
    assert slo.indicator.minute == f"({good} or {total} * 0) / {total}"
    slices["timeSliceWindow"] = "5m"
    found = write(tmp_path, budgetingMethod="RatioTimeslices", objectives=[slices])
    assert found.slos == ()
    assert "slices of 5m: they are of 1m here" in found.unsupported[0]


def calendar(duration, **said):
    return {"timeWindow": [{"duration": duration, "isRolling": False, "calendar": said}]}


def test_a_calendar_window_begins_where_it_says(tmp_path):
    said = {"startTime": "2022-01-01 12:00:00", "timeZone": "America/New_York"}
    (slo,) = write(tmp_path, **calendar("1M", **said)).slos
    noon = datetime(2026, 11, 1, 12, tzinfo=ZoneInfo("America/New_York"))
    assert span_of(slo.window, noon.timestamp()).start == noon.timestamp()
    assert (slo.window.text, slo.window.words) == ("month", "calendar month (America/New_York)")
    (slo,) = write(tmp_path, **calendar("2w")).slos
    assert (slo.window.text, slo.window.seconds) == ("2-weeks", 14 * 86400)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"startTime": "noon"}, "startTime 'noon' is no time: write one like"),
        ({"timeZone": "Mars"}, "'Mars' is not known"),
    ],
)
def test_a_calendar_that_is_none_is_refused(tmp_path, said, words):
    found = write(tmp_path, **calendar("1M", **said))
    assert found.slos == ()
    assert words in found.problems[0]


@pytest.mark.parametrize(("op", "sign"), [("lte", "<="), ("lt", "<"), ("gte", ">="), ("gt", ">")])
def test_a_gauge_is_compared_minute_by_minute(tmp_path, op, sign):
    (slo,) = write(
        tmp_path, indicator=threshold("max(lag)"), objectives=[{"target": 0.9, "op": op, "value": 200.5}]
    ).slos
    assert slo.indicator.minute == f"(max(lag)) {sign} bool 200.5"


def test_objectives_with_indicators_of_their_own_are_slos_and_a_composite(tmp_path):
    own = yaml.safe_load(FILE)["spec"]["indicator"]
    goals = [{"displayName": "A", "target": 0.99, "indicator": own, "compositeWeight": 3},
             {"displayName": "B", "target": 0.95, "indicator": own}]  # fmt: skip
    found = write(tmp_path, objectives=goals)
    a, b, both = found.slos
    assert (found.problems, found.unsupported) == ((), ())
    assert [(part.slo, part.weight) for part in both.parts] == [(a, 3), (b, 1)]
    assert (both.id, both.objective) == ("web-answers", Decimal("0.98"))  # 1 - (3 * 0.01 + 0.05) / 4
    gauge = threshold("max(lag)")
    found = write(tmp_path, objectives=[goals[0], {"target": 0.9, "op": "lt", "value": 1, "indicator": gauge}])
    assert len(found.slos) == 2
    assert "web-answers-2 is watched by rules alone" in found.unsupported[0]
    assert "a composite of one objective" in write(tmp_path, objectives=goals[:1]).unsupported[0]
    goals[0]["compositeWeight"] = -1
    assert "compositeWeight '-1' is not a positive number" in write(tmp_path, objectives=goals).problems[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timeWindow": [{"duration": "1m", "isRolling": False, "calendar": {"startTime": "2022-01-01 12:00:00"}}]},
         "a calendar window of 1m: m is minutes: write 1M for a month"),
        ({"timeWindow": [{"duration": "1M", "isRolling": True}]}, "months have no fixed length"),
        ({"indicator": threshold("sum(")}, "not PromQL"),
        ({"indicator": threshold("lag[5m]")}, "not PromQL"),
        ({"indicator": threshold("5")}, "not PromQL"),
        ({"indicator": threshold("a", "Datadog")}, "its source is Datadog"),
        ({"objectives": [{"target": 0.1}]}, "no alert could ever fire at 10% over 28d"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_says_why(tmp_path, changes, reason):
    if "indicator" in changes:
        changes["objectives"] = [{"target": 0.9, "op": "lt", "value": 1}]
    found = write(tmp_path, **changes)
    assert (found.slos, found.problems) == ((), ())
    assert len(found.unsupported) == 1
    assert reason in found.unsupported[0]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("target: 0.99", "target: 1", 15, "target 1 leaves no budget"),
        ("target: 0.99", "goal: 0.99", 15, "spec.objectives[0] has no 'target'"),
        ("budgetingMethod: Occurrences", "budgetingMethod: Any", 6, "'Any' is none"),
        ("duration: 28d", "duration: long", 14, "'long' is not a window"),
        ("kind: SLO", "kind: SLOs", 2, "is none of OpenSLO's"),
        ("service: web", "service: []", 5, "must be a single value"),
        ("        good:", "        fine:", 13, "needs one of good and bad"),
        ("objectives: [{target: 0.99}]", "objectives: []", 15, "at least one"),
    ],
)
def test_faults_are_refused_with_their_line(tmp_path, old, new, line, words):
    assert old in FILE
    (tmp_path / "a.yaml").write_text(FILE.replace(old, new))
    (report,) = reports_of([tmp_path])
    assert report.slos == ()
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"{tmp_path}/a.yaml:{line}: ")
    assert words in report.problems[0]
