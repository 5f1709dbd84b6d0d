"""The tally: scrapes in, whole minutes of counts out. Pure: no I/O, no clock.

Imports slo.deltas, slo.minutes, slo.observed, slo.plan, slo.tally_state and slo.tally_follow. Decision (accepted): what
a scrape gained belongs to the minute the scrape falls into; a late one, or one behind a gap, to the oldest minute still
open, so that no event is lost or counted twice. The time between two scrapes was watched, unless it is longer than a
minute and three usual steps: that is a gap, and the minutes in it are unobserved. Consequence: counts are exact over
any span, and coverage says where their place in time is not.

Decision (accepted). Context: a minute that waits for the scrape after its end is told up to five seconds late, and the
death of an engine then spends budget after more than two minutes. Decision: a minute is closed with the last scrape of
each source that can fall into it, where sources are asked every ten seconds or more often; the rest of it is taken for
watched, and taken back from the next minute where a gap follows. Consequence: an outage counts within two minutes; a
scrape that comes sooner than usual, just before such a minute's end, counts for the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from slo.deltas import FORGET_SECONDS, Step, Track, down_of, first_sight
from slo.minutes import Gathered, Known, SourceMinute, composed, gather, slice_of
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
from slo.observed import Missed, Scrape, Slice
from slo.plan import MOST_GROUPS, Plan, bounded, make_plan
from slo.tally_follow import Held, Renumbering, kept, renumber
from slo.tally_state import Saved, dump, load

__all__ = ["Missed", "Scrape", "Slice", "Tally"]

CARRIER_SECONDS = 3600.0
"""A silent source is still held to carry its replicas this long; the group's coverage says that it is silent."""
_LAYOUTS = 8
"""Page shapes remembered for each source, so that a page that goes back and forth is not learned each time."""
LAYOUT_SERIES = 100_000
"""Series of them all, about: of large shapes fewer are remembered."""


class Tally:
    """Counts good and total events per SLO, group and minute. Make one per service; feed it every scrape, in order.

    `revisions` is what the ledger's `register` gave; `state` what its `state()` gives (None or empty: start anew). With
    a state of other SLOs, counters go on where they were tracked, and the time since is unobserved.
    `notices` collects what people should know; whoever reads them clears them.
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        state: Mapping[str, bytes] | None = None,
        *,
        revisions: Mapping[str, int] | None = None,
    ) -> None:
        self.slos = tuple(slos)
        self.revisions = dict(revisions or {})
        self.notices: list[str] = []
        self._layouts: dict[str, list[tuple[object, Plan]]] = {}
        self._held: dict[str, Held] = {}
        self._crowded: set[str] = set()
        try:
            self._saved = load(state or {}, self.slos, self.revisions)
        except ValueError as error:
            self.notices.append(f"{error}; counting begins anew, and the time until now is unobserved")
            self._saved = Saved()

    def feed(self, scrape: Scrape) -> None:
        """Count one scrape. One that is not newer than its source's last one is ignored."""
        held = self._held.get(scrape.source)
        plan = self._plan(scrape) if held is None else self._plan_held(scrape, held)
        saved = self._saved
        minute = int(scrape.time // MINUTE_SECONDS) * MINUTE_SECONDS
        if saved.closed is None:
            saved.closed = minute
        track = saved.tracks.get(scrape.source)
        if track is None:
            track = saved.tracks[scrape.source] = first_sight(plan, scrape.time, scrape.values)
            ups = frozenset(t.up for t in plan.targets if t.up is not None and track.values[t.up] == 1)
            step: Step | None = Step(None, None, ups, down=down_of(plan, track.values))
            self._learn(scrape.source, plan)
        else:
            if plan is not track.plan:
                self._learn(scrape.source, plan)
            step = track.take(plan, scrape.time, scrape.values)
        if step is None:
            return
        saved.silent.pop(scrape.source, None)
        if step.clock_stepped:
            self.notices.append(
                f"{scrape.source}: its clock went back by {step.clock_stepped:.0f} s; minutes that were counted stay "
                "as they are, events since then count from now on, the time between is unobserved"
            )
        ahead, track.ahead = track.ahead, 0.0
        if step.since is not None:
            self._watch(scrape.source, track, step, scrape.time)
        elif ahead and not step.clock_stepped:  # what was taken for watched was not: the next minute is short of it
            self._minute(minute, scrape.source).observed -= ahead
        part = self._minute(minute, scrape.source).part(plan)
        part.seen = True
        part.up |= step.up
        part.down |= step.down
        part.starting = dict(track.starting)
        if step.gained is not None:
            part.add(step.gained)
        if scrape.source in self._held:
            self._go_over(scrape, track)

    def follow(self, slos: Sequence[Slo], revisions: Mapping[str, int]) -> frozenset[str]:
        """Count for these SLOs from each source's next scrape on; ids of those that go on as before (slo.tally_follow).

        `revisions` is what the ledger's `register` gave.
        """
        stay = kept(self.slos, self.revisions, slos, revisions)
        later = frozenset(slo.id for slo in slos) - stay
        anew = Renumbering(self.slos, slos, stay)
        renumber(self._saved, anew, later, stay)
        self._layouts = {s: [(layout, anew.of(plan)) for layout, plan in own] for s, own in self._layouts.items()}
        if later or len(stay) < len(self.slos):  # else every plan has what it needs, and nothing more
            for source in self._saved.tracks:
                held = self._held.get(source)
                self._held[source] = Held(stay if held is None else stay & held.slos)
        self.slos, self.revisions = tuple(slos), dict(revisions)
        return stay

    def missed(self, missed: Missed) -> None:
        """Note that a source did not answer. Time is unobserved by the absence of scrapes, not by this."""
        self._saved.silent.setdefault(missed.source, missed)
        track = self._saved.tracks.get(missed.source)
        if track is not None:
            track.asked = max(track.asked, missed.time)

    def silent(self) -> Mapping[str, Missed]:
        """Sources whose last word was a miss, with the first miss since they were last heard."""
        return self._saved.silent

    def heard(self) -> Mapping[str, float]:
        """Time of the last scrape of each source: where a source with a past should resume."""
        return {source: track.last for source, track in self._saved.tracks.items()}

    def close(self, until: float) -> list[Slice]:
        """All minutes that end by `until` (give the present time) and that no source is still to report on.

        A minute waits for a late source only as long as a gap of its is not yet declared (60 s or three intervals). It
        may end a few seconds after `until`, where no source is to report in them.
        Nothing is closed beyond the last time that any source was heard or missed: history is read at its own pace.
        """
        saved = self._saved
        until = min(until, max((t.asked for t in saved.tracks.values()), default=until))
        awaited = [t for t in saved.tracks.values() if until - t.last < CARRIER_SECONDS]
        settled = min((max(t.next_seconds, until - t.gap_seconds) for t in awaited), default=until)
        end = int(settled // MINUTE_SECONDS) * MINUTE_SECONDS
        if saved.closed is None or end <= saved.closed:
            return []
        self._watch_on(end)
        slices: list[Slice] = []
        for start in sorted(s for s in saved.minutes if s < end):
            slices += self._slices(start, saved.minutes.pop(start))
        saved.closed = end
        for source in [s for s, t in saved.tracks.items() if until - t.last > FORGET_SECONDS]:
            del saved.tracks[source]
            self._layouts.pop(source, None)
            self._held.pop(source, None)
        return slices

    def state(self) -> Mapping[str, bytes]:
        """Everything a new Tally needs to go on, in named parts; commit it with the slices that `close` gave."""
        sure = [slo for slo in self.slos if all(slo.id in held.slos for held in self._held.values())]
        return dump(self._saved, sure, self.revisions)

    def _slices(self, start: int, sources: Mapping[str, SourceMinute]) -> list[Slice]:
        slices: list[Slice] = []
        begun: set[str] = set()
        nothing, nobody = Gathered(), Known()
        carriers = self._carriers(start)
        for number, slo in enumerate(self.slos):
            found = gather(number, slo.id, sources)
            known = self._saved.known.get(slo.id, {})
            for group in {**found, **known}:
                one, about = found.get(group, nothing), known.get(group, nobody)
                carrying = carriers.get((number, group), {})
                weights = carrying or dict.fromkeys(about.sources & sources.keys(), 1)
                if any(slo.id in part.without for s in weights if s in sources for part in sources[s].parts):
                    begun.add(slo.id)  # it began in this minute: that is none of its own
                    continue
                observed = sum(sources[s].observed * n for s, n in weights.items() if s in sources)
                made = slice_of(
                    slo,
                    self.revisions.get(slo.id, 1),
                    group,
                    start=start,
                    one=one,
                    known=about,
                    observed=max(0.0, observed / sum(weights.values())) if weights else 0.0,
                    blind=any(s not in one.seen_on and not _heard(sources, s) for s in carrying),
                    watched=any(_heard(sources, s) for s in weights),
                )
                if made is not None:
                    slices.append(made)
        for slo in self.slos:
            if slo.parts and not any(part.slo is not None and part.slo.id in begun for part in slo.parts):
                slices += composed(slo, self.revisions.get(slo.id, 1), start, slices)
        return slices

    def _carriers(self, start: int) -> dict[tuple[int, Group], dict[str, int]]:
        """For each SLO number and group, the sources that carry its replicas, and how many."""
        found: dict[tuple[int, Group], dict[str, int]] = {}
        for source, track in self._saved.tracks.items():
            if start - track.last < CARRIER_SECONDS and track.first < start + MINUTE_SECONDS:
                for key, replicas in track.plan.carried.items():
                    found.setdefault(key, {})[source] = len(replicas)
        return found

    def _watch(self, source: str, track: Track, step: Step, time: float) -> None:
        """Spread the watched time from the scrape before to this one over its minutes."""
        assert step.since is not None
        at = int(step.since // MINUTE_SECONDS) * MINUTE_SECONDS
        while at < time:
            end = at + MINUTE_SECONDS
            if at >= (self._saved.closed or 0):
                minute = self._minute(at, source)
                minute.observed += min(time, end) - max(step.since, at)
                if step.since < at and end <= time:  # no scrape of its own: what the next one says holds for it
                    part = minute.part(track.plan)
                    part.seen = True
                    part.up |= step.up
                    part.down |= step.down
            at = end

    def _watch_on(self, end: int) -> None:
        """Take the time from each source's last scrape to the end of the minute for watched: none is to come in it."""
        for source, track in self._saved.tracks.items():
            minute = self._saved.minutes.get(end - MINUTE_SECONDS, {}).get(source)
            if minute is not None and end - MINUTE_SECONDS <= track.last < end <= track.next_seconds:
                track.ahead = end - track.last
                minute.observed += track.ahead

    def _minute(self, start: int, source: str) -> SourceMinute:
        sources = self._saved.minutes.setdefault(max(start, self._saved.closed or 0), {})
        return sources.setdefault(source, SourceMinute())

    def _plan(self, scrape: Scrape) -> Plan:
        layouts = self._layouts.setdefault(scrape.source, [])
        for layout, plan in layouts:
            if layout is scrape.layout:
                return plan
        plan = self._made(scrape)
        layouts.append((scrape.layout, plan))
        del layouts[: -max(1, min(_LAYOUTS, LAYOUT_SERIES // max(1, len(scrape.series))))]
        return plan

    def _made(self, scrape: Scrape, only: Collection[str] | None = None) -> Plan:
        """The plan of a scrape (of `only` these SLOs), without groups that are too many: one page must not fill all."""
        known = {number: self._saved.known.get(slo.id, {}) for number, slo in enumerate(self.slos)}
        plan, crowded = bounded(make_plan(self.slos, scrape.series, only), known)
        for slo_id in {self.slos[number].id for number in crowded} - self._crowded:
            self._crowded.add(slo_id)
            self.notices.append(
                f"{slo_id}: more than {MOST_GROUPS} groups; further ones are not counted: see what {scrape.source} "
                "puts into its group_by labels, and group by others"
            )
        return plan

    def _plan_held(self, scrape: Scrape, held: Held) -> Plan:
        """The plan of a scrape whose source is going over."""
        if not held.over:
            known = (plan for layout, plan in self._layouts.get(scrape.source, ()) if layout is scrape.layout)
            return next(known, None) or self._made(scrape, held.slos)
        plan = self._plan(scrape)
        if scrape.time > held.until:
            del self._held[scrape.source]
        return self._made(scrape, held.slos) if held.holds(plan) else plan

    def _go_over(self, scrape: Scrape, track: Track) -> None:
        """After a step: where it was counted for some of the SLOs alone, let all begin that are not among them."""
        held, before = self._held[scrape.source], track.plan
        if held.over and before is self._plan(scrape):
            return
        later = frozenset(slo.id for slo in self.slos) - held.slos
        for sources in self._saved.minutes.values():
            for part in sources[scrape.source].parts if scrape.source in sources else ():
                if part.plan is before:
                    part.without |= later
        if not held.over:
            self._layouts[scrape.source] = []
        plan = self._plan(scrape)
        self._learn(scrape.source, plan)
        track.adopt(plan, scrape.values)
        over = held.gone_over(track)
        if over is None:
            del self._held[scrape.source]
        else:
            self._held[scrape.source] = over

    def _learn(self, source: str, plan: Plan) -> None:
        """Remember which groups exist, with their last replicas and who carried them."""
        before = self._saved.tracks[source].plan.carried
        for number, slo in enumerate(self.slos):
            groups = self._saved.known.setdefault(slo.id, {})
            mine = {group for n, group in (*plan.carried, *before) if n == number}
            for group in mine:
                about = groups.setdefault(group, Known())
                now = plan.carried.get((number, group), frozenset())
                others = {
                    s: t.plan.carried[(number, group)]
                    for s, t in self._saved.tracks.items()
                    if s != source and (number, group) in t.plan.carried
                }
                if now or others:
                    about.replicas = set(now).union(*others.values())
                    about.sources = {*others, *([source] if now else [])}
                if now:
                    about.simulated = (number, group) in plan.simulated


def _heard(sources: Mapping[str, SourceMinute], source: str) -> bool:
    """Whether a source gave a scrape to the minute."""
    return source in sources and any(part.seen for part in sources[source].parts)
