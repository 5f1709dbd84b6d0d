"""Who spent in a window, read from a ledger: spenders with what was seen at that time, and the verdict on both.

Imports slo.attribution, slo.verdict, slo.slots, slo.places, slo.facts and slo.sliding; the ledger comes in as a
protocol, so that the service, reports and tests ask the same of a live ledger and of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from slo.attribution import Seen, Spender, attribute
from slo.facts import CHANGE, ENGINE, HARDWARE, REPLICA, Fact
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
from slo.places import gpu_places, places
from slo.signals import gpu_health
from slo.sliding import DAY, HOUR
from slo.slots import SLOT_SECONDS, Slot
from slo.verdict import Verdict, judge

SLOTS = 72
"""At most this many slots are laid over each other: five-minute ones up to six hours, longer ones beyond."""


class Ledger(Protocol):
    """What is asked of a ledger here."""

    def spenders(self, slo_id: str, group: Group, since: float, until: float) -> dict[str, tuple[float, float]]:
        """(bad, total) of each replica, over the five-minute tiles that touch [since, until)."""

    def facts(self, since: float, until: float, kind: str | None = None) -> list[Fact]:
        """Facts dated in [since, until), oldest first."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who spent in [since, until): spenders by excess, everything bad and total of the window, and the verdict.

    `since` is rounded to five minutes, by which spenders are kept. The verdict is on replicas, whatever `by` is.
    """

    by: str
    since: float
    until: float
    bad: float
    total: float
    spenders: tuple[Spender, ...]
    verdict: Verdict


def who_spent(ledger: Ledger, slo: Slo, group: Group, by: str, *, since: float, until: float) -> Attribution:
    """Who spent in [since, until), by one of slo.places.BY.

    What was seen is laid over the window and at least the six hours before its end: a lift needs time without. How an
    engine stood is asked for over a day at most; of longer windows hardware and changes are told.
    """
    since = max(0.0, since + SLOT_SECONDS / 2) // SLOT_SECONDS * SLOT_SECONDS
    spenders = ledger.spenders(slo.id, group, since, until)
    step, first = SLOT_SECONDS, int(min(since, until - SLOTS * SLOT_SECONDS) // SLOT_SECONDS) * SLOT_SECONDS
    if until - since > SLOTS * SLOT_SECONDS:  # beyond a day the ledger keeps replicas by whole hours
        step = -(-int(until - since) // (SLOTS * HOUR)) * HOUR
        first = int(since // step) * step
    first = max(0, first)
    slots = [Slot(at, step, ledger.spenders(slo.id, group, at, at + step)) for at in range(first, int(until), step)]
    kinds = HARDWARE | CHANGE | (ENGINE if until - since <= DAY else frozenset())
    events = [fact for kind in sorted(kinds) for fact in ledger.facts(first, until, kind)]
    if slo.signal == gpu_health.SIGNAL.name:
        where = gpu_places(events)
    else:
        where = places(ledger.facts(0, until + MINUTE_SECONDS, REPLICA))
    seen = Seen(slots, events, where)
    found = {key: attribute(key, spenders, where, seen, since=since) for key in {by, "replica", "node"}}
    return Attribution(
        by,
        since,
        until,
        sum(bad for bad, _ in spenders.values()),
        sum(total for _, total in spenders.values()),
        tuple(found[by]),
        judge(found["replica"], found["node"], seen, where, since=since),
    )
