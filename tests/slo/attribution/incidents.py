"""Seeded incidents with a known truth: a fleet is troubled, its agents' pages are counted, and the ledger is asked.

Imports nothing of attribution's, so that what makes an incident cannot know how it is judged. Each cause of CAUSES
troubles a fleet and says who must be named; DECOYS trouble it with what has nothing to do with the burn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path

from slo.counting import Tally
from slo.fact_watch import FactWatch
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from tests.slo.attribution.decoys import DECOYS
from tests.slo.attribution.fleet import MINUTES, START, fleet_of
from tests.slo.attribution.trouble import Trouble, Truth

SLO = Slo(
    "chat", "ttft", "ttft", Decimal("0.99"), Window("30d", 30 * 86400), Method.OCCURRENCES, Decimal("0.5")
)  # fmt: skip

LEAST_BAD = 10
"""What spends less, or spends no faster than allowed, is no incident."""


@dataclass(frozen=True)
class Incident:
    """One played incident: its ledger (the caller closes it) and the truth. `began` is when the burn began."""

    seed: int
    cause: str
    decoys: tuple[str, ...]
    hardware: bool
    truth: Truth
    began: float
    ended: float
    until: float
    ledger: Ledger


def _clock_event(cause: str, check: str, *also: str) -> Callable[[Trouble], Truth]:
    def play(t: Trouble) -> Truth:
        held = t.some(t.draw.uniform(0.4, 1.0))
        for name in (cause, *also):
            t.fleet.causes[(t.gpu, name)] = held
        if check:
            t.fleet.checks[(t.gpu, check)] = held
        for at in held:
            t.fleet.clock[(t.gpu.uuid, at)] = t.draw.uniform(0.45, 0.75)
        t.burn(t.who, minutes=held)
        return t.truth(*(("clock_event", name) for name in (cause, *also)), ("unhealthy", check))

    return play


def _failed_check(check: str, *xids: int, restarts: bool = False) -> Callable[[Trouble], Truth]:
    def play(t: Trouble) -> Truth:
        t.fleet.checks[(t.gpu, check)] = set(range(t.first, MINUTES))
        if xids:
            code = t.draw.choice(xids)
            t.fleet.xids.append((t.gpu, t.first, code))
            t.fleet.checks[(t.gpu, "xid")] = set(range(t.first, MINUTES))
        if restarts and t.draw.random() < 0.6:
            t.fleet.restarts.add((t.who.target, t.first + 1))
        t.burn(t.who, minutes=t.later)
        return t.truth(("unhealthy", check), ("unhealthy", "xid"), *(("xid", str(code)) for code in xids))

    return play


def _straggler(t: Trouble) -> Truth:
    """One member of a group runs slow, without any event; the whole replica waits for it."""
    t.who = t.draw.choice([one for one in t.fleet.replicas if len(one.gpus) > 1] or t.fleet.replicas)
    t.gpu = t.draw.choice(t.who.gpus)
    factor = t.draw.uniform(0.4, 0.8)
    for at in t.minutes:
        t.fleet.clock[(t.gpu.uuid, at)] = factor
    t.burn(t.who)
    return t.truth(("slower", "sm_clock"))


def _slow_node(t: Trouble) -> Truth:
    """All of a node's GPUs run slow, now or all the time."""
    if t.draw.random() < 0.5:
        t.first = 0
    mine = [one for one in t.fleet.replicas if one.node == t.who.node]
    for one in mine:
        t.burn(one)
        for card in one.gpus:
            for at in t.minutes:
                t.fleet.clock[(card.uuid, at)] = 0.6
    cards = frozenset(card.uuid for one in mine for card in one.gpus)
    return Truth(frozenset(one.target for one in mine), cards, frozenset({("slower", "sm_clock")}))


HARDWARE: dict[str, Callable[[Trouble], Truth]] = {
    "thermal": _clock_event("hw_thermal", "thermal", "hw_slowdown"),
    "software thermal": _clock_event("sw_thermal", "thermal"),
    "power brake": _clock_event("hw_power_brake", "power", "hw_slowdown"),
    "power cap": _clock_event("power_cap", ""),
    "ecc": _failed_check("ecc", 48, 95, restarts=True),
    "row remap": _failed_check("row_remap", 64, restarts=True),
    "nvlink": _failed_check("nvlink", 74),
    "pcie": _failed_check("pcie"),
    "lost": _failed_check("lost", 79, restarts=True),
    "driver stuck": _failed_check("driver_unresponsive"),
    "straggler": _straggler,
    "slow node": _slow_node,
}


def _load(t: Trouble) -> Truth:
    """More requests for all than they can serve; power caps and some heat come with it."""
    more, heat = t.draw.uniform(1.8, 3.0), t.draw.random() < 0.5
    for one in t.fleet.replicas:
        t.burn(one, t.harm * t.draw.uniform(0.7, 1.3))
        for at in t.minutes:
            t.fleet.load[(one.target, at)] = more
        for card in one.gpus:
            t.fleet.causes[(card, "power_cap")] = set(t.minutes)
            if heat and t.draw.random() < 0.2:
                t.fleet.causes[(card, "sw_thermal")] = t.some(0.3)
    return Truth(evidence=frozenset({("load", "")}))


def _prompts(t: Trouble) -> Truth:
    """Longer prompts, for all or for one."""
    longer = t.draw.uniform(1.8, 4.0)
    for one in t.fleet.replicas if t.draw.random() < 0.6 else [t.who]:
        t.burn(one)
        for at in t.minutes:
            t.fleet.prompts[(one.target, at)] = longer
    return Truth(evidence=frozenset({("prompts", "")}))


def _version(t: Trouble) -> Truth:
    """A new version, for all one after the other, or for one."""
    at = t.first
    for one in t.fleet.replicas if t.draw.random() < 0.6 else [t.who]:
        t.fleet.versions[one.target] = at
        t.fleet.restarts.add((one.target, at))
        t.burn(one, minutes=range(at, MINUTES))
        at = min(at + t.draw.choice((0, 0, 1)), MINUTES - 15)
    return Truth(evidence=frozenset({("version", "0.12.0")}))


def _tenant(t: Trouble) -> Truth:
    """All replicas of one namespace, by nothing that is watched."""
    for one in t.fleet.replicas:
        if one.namespace == t.who.namespace:
            t.burn(one)
    return Truth()


def _upstream(t: Trouble) -> Truth:
    """All fail alike, by nothing that is watched."""
    for one in t.fleet.replicas:
        for at in t.minutes:
            t.fleet.bad[(one.target, at)] += t.harm
    return Truth()


OTHERS: dict[str, Callable[[Trouble], Truth]] = {
    "load": _load, "prompts": _prompts, "version": _version, "tenant": _tenant, "upstream": _upstream,
}  # fmt: skip
CAUSES = HARDWARE | OTHERS


def decoys_of(draw: random.Random, cause: str) -> tuple[str, ...]:
    """Up to three that leave the truth as it is."""
    unfit = {"second culprit"} if cause in OTHERS or cause == "slow node" else set()
    if cause == "power cap":
        unfit |= {"power cap everywhere"}  # it would be no event of its own any more
    return tuple(draw.sample(sorted(DECOYS.keys() - unfit), draw.choice((0, 1, 2, 3))))


def play(cause: str, seed: int, path: Path) -> Incident:
    """One incident of a cause that burns budget: trouble, decoys, three hours of pages, a ledger in folder `path`."""
    for attempt in count():
        incident = _played(
            cause, seed, random.Random(f"{cause} {seed} {attempt}"), path / f"{cause}-{seed}-{attempt}.db"
        )
        burned = incident.ledger.counts(SLO.id, (), incident.began, incident.ended)
        if burned.bad >= LEAST_BAD and burned.bad >= burned.total * float(SLO.budget_ratio):
            return incident
        incident.ledger.close()
    raise AssertionError


def _played(cause: str, seed: int, draw: random.Random, file: Path) -> Incident:
    namespaces = draw.choice((2, 3)) if cause == "tenant" else draw.choice((1, 1, 2))
    fleet = fleet_of(draw, namespaces=namespaces, skewed=draw.random() < 0.4)
    who = draw.choice(fleet.replicas)
    first = draw.randrange(100, 170)
    end = draw.choice((MINUTES, MINUTES, min(MINUTES, first + draw.randrange(10, 40))))
    trouble = Trouble(fleet, draw, first, end, who, draw.choice(who.gpus), draw.uniform(0.15, 0.8))
    truth = CAUSES[cause](trouble)
    decoys = decoys_of(draw, cause)
    for name in decoys:
        DECOYS[name](trouble)
    ledger = Ledger(file)
    tally, watch = Tally([SLO], revisions=ledger.register([SLO])), FactWatch()
    facts = []
    for scrape in fleet.scrapes():
        tally.feed(scrape)
        facts += watch.feed(scrape)
    until = float(START + MINUTES * 60)
    ledger.append(tally.close(until), None, facts)
    began, ended = START + trouble.first * 60.0, START + trouble.end * 60.0
    return Incident(seed, cause, decoys, cause in HARDWARE, truth, began, ended, until, ledger)
