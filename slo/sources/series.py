"""Scrapes of targets that are not agents, for SLOs over series of their author's own: raw samples, put together again.

Imports slo.sources.query, slo.signals, slo.model, slo.observed and the page reader's sample type.

Decision (accepted). Context: agents date their pages, other targets do not; and pods come and go. Decision: the samples
of `up` say when a target was scraped. They are asked for before the series themselves: Prometheus commits both as one,
so what a seen scrape brought is there. A target whose `up` ends while others go on was taken out of service discovery:
it is told as a page without series, so that it is no gap. Series without `job` and `instance` of a scraped target
(recorded, federated or pushed ones) have no scrapes, so they are not counted and the SLO has no data: rules count them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.model import labels_of
from exporter.page import PageSample
from slo.model import Matcher, Slo
from slo.observed import Missed, Scrape
from slo.signals.native_buckets import MARK, cumulative, edges_around
from slo.sources.query import Histogram, QueryApi, Result

GONE_SECONDS = 300.0
"""A target without `up` for this long, while others have it, is gone."""
LAYOUTS_KEPT = 8
_NO_SERIES: tuple[PageSample, ...] = ()

_Key = tuple[str, str]
"""Job and instance of a scraped target."""


@dataclass(slots=True)
class _Target:
    """One target: the times of the last scrape handed out (if any was) and the last failed one, its page shapes."""

    last: float
    scraped: bool = False
    missed: float = 0.0
    layouts: dict[tuple[int, ...], tuple[PageSample, ...]] = field(default_factory=dict)


class SeriesTargets:
    """Reads what the generic ones among `slos` count. `since` gives when to begin with a source."""

    def __init__(self, query: QueryApi, slos: Sequence[Slo], since: Callable[[str], float]) -> None:
        self._query = query
        self._since = since
        self._targets: dict[_Key, _Target] = {}
        self._series: dict[frozenset[tuple[str, str]], tuple[int, PageSample]] = {}
        self.follow(slos)

    def follow(self, slos: Sequence[Slo]) -> None:
        """Read what these SLOs count from now on."""
        counted = [slo.indicator for slo in slos if slo.indicator is not None and not slo.indicator.native]
        self._native = _native(slos)
        names = (str(one) for indicator in counted for one in indicator.series)
        self._selectors = tuple(dict.fromkeys((*names, *self._native)))

    async def chunk(self, since: float, until: float) -> list[Scrape | Missed]:
        """All scrapes of a span that were not handed out before, in order of time. Raises QueryError."""
        if not self._selectors:
            return []
        span = f"[{max(1, int(until - since) + 1)}s]"
        for _, result in await self._ask(span, until):
            key = _key(result)
            if key not in self._targets and all(key):
                self._targets[key] = _Target(self._since(_source(key)))
        ups = await self._ups(span, until)
        answers = await self._ask(span, until) if ups else []
        stamps, found = self._stamps(ups)  # nothing is asked from here on: what is handed out is handed out whole
        samples: dict[tuple[_Key, float], dict[int, tuple[PageSample, float]]] = {stamp: {} for stamp in stamps}
        for selector, result in answers:
            key = _key(result)
            if selector in self._native:
                for at, histogram in result.histograms:
                    if (key, at) in samples:
                        samples[(key, at)].update(self._buckets(result.metric, histogram, self._native[selector]))
                continue
            number, one = self._sample(result.metric)
            for at, value in result.values:
                if (key, at) in samples:
                    samples[(key, at)][number] = (one, float(value))
        for key, at in sorted(stamps, key=lambda stamp: stamp[1]):
            found.append(self._scrape(key, at, samples[(key, at)]))
        return sorted(found, key=lambda one: one.time)

    async def _ask(self, span: str, until: float) -> list[tuple[str, Result]]:
        return [(one, result) for one in self._selectors for result in await self._query.ask(one + span, until)]

    async def _ups(self, span: str, until: float) -> list[Result]:
        jobs = "|".join(re.escape(job) for job in sorted({job for job, _ in self._targets}))
        matcher = Matcher("job", "=~", jobs)
        return await self._query.ask(f"up{{{matcher}}}{span}", until) if jobs else []

    def _stamps(self, ups: Sequence[Result]) -> tuple[list[tuple[_Key, float]], list[Scrape | Missed]]:
        """Scrapes that succeeded and are new; what failed, and what has gone."""
        stamps: list[tuple[_Key, float]] = []
        found: list[Scrape | Missed] = []
        heard: dict[_Key, float] = {}
        for result in ups:
            target = self._targets.get(_key(result))
            if target is None:
                continue
            for at, value in result.values:
                heard[_key(result)] = at
                if float(value) == 1 and at > target.last:
                    stamps.append((_key(result), at))
                elif float(value) != 1 and at > max(target.last, target.missed):
                    target.missed = at
                    found.append(Missed(_source(_key(result)), at, "Prometheus could not scrape it"))
        newest = max(heard.values(), default=0.0)
        for key, target in list(self._targets.items()):
            if target.scraped and key not in heard and newest - max(target.last, target.missed) > GONE_SECONDS:
                found.append(Scrape(_source(key), target.last + 1, _NO_SERIES, [], _NO_SERIES))
                del self._targets[key]
        return stamps, found

    def _scrape(self, key: _Key, at: float, samples: Mapping[int, tuple[PageSample, float]]) -> Scrape:
        target = self._targets[key]
        target.last, target.scraped = at, True
        shape = tuple(sorted(samples))
        layout = target.layouts.get(shape)
        if layout is None:
            layout = target.layouts[shape] = tuple(samples[number][0] for number in shape)
            if len(target.layouts) > LAYOUTS_KEPT:
                del target.layouts[next(iter(target.layouts))]
        return Scrape(_source(key), at, layout, [samples[number][1] for number in shape], layout)

    def _buckets(
        self, metric: Mapping[str, str], histogram: Histogram, edges: Sequence[float]
    ) -> Iterator[tuple[int, tuple[PageSample, float]]]:
        """A native histogram as cumulative buckets, each by the number that stays its own."""
        buckets = [(float(lower), float(upper), float(count)) for _, lower, upper, count in histogram.buckets]
        name = f"{metric.get('__name__', '')}_bucket"
        for edge, count in (*cumulative(buckets, edges), (float("inf"), float(histogram.count))):
            le = "+Inf" if edge == float("inf") else repr(edge)
            number, one = self._sample({**metric, "__name__": name, "le": le, MARK[0]: MARK[1]})
            yield number, (one, count)

    def _sample(self, metric: Mapping[str, str]) -> tuple[int, PageSample]:
        """The series with all its labels, and a number that stays; one series that two selectors select is one."""
        key = frozenset(metric.items())
        found = self._series.get(key)
        if found is None:
            labels = {name: value for name, value in metric.items() if name != "__name__"}
            found = self._series[key] = len(self._series), PageSample(metric.get("__name__", ""), labels_of(labels))
        return found


def _native(slos: Sequence[Slo]) -> Mapping[str, tuple[float, ...]]:
    """Selectors of native histograms, and the edges around all thresholds on each."""
    found: dict[str, set[float]] = {}
    for slo in slos:
        if slo.indicator is not None and slo.indicator.native and slo.threshold_seconds is not None:
            found.setdefault(str(slo.indicator.histogram), set()).update(edges_around(float(slo.threshold_seconds)))
    return {selector: tuple(sorted(edges)) for selector, edges in found.items()}


def _key(result: Result) -> _Key:
    return result.metric.get("job", ""), result.metric.get("instance", "")


def _source(key: _Key) -> str:
    """Never that of an agent at the same place, whose own page is another source."""
    return f"series of {key[0]}/{key[1]}"
