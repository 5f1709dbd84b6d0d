"""Counts from a Prometheus-compatible API: raw range vectors, put together again as the scrapes that they came from.

Imports slo.sources.query and series, slo.model, slo.observed, slo.facts, slo.plan, slo.signals, the catalogue and the
page reader's sample type.

Decision (accepted). Context: increase() extrapolates and rate() needs two samples in a range; a ledger must be exact.
Decision: ask for the raw samples (`selector[300s]` at a time) behind a watermark and group those of one target and
timestamp into a Scrape, so that agents and Prometheus go through the same counting. A scrape is taken once its
`gpufleet_snapshot_age_seconds` was seen before the rest was asked for: Prometheus commits a scrape as a whole, so the
rest is then there. Overlap and repeats are cut by the last time handed out for each target. Consequences: no lag;
history is read in chunks at its own pace; a range's left edge, which differs between Prometheus 2 and 3, does not
matter.

Decision (accepted). Context: servers limit the samples and the time of a query, and restart. Decision: what is refused
or takes too long is asked for again in halves, down to LEAST_SECONDS, and in longer parts once that works; nothing of a
part is handed out before all of it is there. Only the newest part is asked for with an overlap, since late samples are
late by no more than that. Consequence: a limit of a few samples more than one short part slows reading down, it never
leaves a hole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.metrics import llm
from exporter.metrics.agent import SNAPSHOT_AGE
from exporter.model import Family, labels_of
from exporter.page import PageSample
from slo.fact_watch import FAMILIES
from slo.model import Matcher, Slo
from slo.observed import Missed, Scrape
from slo.plan import PLACE_LABELS
from slo.signals import signal_of
from slo.sources.access import Access
from slo.sources.base import AHEAD_SECONDS, SAME_SECONDS, STALE_SECONDS
from slo.sources.query import QueryApi, QueryError, Result
from slo.sources.series import SeriesTargets

CHUNK_SECONDS = 300.0
LEAST_SECONDS = 15.0
GROWTH = 1.25
"""Each part that is answered lets the next one be longer by so much."""
CHUNKS_PER_POLL = 12
OVERLAP_SECONDS = 90.0
"""How late a target's samples may become visible."""
MAX_SELECTORS = 8
"""With more different selectors than this the families are asked for without any."""
LAYOUTS_KEPT = 8
SILENT_SECONDS = 3600.0
"""A target silent for longer than this, next to others, does not hold the watermark back."""
_ADDED = ("__name__", "job", "instance")
_EXPORTED = "exported_"

_Key = tuple[str, str]
"""Job and instance of a scraped target."""
_Stamp = tuple[_Key, float]


@dataclass(slots=True)
class _Target:
    """One scraped target: its page shapes by the series that make them up, and the last times handed out.

    `last` is of a sample, `taken` of a snapshot, `missed` of a failed scrape.
    """

    last: float = 0.0
    taken: float = 0.0
    missed: float = 0.0
    layouts: dict[tuple[int, ...], tuple[PageSample, ...]] = field(default_factory=dict)


class PrometheusSource:
    """Reads what `slos` need from the query API at `url` (Prometheus, Thanos, Mimir, VictoriaMetrics)."""

    def __init__(
        self,
        url: str,
        slos: Sequence[Slo],
        access: Access | None = None,
        *,
        interval_seconds: float = 15.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._address = url, access
        self._query = QueryApi(url, access)
        self._part_seconds = CHUNK_SECONDS
        self._late_seconds = OVERLAP_SECONDS
        self._clock = clock
        self._selectors = selectors_for(slos)
        self._own_series = SeriesTargets(self._query, slos, lambda source: self._heard.get(source, self._begin))
        self._watermark: float | None = None
        self._begin = 0.0
        self._heard: dict[str, float] = {}
        self._targets: dict[_Key, _Target] = {}
        self._series: dict[frozenset[tuple[str, str]], tuple[int, PageSample]] = {}

    @property
    def name(self) -> str:
        """For people."""
        return f"Prometheus {self._query.url}"

    def resume(self, heard: Mapping[str, float]) -> None:
        """Begin with what came after the last time that each source was counted; without any, with what is new."""
        self._heard = dict(heard)
        if heard:
            newest = max(heard.values())
            self._begin = self._watermark = min(at for at in heard.values() if newest - at < SILENT_SECONDS)

    def follow(self, slos: Sequence[Slo]) -> None:
        """Ask for what these SLOs count from now on; nothing is handed out again."""
        self._selectors = selectors_for(slos)
        self._own_series.follow(slos)

    @property
    def through(self) -> float:
        """Up to when it was read."""
        return self._watermark or 0.0

    async def earliest(self, since: float, until: float) -> float | None:
        """When what it has of [since, until) begins, to the hour; None where it has nothing, `since` if silent."""
        try:
            found = await self._query.ask(f"count(up)[{int(until - since)}s:1h]", until)
        except QueryError:
            return since
        times = [at for result in found for at, _ in result.values]
        return min(times, default=since) if found else None

    def past(self, slos: Sequence[Slo], since: float, until: float) -> PrometheusSource:
        """A source of the same address that reads [since, until) alone."""
        url, access = self._address
        source = PrometheusSource(url, slos, access, clock=lambda: until)
        source.resume({"": since})
        return source

    async def poll(self) -> list[Scrape | Missed]:
        """All scrapes that became visible since the last poll, at most an hour of them, in order of time."""
        now = self._clock()
        if self._watermark is None:
            self._begin = self._watermark = now - self.interval_seconds
        found: list[Scrape | Missed] = []
        for _ in range(CHUNKS_PER_POLL):
            since, end = self._watermark - self._late_seconds, min(now, self._watermark + self._part_seconds)
            try:
                found += await self._chunk(since, end)
                found += await self._own_series.chunk(since, end)
            except QueryError as error:
                smaller = error.too_much and self._part_seconds > LEAST_SECONDS
                if smaller:
                    self._part_seconds = max(LEAST_SECONDS, self._part_seconds / 2)
                if smaller and not error.slow:
                    continue
                found.append(Missed(self._query.url, now, str(error)))
                break
            self._watermark = end
            self._late_seconds = OVERLAP_SECONDS if end > now - OVERLAP_SECONDS else 0.0
            self._part_seconds = min(CHUNK_SECONDS, GROWTH * self._part_seconds)
            if end >= now:
                break
        return found

    async def close(self) -> None:
        """Let go of connections."""
        await self._query.close()

    async def _chunk(self, since: float, until: float) -> list[Scrape | Missed]:
        span = f"[{max(1, int(until - since) + 1)}s]"
        ages: dict[_Stamp, float] = {}
        for result in await self._query.ask(SNAPSHOT_AGE.name + span, until):
            key = _key(result.metric)
            if key not in self._targets:
                self._targets[key] = _Target(self._heard.get(_source(key), self._begin))
            last = self._targets[key].last
            ages.update(((key, at), float(age)) for at, age in result.values if at > last)
        ups = await self._ups(span, until)
        samples: dict[_Stamp, list[tuple[int, PageSample, float]]] = {stamp: [] for stamp in ages}
        for selector in self._selectors if ages else ():
            for result in await self._query.ask(selector + span, until):
                key, (number, one) = _key(result.metric), self._sample(result.metric)
                for at, value in result.values:
                    if (key, at) in samples:
                        samples[(key, at)].append((number, one, float(value)))
        found = self._misses(ups)  # nothing is asked from here on: what is handed out is handed out whole
        for stamp in sorted(ages, key=lambda stamp: stamp[1]):
            one_found = self._scrape(stamp, ages[stamp], samples[stamp])
            if one_found is not None:
                found.append(one_found)
        return sorted(found, key=lambda one: one.time)

    async def _ups(self, span: str, until: float) -> list[Result]:
        jobs = sorted({job for job, _ in self._targets})
        matcher = Matcher("job", "=~", "|".join(re.escape(job) for job in jobs))
        return await self._query.ask(f"up{{{matcher}}}{span}", until) if jobs else []

    def _misses(self, ups: Sequence[Result]) -> list[Scrape | Missed]:
        found: list[Scrape | Missed] = []
        for result in ups:
            target = self._targets.get(_key(result.metric))
            if target is None:
                continue
            for at, value in result.values:
                if float(value) == 0 and at > max(target.last, target.missed):
                    target.missed = at
                    found.append(Missed(_source(_key(result.metric)), at, "Prometheus could not scrape it"))
        return found

    def _scrape(
        self, stamp: _Stamp, age: float, samples: list[tuple[int, PageSample, float]]
    ) -> Scrape | Missed | None:
        key, at = stamp
        target, source = self._targets[key], _source(key)
        target.last = at
        if not age >= -AHEAD_SECONDS:
            return Missed(source, at, "the agent dates its readings into the future")
        if not age <= STALE_SECONDS:
            return Missed(source, at, f"the agent answers with readings that are {age:.0f} s old")
        if abs(at - age - target.taken) <= SAME_SECONDS:
            return None
        target.taken = at - age
        samples.sort()
        shape = tuple(number for number, _, _ in samples)
        layout = target.layouts.get(shape)
        if layout is None:
            layout = target.layouts[shape] = tuple(one for _, one, _ in samples)
            if len(target.layouts) > LAYOUTS_KEPT:
                del target.layouts[next(iter(target.layouts))]
        return Scrape(source, target.taken, layout, [value for _, _, value in samples], layout)

    def _sample(self, metric: Mapping[str, str]) -> tuple[int, PageSample]:
        """The series as it stood on the agent's page, with a number that stays."""
        key = frozenset(metric.items())
        found = self._series.get(key)
        if found is None:
            labels = {name: value for name, value in metric.items() if name not in _ADDED}
            for name in [n for n in labels if n.startswith(_EXPORTED)]:
                labels[name.removeprefix(_EXPORTED)] = labels.pop(name)
            found = self._series[key] = len(self._series), PageSample(metric.get("__name__", ""), labels_of(labels))
        return found


def selectors_for(slos: Sequence[Slo]) -> tuple[str, ...]:
    """Selectors that cover everything the SLOs count, bounded by their own matchers where those are few.

    Matchers on place labels stay out: Prometheus may have renamed those labels.
    """
    wanted: dict[tuple[str, ...], set[str]] = {}
    for slo in slos:
        matchers = tuple(str(m) for m in slo.selector if m.label not in PLACE_LABELS)
        wanted.setdefault(matchers, set()).update(_name(family) for family in signal_of(slo).families)
    if len(wanted) > MAX_SELECTORS:
        wanted = {(): set().union(*wanted.values())}
    everywhere = {_name(family) for family in (*FAMILIES, llm.ENGINE_START_TIME)}
    wanted.setdefault((), set()).update(everywhere)
    open_names = wanted[()]
    return tuple(
        f"{{{','.join((str(Matcher('__name__', '=~', '|'.join(sorted(names)))), *matchers))}}}"
        for matchers, all_names in wanted.items()
        if (names := all_names - open_names if matchers else all_names)
    )


def _name(family: Family) -> str:
    return family.bucket if family.type == "histogram" else family.name


def _key(metric: Mapping[str, str]) -> _Key:
    return metric.get("job", ""), metric.get("instance", "")


def _source(key: _Key) -> str:
    return f"{key[0]}/{key[1]}"
