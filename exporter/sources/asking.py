"""When to ask the Kubernetes API again: a fleet's agents must not load it. No I/O.

Asked is when something is wanted that the last answer did not know, else once in LOOK_AGAIN_SECONDS, and after a
failure not before RETRY_SECONDS. While the API is away no GPU changes hands either, so what was heard stands for
KEPT_SECONDS. What the API did not know when it was asked is not asked for again until the next turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Set

LOOK_AGAIN_SECONDS = 60.0
RETRY_SECONDS = 15.0
KEPT_SECONDS = 600.0


class Asking:
    """One thing that is asked for. Times are the caller's seconds."""

    def __init__(self) -> None:
        self.reason = ""
        """Why the last answer failed, in few words; empty where it did not."""
        self._known: frozenset[Hashable] = frozenset()
        self._next_at = 0.0
        self._heard_at: float | None = None

    def due(self, now: float, wanted: Set[Hashable]) -> bool:
        """Whether to ask now."""
        return now >= self._next_at or (not self.reason and bool(wanted - self._known))

    def heard(self, now: float, wanted: Set[Hashable], found: Set[Hashable]) -> None:
        """Note an answer that had `found`, to a question for `wanted`."""
        self.reason, self._heard_at, self._next_at = "", now, now + LOOK_AGAIN_SECONDS
        self._known = frozenset(wanted | found)

    def failed(self, now: float, reason: str) -> bool:
        """Note a failure; whether what was heard before still stands."""
        self.reason, self._next_at = reason, now + RETRY_SECONDS
        return self._heard_at is not None and now - self._heard_at <= KEPT_SECONDS
