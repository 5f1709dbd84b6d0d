"""From alerts that fire to incidents that begin and end, as the generated Alertmanager routes would have it.

Imports alerts and slo.names. Pure. One incident for an alert, a cluster and a budget or a place: the same grouping, and
the same inhibition, as alerts.alertmanager. Its key is made of these words alone, so that it is the same after a
restart and on another machine.

Decision (accepted). Context: an alert may fire, end and fire within minutes. Decision: an incident ends once nothing of
it has fired for the group interval of the routes. Consequences: flapping is one incident; every end is told that much
later. What is inhibited opens no incident; one that is open stays so. One that is open for the repeat interval is told
again, with the same key: that opens it anew where somebody closed it by hand while its alert still fires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from alerts.alertmanager import ON_A_NODE, PLACE
from alerts.health import NODE_DOWN
from alerts.notify.model import FIRING, Alert, Condition
from alerts.settings import Timing
from slo import names
from slo.model import Matcher

TRIGGER, RESOLVE = "trigger", "resolve"
MAX_KEY = 255
"""Characters of a dedup key that PagerDuty takes."""

_ON_A_NODE = Matcher("alertname", "=~", ON_A_NODE)


@dataclass(frozen=True, slots=True)
class Incident:
    """One that is open. `told_at` is when it was last triggered, `quiet_since` when its alert was first missed.

    `address` is whom it was told, and who is to hear of its end.
    """

    key: str
    opened_at: float
    told_at: float
    quiet_since: float | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell `address`: `conditions` are those that fire, none for a resolve."""

    key: str
    action: str
    address: str
    conditions: tuple[Condition, ...] = ()


class Incidents:
    """All that are open. `same` are the labels that tell budgets apart (alertmanager.equal_labels).

    `address_of` says whom a condition is told, `timing` how long an incident is held and when it is told again.
    """

    def __init__(
        self, same: Sequence[str], known: Iterable[Incident] = (), *,
        address_of: Callable[[Condition], str], timing: Timing,
    ) -> None:  # fmt: skip
        self._same = tuple(same)
        self._address_of = address_of
        self._hold, self._repeat = timing.seconds("group_interval"), timing.seconds("repeat_interval")
        self._open = {one.key: one for one in known}

    def follow(self, same: Sequence[str]) -> None:
        """Tell budgets apart by these labels from now on; what is open keeps its key."""
        self._same = tuple(same)

    @property
    def open(self) -> Mapping[str, Incident]:
        """By key."""
        return self._open

    def update(self, alerts: Iterable[Alert], now: float) -> tuple[dict[str, Incident], list[Event]]:
        """(what is open now, what to tell). Nothing changes until `accept`: it must be written down first."""
        firing = [alert for alert in alerts if alert.state == FIRING and alert.condition.severity in ("page", "ticket")]
        told = [alert for alert in firing if not self._inhibited(alert, firing)]
        groups, silent = self._grouped(told), self._grouped(firing)
        found: dict[str, Incident] = {}
        events: list[Event] = []
        for key, members in groups.items():
            old = self._open.get(key)
            conditions = tuple(alert.condition for alert in members)
            if old is None or now - old.told_at >= self._repeat:
                address = self._address_of(conditions[0]) if old is None else old.address
                events.append(Event(key, TRIGGER, address, conditions))
                found[key] = Incident(key, now if old is None else old.opened_at, now, address=address)
            else:
                found[key] = replace(old, quiet_since=None)
        for key, old in self._open.items():
            if key in found:
                continue
            quiet = None if key in silent else now if old.quiet_since is None else old.quiet_since
            if quiet is not None and now - quiet >= self._hold:
                events.append(Event(key, RESOLVE, old.address))
            else:
                found[key] = replace(old, quiet_since=quiet)
        return found, events

    def accept(self, opened: Mapping[str, Incident]) -> None:
        """Take what `update` gave as the truth."""
        self._open = dict(opened)

    def _inhibited(self, alert: Alert, firing: Sequence[Alert]) -> bool:
        labels = alert.condition.labels
        if names.LABEL_ID in labels:
            return alert.condition.severity == "ticket" and any(
                other.condition.severity == "page" and _equal(labels, other.condition.labels, self._same)
                for other in firing
                if names.LABEL_ID in other.condition.labels
            )
        return (
            "node" in labels
            and _ON_A_NODE.matches(labels)
            and any(
                _equal(labels, other.condition.labels, (names.LABEL_CLUSTER, "node"))
                for other in firing
                if other.condition.name in NODE_DOWN
            )
        )

    def _grouped(self, alerts: Iterable[Alert]) -> dict[str, list[Alert]]:
        found: dict[str, list[Alert]] = {}
        for alert in alerts:
            labels = alert.condition.labels
            by = self._same if names.LABEL_ID in labels else PLACE
            found.setdefault(key_of(labels, by), []).append(alert)
        return found


def key_of(labels: Mapping[str, str], by: Iterable[str]) -> str:
    """The dedup key: the alert's name and the labels that it is grouped by, in words as long as they fit."""
    words = [f"{label}={labels[label]}" for label in by if labels.get(label)]
    key = f"gpufleet {labels['alertname']} {' '.join(words)}"
    return key if len(key) <= MAX_KEY else f"gpufleet {hashlib.sha256(key.encode()).hexdigest()}"


def _equal(one: Mapping[str, str], other: Mapping[str, str], labels: Iterable[str]) -> bool:
    return all(one.get(label, "") == other.get(label, "") for label in labels)
