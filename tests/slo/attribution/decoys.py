"""What has nothing to do with the burn, and happens all the same. To add one: a function, and its line in DECOYS."""

from __future__ import annotations

from collections.abc import Callable

from tests.slo.attribution.fleet import MINUTES
from tests.slo.attribution.trouble import Trouble


def _xids_elsewhere(t: Trouble) -> None:
    cards = [card for one in t.fleet.replicas if one is not t.who for card in one.gpus]
    for _ in range(t.draw.randint(1, 6)):
        t.fleet.xids.append(
            (t.draw.choice(cards), t.draw.randrange(5, MINUTES), t.draw.choice((13, 31, 63, 74, 92, 94)))
        )


def _rolling_restart(t: Trouble) -> None:
    at = t.draw.randrange(20, 80)
    for one in t.fleet.replicas:
        t.fleet.restarts.add((one.target, at))
        t.fleet.bad[(one.target, at)] += 0.05
        at += 4


def _benign_xid(t: Trouble) -> None:
    at = t.draw.choice((t.draw.randrange(5, MINUTES), t.first + 1))
    t.fleet.xids.append((t.gpu, at, t.draw.choice((43, 45, 13))))


def _power_cap_everywhere(t: Trouble) -> None:
    for card in t.fleet.gpus():
        held = {at for at in range(MINUTES) if t.draw.random() < 0.8}
        t.fleet.causes[(card, "power_cap")] = held | t.fleet.causes.get((card, "power_cap"), set())


def _warm_neighbour(t: Trouble) -> None:
    """Another GPU is hot now and then, and nobody suffers."""
    cards = [card for one in t.fleet.replicas if one is not t.who for card in one.gpus]
    card = t.draw.choice(cards)
    if (card, "hw_thermal") not in t.fleet.causes:
        t.fleet.causes[(card, "hw_thermal")] = {at for at in range(MINUTES) if t.draw.random() < 0.2}


def _second_culprit(t: Trouble) -> None:
    """Another replica burns less, by heat of its own."""
    other = t.draw.choice([one for one in t.fleet.replicas if one is not t.who and one.node != t.who.node])
    held = t.some(0.7)
    t.fleet.causes[(other.gpus[0], "hw_thermal")] = held
    t.burn(other, t.harm * 0.35 * t.who.rate / other.rate, held)


def _sick_for_long(t: Trouble) -> None:
    """A check of the very replica has failed for hours, and nobody suffered."""
    t.fleet.checks[(t.draw.choice(t.who.gpus), "fabric")] = set(range(MINUTES))


def _warm_before(t: Trouble) -> None:
    """The very replica's GPU was hot for a while, long before."""
    card, at = t.draw.choice(t.who.gpus), t.draw.randrange(10, 70)
    if (card, "sw_thermal") not in t.fleet.causes:
        t.fleet.causes[(card, "sw_thermal")] = set(range(at, at + t.draw.randrange(2, 25)))


def _grave_xid_before(t: Trouble) -> None:
    """An XID that may matter on the very replica, before its burn, and nobody suffered."""
    t.fleet.xids.append((t.draw.choice(t.who.gpus), t.draw.randrange(5, t.first - 15 if t.first else 80), 94))


def _hiccups(t: Trouble) -> None:
    """Any replica fails for a minute or two now and then, by nothing."""
    for one in t.fleet.replicas:
        for _ in range(t.draw.choice((0, 1, 2, 4))):
            at = t.draw.randrange(MINUTES)
            for minute in range(at, min(MINUTES, at + t.draw.randint(1, 2))):
                t.fleet.bad[(one.target, minute)] += t.draw.uniform(0.02, 0.3)


def _busy_hour(t: Trouble) -> None:
    """More requests for all, before the burn, that all can serve."""
    at = t.draw.randrange(50, 70)
    for one in t.fleet.replicas:
        for minute in range(at, at + 25):
            t.fleet.load[(one.target, minute)] = 1.7


DECOYS: dict[str, Callable[[Trouble], None]] = {
    "xids elsewhere": _xids_elsewhere, "rolling restart": _rolling_restart, "benign xid": _benign_xid,
    "power cap everywhere": _power_cap_everywhere, "warm neighbour": _warm_neighbour,
    "second culprit": _second_culprit, "busy hour": _busy_hour, "sick for long": _sick_for_long,
    "warm before": _warm_before, "grave xid before": _grave_xid_before, "hiccups": _hiccups,
}  # fmt: skip
