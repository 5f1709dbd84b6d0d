"""A timeline drawn by the server: lanes of events, strips of what was spent, one axis. No script needed.

Imports slo.timeline, slo.hardware's values and slo.page's text and words. Lengths are shares of the drawing's width, so
that it fits any screen without a script and without being distorted; words stand beside it, for those who do not look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from slo.exclusions import Exclusion
from slo.facts import CHANGE, HARDWARE, UNHEALTHY, XID
from slo.hardware import Step
from slo.page import text
from slo.page.words import lane_words, subject
from slo.sliding import STEPS
from slo.timeline import Lane

LANE_HEIGHT, STRIP_HEIGHT = 12, 30
LEAST_WIDTH = 0.4
"""Of a span, in percent of the width: what lasted five minutes of a month is still to be seen."""
HOT, SIGMAS = 2.0, 3.0
"""An error rate so many times that of the rest is the hardware's own, where chance does not give as many."""
MOST_TICKS = 8


@dataclass(frozen=True, slots=True)
class Drawn:
    """One line of a timeline: whom it is about, what, when, and the drawing. `tone` is a class."""

    who: Markup
    what: str
    when: str
    tone: str
    drawing: Markup
    title: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """[since, until) of a timeline; `now` decides which dates need a day."""

    since: float
    until: float
    now: float

    def x(self, time: float) -> float:
        """Where a time lies, in percent."""
        return round(min(100.0, max(0.0, (time - self.since) / max(1.0, self.until - self.since) * 100)), 3)

    def lane(self, lane: Lane) -> Drawn:
        """Events as marks: spans as bars, moments as ticks."""
        marks = []
        for span in lane.spans:
            start, end = self.x(span.start), self.x(span.end)
            if span.end > span.start:
                width = max(LEAST_WIDTH, end - start)
                marks.append(Markup('<rect x="{}%" width="{}%" height="{}"/>').format(start, width, LANE_HEIGHT))
            else:
                marks.append(Markup('<rect x="{}%" width="3" height="{}"/>').format(min(start, 99.6), LANE_HEIGHT))
        return Drawn(
            subject(lane), lane_words(lane), self._when(lane), tone_of(lane.kind), _svg("lane", LANE_HEIGHT, marks),
            lane.text,
        )  # fmt: skip

    def maintenance(self, exclusions: Iterable[Exclusion]) -> Drawn | None:
        """What counts for no budget, as a lane of its own; None where nothing was excluded here."""
        spans = [one for one in exclusions if one.active and one.since < self.until and one.until > self.since]
        if not spans:
            return None
        marks = [
            Markup('<rect x="{}%" width="{}%" height="{}"/>').format(
                self.x(one.since), max(LEAST_WIDTH, self.x(one.until) - self.x(one.since)), LANE_HEIGHT
            )
            for one in spans
        ]
        when = text.listed(text.span(one.since, one.until, self.now) for one in spans[:2])
        why = "; ".join(dict.fromkeys(one.reason for one in spans))
        return Drawn(Markup("Left out"), why, when, "excluded", _svg("lane", LANE_HEIGHT, marks), "In no budget")

    def strip(self, steps: Sequence[Step], seconds: int) -> Markup:
        """Bad events over time as bars; those far above the rest's rate at the same time stand out."""
        most = max((step.bad for step in steps), default=0.0)
        marks = []
        for step in steps:
            if step.bad > 0 and most > 0:
                height = max(1.5, round(step.bad / most * STRIP_HEIGHT, 1))
                width = max(LEAST_WIDTH, self.x(step.start + seconds) - self.x(step.start) - 0.12)
                marks.append(
                    Markup('<rect{} x="{}%" y="{}" width="{}%" height="{}"/>').format(
                        Markup(' class="hot"') if _hot(step) else "", self.x(step.start), STRIP_HEIGHT - height,
                        round(width, 3), height,
                    )
                )  # fmt: skip
        return _svg("strip", STRIP_HEIGHT, marks)

    def ticks(self) -> Markup:
        """The axis itself, in UTC."""
        span = self.until - self.since
        step = next((s for s in STEPS if span / s <= MOST_TICKS), STEPS[-1])
        marks = []
        for at in range(int(-(-self.since // step)) * step, int(self.until) + 1, step):
            when = datetime.fromtimestamp(at, UTC)
            day = step >= 86400 or (when.hour, when.minute) == (0, 0)
            label = f"{when.day} {when:%b}" if day else f"{when:%H:%M}"
            if 2 < self.x(at) < 98:
                marks.append(
                    Markup('<line x1="{0}%" x2="{0}%" y2="4"/><text x="{0}%" y="17">{1}</text>').format(
                        self.x(at), label
                    )
                )
        return _svg("ticks", 20, marks)

    def _when(self, lane: Lane) -> str:
        first, last = lane.spans[0], lane.spans[-1]
        if last.end - first.start < 60:
            when = text.clock(first.start, self.now)
        elif len(lane.spans) == 1:
            when = text.span(first.start, last.end, self.now)
        else:
            when = f"{len(lane.spans)} times, {text.span(first.start, last.end, self.now)}"
        events = sum(span.events for span in lane.spans)
        return f"{text.TIMES}{events}, {when}" if lane.kind == XID and events > len(lane.spans) else when


def tone_of(kind: str) -> str:
    """A class: what failed stands out more than what held something back, and a change is neither."""
    if kind in (XID, UNHEALTHY):
        return "failed"
    return "held" if kind in HARDWARE else "changed" if kind in CHANGE else "engine"


def _hot(step: Step) -> bool:
    if step.rest_total <= 0:
        return step.bad > 0
    expected = step.total * step.rest_bad / step.rest_total
    return step.bad > HOT * expected and step.bad - expected > SIGMAS * max(1.0, expected) ** 0.5


def _svg(kind: str, height: int, marks: Iterable[Markup]) -> Markup:
    return Markup('<svg class="{0}" width="100%" height="{1}" aria-hidden="true">{2}</svg>').format(
        kind, height, Markup("").join(marks)
    )
