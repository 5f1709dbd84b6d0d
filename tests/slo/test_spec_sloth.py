"""Sloth's files: what each part becomes, and faults with their lines."""

from decimal import Decimal
from pathlib import Path

import pytest

from slo.model import Method
from slo.spec import load, reports_of

SPECS = Path(__file__).parents[1] / "captures" / "specs" / "sloth"
FILE = """\
version: prometheus/v1
service: Shop_API
slos:
  - name: answers
    objective: 99.9
    sli:
      events:
        error_query: {error}
        total_query: {total}
    alerting: {{page_alert: {{disable: true}}}}
"""


def test_events_become_counters_with_everything_for_alerts():
    (slo,) = load([SPECS / "getting-started.yml"])
    assert (slo.id, slo.objective, slo.window.text) == ("myservice-requests-availability", Decimal("0.999"), "30d")
    assert str(slo.indicator) == (
        'bad http_request_duration_seconds_count{code=~"(5..|429)",job="myservice"} '
        'of total http_request_duration_seconds_count{job="myservice"}'
    )
    assert slo.labels == {"owner": "myteam", "repo": "myorg/myservice", "tier": "2", "category": "availability"}
    assert slo.page.labels == {"routing_key": "myteam"}
    assert slo.ticket.labels == {"slack_channel": "#alerts-myteam"}
    assert slo.annotations == {"summary": "High error rate on 'myservice' requests responses"}
    assert slo.location.line == 9


def test_both_forms_of_one_file_are_one_slo():
    plain, kubernetes = load([SPECS / "getting-started.yml"])[0], load([SPECS / "k8s-multifile.yml"])[0]
    assert (plain.indicator, plain.labels, plain.page) == (kubernetes.indicator, kubernetes.labels, kubernetes.page)


def test_total_minus_fast_ones_is_a_bucket():
    latency = load([SPECS / "kubernetes-apiserver.yml"])[1]
    assert str(latency.indicator) == (
        'good apiserver_request_duration_seconds_bucket{le="0.4",verb!="WATCH"} '
        'of total apiserver_request_duration_seconds_count{verb!="WATCH"}'
    )


def test_a_ratio_that_divides_counters_is_counted_and_any_other_is_weighed_by_minutes():
    assert load([SPECS / "good-aa.yaml"])[1].indicator == load([SPECS / "good-aa.yaml"])[0].indicator
    (raw,) = load([SPECS / "raw-home-wifi.yml"])
    assert raw.method is Method.TIMESLICES
    assert raw.indicator is not None
    assert raw.indicator.minute == (
        "1 - (1 - ( sum(sum_over_time(unifipoller_client_satisfaction_ratio[$window])) "
        "/ sum(count_over_time(unifipoller_client_satisfaction_ratio[$window])) ))"
    )


def test_notes_say_what_is_not_used_with_its_line():
    (report,) = reports_of([SPECS / "slo-plugin-getting-started.yml"])
    told = [note.removeprefix(f"{SPECS}/slo-plugin-getting-started.yml:") for note in report.notes]
    assert "7: slo_plugins is not used: plugins change Sloth's own rules" in told
    assert any(note.startswith("51: slos[0].alerting.page_alert.labels.severity is not used") for note in told)


@pytest.mark.parametrize(
    ("error", "total", "unsupported"),
    [
        ("sum(rate(a[{{.window}}]))", "sum by (job) (rate(b[{{.window}}]))", None),
        ("histogram_share(1, a)", "b", "not PromQL of Prometheus"),
    ],
)
def test_what_cannot_be_counted_says_why(tmp_path, error, total, unsupported):
    (tmp_path / "a.yaml").write_text(FILE.format(error=f'"{error}"', total=f'"{total}"'))
    (report,) = reports_of([tmp_path])
    if unsupported:
        assert report.unsupported[0].startswith(f"{tmp_path}/a.yaml:4: shop-api-answers is unsupported: {unsupported}")
    else:
        assert report.slos[0].method is Method.TIMESLICES
        assert any("kept apart by different labels" in note for note in report.notes)


def test_a_reserved_label_to_group_by_is_renamed(tmp_path):
    by = '"sum by (service) (rate({}[{{{{.window}}}}]))"'
    (tmp_path / "a.yaml").write_text(FILE.format(error=by.format("a"), total=by.format("b")))
    (slo,) = load([tmp_path])
    assert (slo.group_by, slo.page.disabled) == (("exported_service",), True)
    assert slo.group_of(slo.indicator.named({"service": "x"})) == (("exported_service", "x"),)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("objective: 99.9", "objective: 100", 5, "objective 100 leaves no budget"),
        ("objective: 99.9", "objective: nan", 5, "is not a number"),
        ("objective: 99.9", "objektive: 99.9", 4, "slos[0] has no 'objective': add it"),
        ("service: Shop_API", "service: '!'", 2, "has no letter or digit"),
        ("events:", "event:", 7, "sli needs one of events, raw and plugin"),
        ("error_query: a", "error_query: []", 8, "must be a single value"),
        ("{disable: true}", "{disable: 1}", 10, "disable must be true or false"),
        ("slos:", "slo:", 1, "slos must be a list"),
    ],
)
def test_faults_are_refused_with_their_line(tmp_path, old, new, line, words):
    text = FILE.format(error="a", total="b")
    assert old in text
    (tmp_path / "a.yaml").write_text(text.replace(old, new))
    (report,) = reports_of([tmp_path])
    assert report.slos == ()
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"{tmp_path}/a.yaml:{line}: ")
    assert words in report.problems[0]


@pytest.mark.parametrize(
    ("query", "counted"),
    [
        ("sum(rate(b[{{.window}}])) / sum(rate(t[{{.window}}]))", "bad b of total t"),
        ("(1 - (sum(rate(g[5m])) / sum(rate(t[5m]))))", "good g of total t"),
        ("1 - avg(avg_over_time(up[{{.window}}]))", "1 - (1 - avg(avg_over_time(up[$window])))"),
        ("avg(avg_over_time(down[{{.window}}]))", "1 - (avg(avg_over_time(down[$window])))"),
    ],
)
def test_a_raw_error_ratio_is_never_taken_for_its_opposite(tmp_path, query, counted):
    text = FILE.format(error="a", total="b").replace("events:", "raw:").replace("total_query: b", "x: y")
    (tmp_path / "a.yaml").write_text(text.replace("error_query: a", f"error_ratio_query: {query}"))
    assert str(load([tmp_path])[0].indicator) == counted
