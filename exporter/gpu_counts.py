"""What lasts of one GPU beyond a collection and a restart: its XIDs, clock events, grave XID and active NVLinks. Pure.

A counter that was not there from the start shows 0 for ZERO_SHOWN_SECONDS first, so that a scrape sees the step up from
it. Times are seconds of CLOCK_MONOTONIC, which goes on over a restart of the agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from exporter.health import CLOCK_EVENTS, XidWatch
from exporter.xid import counted_from_start

ZERO_SHOWN_SECONDS = 60.0
WINDOW_SECONDS = 300.0
"""Of the count of recent XIDs: dcgm-exporter's default."""
Count = Annotated[int, msgspec.Meta(ge=0)]
_FROM_START = tuple(entry.code for entry in counted_from_start())


class GpuCounts(msgspec.Struct):
    """One GPU's counts; what the state file holds of it."""

    pci: str = ""
    xids: dict[int, Count] = {}
    last_xid: int = 0
    clock_events: dict[str, Count] = {}
    watch: XidWatch = msgspec.field(default_factory=XidWatch)
    links_up: set[int] = set()
    zero_until: dict[int, float] = {}
    recent: list[tuple[float, int]] = []

    def __post_init__(self) -> None:
        self.xids = {**dict.fromkeys(_FROM_START, 0), **self.xids}
        self.clock_events = {**dict.fromkeys(CLOCK_EVENTS, 0), **self.clock_events}

    def xid(self, code: int, at: float, *, shown_zero: bool = True) -> None:
        """Count one XID that happened `at`. Without `shown_zero` its counter appears with its value at once."""
        if code not in self.xids and shown_zero:
            self.zero_until[code] = at + ZERO_SHOWN_SECONDS
        self.xids[code] = self.xids.get(code, 0) + 1
        self.last_xid = code
        self.recent = [*self._recent(at), (at, code)]

    def clock_event(self, cause: str) -> None:
        """Count one time that `cause` began to hold the clocks down."""
        self.clock_events[cause] = self.clock_events.get(cause, 0) + 1

    def shown(self, now: float) -> Iterator[tuple[int, int]]:
        """(code, count to be shown) of every XID."""
        for code, count in self.xids.items():
            yield code, 0 if now < self.zero_until.get(code, now) else count

    def in_window(self, now: float) -> dict[int, int]:
        """Code → how often it happened in the last WINDOW_SECONDS; codes that did not are left out."""
        counts: dict[int, int] = {}
        for _, code in self._recent(now):
            counts[code] = counts.get(code, 0) + 1
        return counts

    def take(self, other: GpuCounts) -> None:
        """Add what was counted before the GPU had told its name."""
        for code, count in other.xids.items():
            self.xids[code] = self.xids.get(code, 0) + count
        for cause, count in other.clock_events.items():
            self.clock_events[cause] = self.clock_events.get(cause, 0) + count
        self.last_xid = other.last_xid or self.last_xid
        self.links_up |= other.links_up
        self.zero_until = other.zero_until | self.zero_until
        self.recent = sorted(self.recent + other.recent)
        if not other.watch.healthy or other.watch.told is not None:
            self.watch = other.watch

    def _recent(self, now: float) -> list[tuple[float, int]]:
        return [(at, code) for at, code in self.recent if now - at < WINDOW_SECONDS]
