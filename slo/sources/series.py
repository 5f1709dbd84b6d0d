"""Scrapes of targets that are not agents, for SLOs over series of their author's own: raw samples, put together again.

Imports slo.sources.query, slo.model, slo.observed and the page reader's sample type.

Decision (accepted). Context: agents date their pages, other targets do not; and pods come and go. Decision: the samples
of `up` say when a target was scraped. They are asked for before the series themselves: Prometheus commits both as one,
so what a seen scrape brought is there. A target whose `up` ends while others go on was taken out of service discovery:
it is told as a page without series, so that it is no gap. Series without `job` and `instance` of a scraped target
(recorded, federated or pushed ones) have no scrapes, so they are not counted and the SLO has no data: rules count them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.model import labels_of
from exporter.page import PageSample
from slo.model import Matcher, Slo
from slo.observed import Missed, Scrape
from slo.sources.query import QueryApi, Result

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
        indicators = [slo.indicator for slo in slos if slo.indicator is not None]
        self._selectors = tuple(dict.fromkeys(str(one) for indicator in indicators for one in indicator.series))
        self._query = query
        self._since = since
        self._targets: dict[_Key, _Target] = {}
        self._series: dict[frozenset[tuple[str, str]], tuple[int, PageSample]] = {}

    async def chunk(self, since: float, until: float) -> list[Scrape | Missed]:
        """All scrapes of a span that were not handed out before, in order of time. Raises QueryError."""
        if not self._selectors:
            return []
        span = f"[{max(1, int(until - since) + 1)}s]"
        for result in await self._ask(span, until):
            key = _key(result)
            if key not in self._targets and all(key):
                self._targets[key] = _Target(self._since(_source(key)))
        ups = await self._ups(span, until)
        answers = await self._ask(span, until) if ups else []
        stamps, found = self._stamps(ups)  # nothing is asked from here on: what is handed out is handed out whole
        samples: dict[tuple[_Key, float], dict[int, tuple[PageSample, float]]] = {stamp: {} for stamp in stamps}
        for result in answers:
            key, (number, one) = _key(result), self._sample(result.metric)
            for at, value in result.values:
                if (key, at) in samples:
                    samples[(key, at)][number] = (one, float(value))
        for key, at in sorted(stamps, key=lambda stamp: stamp[1]):
            found.append(self._scrape(key, at, samples[(key, at)]))
        return sorted(found, key=lambda one: one.time)

    async def _ask(self, span: str, until: float) -> list[Result]:
        return [result for selector in self._selectors for result in await self._query.ask(selector + span, until)]

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

    def _sample(self, metric: Mapping[str, str]) -> tuple[int, PageSample]:
        """The series with all its labels, and a number that stays; one series that two selectors select is one."""
        key = frozenset(metric.items())
        found = self._series.get(key)
        if found is None:
            labels = {name: value for name, value in metric.items() if name != "__name__"}
            found = self._series[key] = len(self._series), PageSample(metric.get("__name__", ""), labels_of(labels))
        return found


def _key(result: Result) -> _Key:
    return result.metric.get("job", ""), result.metric.get("instance", "")


def _source(key: _Key) -> str:
    """Never that of an agent at the same place, whose own page is another source."""
    return f"series of {key[0]}/{key[1]}"
