"""Which things are to be left alone until when. Imports nothing; times are the caller's seconds."""

from __future__ import annotations


class Backoff:
    """Things that failed and the wait before they are tried again; each failure in a row doubles it."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._until: dict[str, tuple[float, float]] = {}

    def failed(self, thing: str, now: float) -> None:
        """Leave `thing` alone, for twice as long as the last time."""
        wait = min(self._until[thing][1] * 2, self._longest) if thing in self._until else self._first
        self._until[thing] = now + wait, wait

    def mended(self, thing: str) -> None:
        """Forget the failures of `thing`."""
        self._until.pop(thing, None)

    def blocked(self, thing: str, now: float) -> bool:
        """Whether `thing` is to be left alone."""
        return thing in self._until and now < self._until[thing][0]

    def failing(self, thing: str) -> bool:
        """Whether `thing` failed the last time it was tried."""
        return thing in self._until
