"""From what holds now to what fires: waits as `for` does, goes on as `keep_firing_for` does. Imports its model alone.

A restart must not make an alert wait, or end, anew: what fires is given back by `firing` and handed in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from alerts.notify.model import FIRING, PENDING, Alert, Condition, Key


class Tracker:
    """All alerts that are pending or fire. `known` is when alerts that fired before a restart began to hold."""

    def __init__(self, known: Mapping[Key, float] | None = None) -> None:
        self._known = dict(known or {})
        self._alerts: dict[Key, Alert] = {}

    def update(self, conditions: Iterable[Condition], now: float) -> tuple[Alert, ...]:
        """The alerts as of `now`, by what holds."""
        held = {condition.key: condition for condition in conditions}
        found = {key: self._held(condition, now) for key, condition in held.items()}
        for key, old in self._alerts.items():
            if key not in held and old.state == FIRING and now - old.held_at < old.condition.keep_seconds:
                found[key] = old
        self._alerts = found
        return tuple(found.values())

    @property
    def firing(self) -> dict[Key, float]:
        """What fires → since when it has held."""
        return {key: alert.since for key, alert in self._alerts.items() if alert.state == FIRING}

    def _held(self, condition: Condition, now: float) -> Alert:
        old = self._alerts.get(condition.key)
        if old is not None:
            lasted = old.state == FIRING or now - old.since >= condition.for_seconds
            return replace(old, condition=condition, state=FIRING if lasted else PENDING, held_at=now)
        since = min(condition.since, self._known.pop(condition.key, condition.since), now)
        state = FIRING if now - since >= condition.for_seconds else PENDING
        return Alert(condition, state, since, now)
