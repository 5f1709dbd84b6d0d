"""Pyrra's files: the four indicators, windows, grouping, alerting, and faults with their lines."""

from decimal import Decimal
from pathlib import Path

import pytest

from slo.model import Alerting, Method
from slo.spec import load, reports_of

SPECS = Path(__file__).parents[1] / "captures" / "specs" / "pyrra"
FILE = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata:
  name: api
  labels: {pyrra.dev/team: shop, app: x}
spec:
  target: "99.5"
  window: 2w
  indicator:
    ratio:
      errors: {metric: 'errors_total{code="5"}'}
      total: {metric: all_total}
"""


def load_one(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    return load([tmp_path])[0]


def test_ratio_with_its_team(tmp_path):
    slo = load_one(tmp_path, FILE)
    assert (slo.id, slo.objective, slo.window.text, slo.labels) == (
        "default-api", Decimal("0.995"), "2w", {"team": "shop"},
    )  # fmt: skip
    assert str(slo.indicator) == 'bad errors_total{code="5"} of total all_total'


def test_latency_is_a_bucket_in_both_spellings_of_its_edge():
    latency = load([SPECS / "nginx.yaml"])[1]
    assert latency.indicator is not None
    (bucket,) = latency.indicator.good
    for edge in ("1", "1.0"):
        labels = {"namespace": "lastfm", "ingress": "lastfm", "service": "lastfm", "status": "500", "le": edge}
        assert bucket.selects("nginx_ingress_controller_request_duration_seconds_bucket", labels)
    assert (latency.id, latency.signal) == ("monitoring-nginx-api-latency", "ratio")


def test_gauges_are_for_rules_alone_native_histograms_are_not():
    (native,) = load([SPECS / "pyrra-connect-latency.yaml"])
    assert (native.signal, native.threshold_seconds) == ("latency", Decimal("0.2"))
    assert native.group_by == ("exported_service", "method")
    (gauge,) = load([SPECS / "prometheus-probe-success.yaml"])
    assert (gauge.method, gauge.group_by) == (Method.TIMESLICES, ("target",))
    assert native.indicator.native
    assert not native.indicator.rules_only
    assert gauge.indicator.rules_only


@pytest.mark.parametrize(("written", "text", "seconds"), [("30d", "30d", 30 * 86400), ("1w3d", "10d", 10 * 86400)])
def test_windows_in_prometheus_notation(tmp_path, written, text, seconds):
    window = load_one(tmp_path, FILE.replace("2w", written)).window
    assert (window.text, window.seconds) == (text, seconds)


@pytest.mark.parametrize(
    ("alerting", "disabled"),
    [("{disabled: true}", True), ("{burnrates: false}", True), ("{burnrates: true, name: X}", False), ("{}", False)],
)
def test_alerting(tmp_path, alerting, disabled):
    slo = load_one(tmp_path, FILE + f"  alerting: {alerting}\n")
    assert (slo.page, slo.ticket) == (Alerting(disabled), Alerting(disabled))
    notes = reports_of([tmp_path])[0].notes
    assert any("spec.alerting.name is not used" in note for note in notes) == ("name" in alerting)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('"99.5"', '"100"', 7, "leaves no budget"),
        ("2w", "soon", 8, "'soon' is not a duration"),
        ("2w", "10m", 8, "out of range"),
        ("ratio:", "ration:", 10, "indicator needs one of ratio"),
        ("metric: all_total", "metric: 'all_total{'", 12, "spec.indicator.ratio.total.metric is not PromQL"),
        ("metric: all_total", "query: all_total", 12, "has no 'metric'"),
        ("kind: ServiceLevelObjective", "kind: Other", 2, "holds no SLO"),
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


def test_a_query_where_a_selector_belongs_is_unsupported_with_its_reason(tmp_path):
    (tmp_path / "a.yaml").write_text(FILE.replace("metric: all_total", "metric: sum(all_total)"))
    (report,) = reports_of([tmp_path])
    assert report.unsupported == (
        f"{tmp_path}/a.yaml:1: default-api is unsupported: spec.indicator.ratio.total.metric: it is no plain selector",
    )
