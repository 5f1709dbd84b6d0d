"""A table that holds what was told last: what pages say has no end, memory has. Imports the standard library alone."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

MOST = 50_000
"""Replicas, GPUs and the like of a whole fleet that one table remembers."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `most` values by key. Of more, those go that were asked for or put longest ago."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What is known, which is remembered anew by this; None where nothing is."""
        if key not in self._held:
            return None
        value = self._held[key] = self._held.pop(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember it."""
        self._held.pop(key, None)
        self._held[key] = value
        if len(self._held) > self._most:
            del self._held[next(iter(self._held))]

    def __len__(self) -> int:
        return len(self._held)
