"""Ratio and latency over any series: from expressions to counters, in the ledger's counting and from Prometheus."""

import asyncio
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import render
from exporter.metrics import llm
from exporter.model import InputError, labels_of
from exporter.page import PageSample
from slo.counting import Missed, Scrape, Tally
from slo.model import Indicator, Matcher, SeriesSelector
from slo.signals import signal_of
from slo.signals.base import Role
from slo.sources.prometheus import PrometheusSource
from slo.spec import load
from slo.spec.expressions import NotCountersError, NotPromqlError, Terms, counters, events
from tests import serving

FILE = """\
apiVersion: gpufleet/v1
service: api
slos:
  - {name: bad, signal: ratio, bad: 'http_total{code=~"5.."}', total: http_total, objective: 99%, window: 30d}
  - {name: good, signal: ratio, good: 'http_total{code="200"}', total: http_total, objective: 99%, window: 30d}
  - {name: fast, signal: latency, metric: 'http_seconds{job="api"}', threshold: 500ms, objective: 99%, window: 30d}
  - {name: slow, signal: latency, metric: http_seconds, threshold: 700ms, objective: 99%, window: 30d}
  - {name: edge, signal: ratio, good: 'http_seconds_bucket{le="2"}', total: http_seconds_count, objective: 99%,
     window: 30d}
  - {name: native, signal: ttft, threshold: 500ms, objective: 99%, window: 30d}
"""
CAPTURES = Path(__file__).parents[1] / "captures"
T0 = 1_800_000_000


@pytest.fixture
def slos(tmp_path):
    (tmp_path / "slos.yaml").write_text(FILE)
    return {slo.name: slo for slo in load([tmp_path])}


def page(values: dict[str, float], instance: str = "a:1") -> tuple[list[PageSample], list[float]]:
    """Series as Prometheus has them, from `name{label=value,…}` texts."""
    series = []
    for text in values:
        name, _, rest = text.rstrip("}").partition("{")
        labels = dict(pair.split("=") for pair in rest.split(",") if pair)
        series.append(PageSample(name, labels_of({"job": "api", "instance": instance, **labels})))
    return series, list(values.values())


def counted(slos, *pages: dict[str, dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """good, good_upper and total by SLO, of pages by instance at 15 s intervals."""
    tally = Tally(slos)
    layouts: dict[tuple, list[PageSample]] = {}
    for turn, by_instance in enumerate([*pages, *[pages[-1]] * 8]):  # a minute closes once scrapes are past it
        for instance, values in by_instance.items():
            series, numbers = page(values, instance)
            layout = layouts.setdefault((instance, *values), series)
            tally.feed(Scrape(instance, T0 + 15.0 * turn, layout, numbers, layout))
    found: dict[str, tuple[float, float, float]] = {}
    for one in tally.close(T0 + 3600):
        before = found.get(one.slo_id, (0.0, 0.0, 0.0))
        found[one.slo_id] = tuple(a + b for a, b in zip(before, (one.good, one.good_upper, one.total), strict=True))
    return found


def test_failures_are_counted_from_raw_series_through_births_and_resets(slos):
    found = counted(
        [slos["bad"], slos["good"]],
        {"a:1": {"http_total{code=200}": 1000}},  # a past that nobody watched
        {"a:1": {"http_total{code=200}": 1010, "http_total{code=500}": 3}},  # the first failures ever
        {"a:1": {"http_total{code=200}": 4, "http_total{code=500}": 1}},  # a new process
    )
    assert found["api-bad"] == (10 + 4, 14, 10 + 4 + 3 + 1)
    assert found["api-good"] == (14, 14, 18)


def test_without_a_single_good_event_all_are_bad(slos):
    found = counted([slos["good"]], {"a:1": {"http_total{code=500}": 1}}, {"a:1": {"http_total{code=500}": 8}})
    assert found["api-good"] == (0, 0, 7)


def test_total_and_failures_may_come_from_different_places(slos):
    found = counted(
        [slos["bad"]],
        {"a:1": {"http_total{code=200}": 0}, "b:1": {"http_total{code=500}": 0}},
        {"a:1": {"http_total{code=200}": 90}, "b:1": {"http_total{code=500}": 10}},
    )
    assert found["api-bad"] == (90, 90, 100)


def test_a_histogram_gives_bounds_where_the_threshold_is_no_edge(slos):
    def buckets(*values):
        edges = ("0.5", "1.0", "+Inf")
        return {f"http_seconds_bucket{{le={edge}}}": value for edge, value in zip(edges, values, strict=True)}

    found = counted([slos["fast"], slos["slow"]], {"a:1": buckets(0, 0, 0)}, {"a:1": buckets(5, 7, 10)})
    assert found["api-fast"] == (5, 5, 10)
    assert found["api-slow"] == (5, 7, 10)


def test_a_bucket_that_is_not_there_leaves_the_slo_unknown(slos):
    series = {"http_seconds_count": 0, "http_seconds_bucket{le=1.0}": 0}
    assert counted([slos["edge"]], {"a:1": series}, {"a:1": dict.fromkeys(series, 9)}) == {}
    for spelling in ("2", "2.0"):
        series = {"http_seconds_count": 0, f"http_seconds_bucket{{le={spelling}}}": 0}
        assert counted([slos["edge"]], {"a:1": series}, {"a:1": dict.fromkeys(series, 9)})["api-edge"] == (9, 9, 9)


def test_agents_pages_and_series_of_ones_own_never_count_for_each_other(slos):
    bucket = f"{llm.TIME_TO_FIRST_TOKEN.bucket}{{le=+Inf}}"
    assert counted([slos["native"]], {"a:1": {bucket: 0}}, {"a:1": {bucket: 5}}) == {}
    own = [PageSample("http_total", (("code", "500"),))]
    tally = Tally([slos["bad"]])
    for turn in range(2):
        tally.feed(Scrape("agent", T0 + 15.0 * turn, own, [5.0 * turn], own))
    assert tally.close(T0 + 600) == []


def test_what_two_summed_selectors_both_select_counts_twice(slos):
    total = SeriesSelector("http_total")
    both = Indicator(total=(total, total), bad=(total,))
    slo = slos["bad"]
    changed = replace(slo, indicator=both)
    series, _ = page({"http_total{code=200}": 1})
    assert [slot.role for slot in signal_of(changed).bind(changed, series)] == [Role.TOTAL, Role.TOTAL, Role.BAD]


MATCHERS = st.builds(
    Matcher, st.sampled_from(["code", "job"]), st.sampled_from(["=", "!="]), st.text('ab"\\{}é ', max_size=4)
)
SELECTORS = st.builds(
    SeriesSelector,
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}_total", fullmatch=True),
    st.lists(MATCHERS, max_size=2).map(lambda matchers: tuple(sorted(matchers, key=str))),
)


@given(st.lists(st.tuples(st.booleans(), SELECTORS), min_size=1, max_size=4), st.sampled_from(["rate", "increase"]))
def test_any_sum_and_difference_of_rates_is_reduced_to_its_counters(terms, function):
    """Whatever the names and matchers: signs are kept through nesting, and texts come back as they were."""
    text = f"sum({function}({terms[0][1]}[{{{{ .window }}}}]))"
    for minus, selector in terms[1:]:
        text = f"({text}) {'-' if minus else '+'} (sum({function}({selector}[5m])) or on() vector(0))"
    found = counters(text)
    assert found.plus == (terms[0][1], *(selector for minus, selector in terms[1:] if not minus))
    assert found.minus == tuple(selector for minus, selector in terms[1:] if minus)


@pytest.mark.parametrize(
    "text",
    [
        "avg(rate(a[5m]))", "sum(rate(a[5m])) / 2", "a", "sum(a)", "sum(rate(a[5m] offset 1m))", "sum(rate(a[1h:5m]))",
        'sum(rate({__name__=~"a|b"}[5m]))', "sum without (pod) (rate(a[5m]))", "rate(a[5m]) or vector(1)",
        'sum(rate(a{b=~"(?=c)"}[5m]))', "sum(sum by (x) (rate(a[5m])))", "histogram_quantile(0.9, rate(a[5m]))",
    ],
)  # fmt: skip
def test_what_is_no_sum_of_rates_is_not_taken_for_one(text):
    with pytest.raises((NotCountersError, NotPromqlError)):
        counters(text)


def test_total_minus_good_is_good_of_total():
    total, bad = counters("sum(rate(n[5m]))"), counters('sum(rate(n[5m])) - sum(rate(b{le="1"}[5m]))')
    good = SeriesSelector("b", (Matcher("le", "=~", r"1|1\.0"),))
    assert events(total, bad) == ((good,), ())
    with pytest.raises(NotCountersError, match="others than the total"):
        events(Terms((SeriesSelector("m"),)), bad)


@pytest.mark.parametrize(
    ("slo", "line", "words"),
    [
        ("{signal: ratio, total: a}", 4, "needs total, and either good or bad"),
        ("{signal: ratio, total: a, good: b, bad: c}", 4, "needs total, and either good or bad"),
        ("{signal: ratio, total: a, bad: 'b{'}", 4, "bad is not PromQL"),
        ("{signal: ratio, total: a, bad: 'b > 1'}", 4, "bad: '>' is more than sums"),
        ("{signal: ratio, total: 'sum by (x) (rate(a[5m]))', bad: b}", 4, "for group_by"),
        ("{signal: ratio, total: a, bad: b, metric: c}", 4, "metric is for signal latency"),
        ("{signal: ttft, total: a, threshold: 1s}", 4, "total is for signal ratio"),
        ("{signal: latency, threshold: 1s}", 4, "needs a metric"),
        ("{signal: latency, metric: h}", 4, "needs a threshold"),
        ("{signal: latency, metric: h_bucket, threshold: 1s}", 4, "write h"),
        ("{signal: latency, metric: h, threshold: 1s, edge: lower}", 4, "edge is for engines"),
        ("{signal: latency, metric: 'h{le=\"1\"}', threshold: 1s}", 4, "leave le out"),
    ],
)
def test_faults_of_generic_slos_are_told_with_their_line(tmp_path, slo, line, words):
    file = tmp_path / "slos.yaml"
    slo = slo.replace("{", "{name: x, objective: 99%, window: 30d, ", 1)
    file.write_text(f"apiVersion: gpufleet/v1\nservice: api\nslos:\n  - {slo}\n")
    with pytest.raises(InputError) as error:
        load([file])
    assert str(error.value).startswith(f"{file}:{line}: ")
    assert words in str(error.value)


class StubApi:
    """The query API over samples that a test puts in, as `(name, labels, time, value)`; newest last."""

    def __init__(self):
        self.samples: dict[tuple[tuple[str, str], ...], list[tuple[float, str]]] = {}
        self.asked: list[str] = []

    def put(self, text: str, at: float, value: float, job: str = "api", instance: str = "a:1"):
        (series,), _ = page({text: value}, instance)
        labels = {**dict(series.labels), "job": job, "__name__": series.name}
        self.samples.setdefault(tuple(sorted(labels.items())), []).append((at, repr(value)))

    async def query(self, request):
        form = await request.post()
        selector, _, span = form["query"].rpartition("[")
        self.asked.append(selector)
        until, seconds = float(form["time"]), float(span.rstrip("s]"))
        wanted = counters(selector, bare=True).plus[0] if not selector.startswith("{") else None
        result = [
            {"metric": dict(labels), "values": [v for v in values if until - seconds < v[0] <= until]}
            for labels, values in self.samples.items()
            if wanted is not None and wanted.selects(dict(labels)["__name__"], dict(labels))
        ]
        found = [one for one in result if one["values"]]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": found}})

    async def __aenter__(self):
        self.site = serving.site(serving.route("POST", "/api/v1/query", self.query))
        self.url = await self.site.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.site.__aexit__(*error)


def test_targets_that_are_no_agents_are_read_as_they_were_scraped(slos):
    """Each scrape once, failures told, a target that was taken away told as gone, one that cannot be asked never."""

    async def run():
        now = time.time() // 60 * 60
        async with StubApi() as api:
            source = PrometheusSource(api.url, [slos["bad"]], clock=lambda: now)
            source.resume({"series of api/a:1": now - 600})
            for at in range(-600, 0, 15):
                api.put("up", now + at, 0.0 if at == -300 else 1.0)
                if at != -300:
                    api.put("http_total{code=200}", now + at, 600.0 + at)
                if at < -450:
                    api.put("up", now + at, 1.0, instance="b:1")
                    api.put("http_total{code=500}", now + at, 3.0, instance="b:1")
            api.put("http_total{code=500}", now - 15, 9.0, instance="federated:1")  # nobody scrapes it
            first, again = await source.poll(), await source.poll()
            await source.close()
            return now, first, again

    now, found, again = asyncio.run(run())
    mine = [one for one in found if one.source == "series of api/a:1"]
    assert [one.time for one in mine] == [now + at for at in range(-585, 0, 15)]
    assert [one.time for one in mine if isinstance(one, Missed)] == [now - 300]
    assert again == []
    other = [one for one in found if one.source == "series of api/b:1"]
    assert (other[-1].series, other[-1].time) == ((), now - 465 + 1)
    assert not any("federated" in one.source for one in found)
    tally = Tally([slos["bad"]])
    for one in mine:
        tally.feed(one) if isinstance(one, Scrape) else tally.missed(one)
    assert (
        sum(one.total for one in tally.close(now)) == 525 - 15
    )  # up to the scrape at -75 s, in the last closed minute


RULES_TEST = """\
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 15s
    input_series:
      - {series: 'http_total{code="200"}', values: 0+9x60}
      - {series: 'http_total{code="500"}', values: 0+1x60}
      - {series: 'http_seconds_count{job="api"}', values: 0+4x60}
      - {series: 'http_seconds_bucket{job="api",le="0.5"}', values: 0+3x60}
      - {series: 'probe_success{instance="a",target="x"}', values: 1x60}
      - {series: 'probe_success{instance="b",target="x"}', values: 1x20 0x40}
      - {series: 'probe_success{instance="c",target="y"}', values: 0x60}
    promql_expr_test:
      - {expr: 'round(gpufleet_slo:total:increase5m{service="api"}, 0.01)', eval_time: 10m, exp_samples: [
          {labels: '{slo="bad",slo_id="api-bad",service="api"}', value: 200},
          {labels: '{slo="good",slo_id="api-good",service="api"}', value: 200},
          {labels: '{slo="twice",slo_id="api-twice",service="api"}', value: 400},
          {labels: '{slo="fast",slo_id="api-fast",service="api"}', value: 80},
          {labels: '{slo="slow",slo_id="api-slow",service="api"}', value: 80},
          {labels: '{slo="edge",slo_id="api-edge",service="api"}', value: 80}]}
      - {expr: 'round(gpufleet_slo:good:increase5m{service="api"}, 0.01)', eval_time: 10m, exp_samples: [
          {labels: '{slo="bad",slo_id="api-bad",service="api"}', value: 180},
          {labels: '{slo="good",slo_id="api-good",service="api"}', value: 180},
          {labels: '{slo="twice",slo_id="api-twice",service="api"}', value: 380},
          {labels: '{slo="fast",slo_id="api-fast",service="api"}', value: 60}]}
      - {expr: 'gpufleet_slo:error:ratio{slo=~"edge|slow"}', eval_time: 10m, exp_samples: []}
      - {expr: 'ALERTS{alertname="SloNoData",alertstate="firing",slo=~"edge|slow|fast"}', eval_time: 10m, exp_samples: [
          {labels: 'ALERTS{alertname="SloNoData",alertstate="firing",slo="edge",slo_id="api-edge",service="api",
                    severity="ticket"}', value: 1},
          {labels: 'ALERTS{alertname="SloNoData",alertstate="firing",slo="slow",slo_id="api-slow",service="api",
                    severity="ticket"}', value: 1}]}
      - {expr: 'gpufleet_slo:good:minute', eval_time: 4m, exp_samples: [
          {labels: 'gpufleet_slo:good:minute{slo="prometheus-blackbox-probe-success",service="default",target="x",
                    slo_id="default-prometheus-blackbox-probe-success"}', value: 1},
          {labels: 'gpufleet_slo:good:minute{slo="prometheus-blackbox-probe-success",service="default",target="y",
                    slo_id="default-prometheus-blackbox-probe-success"}', value: 0}]}
      - {expr: 'gpufleet_slo:good:minute{target="x"}', eval_time: 9m, exp_samples: [
          {labels: 'gpufleet_slo:good:minute{slo="prometheus-blackbox-probe-success",service="default",target="x",
                    slo_id="default-prometheus-blackbox-probe-success"}', value: 0.5}]}
"""


def test_rules_count_what_the_ledger_counts(slos, binary, tmp_path):
    """Tiles of counters; two terms of one sum; no tile where the threshold is no edge, and an alert that says so."""
    slos.pop("native")
    twice = Indicator(total=(SeriesSelector("http_total"),) * 2, bad=slos["bad"].indicator.bad)
    probes = load([CAPTURES / "specs" / "pyrra" / "prometheus-probe-success.yaml"])
    (tmp_path / "rules.yaml").write_text(
        render([*slos.values(), replace(slos["bad"], name="twice", indicator=twice), *probes])
    )
    (tmp_path / "test.yaml").write_text(RULES_TEST)
    done = subprocess.run(
        [binary("promtool"), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
