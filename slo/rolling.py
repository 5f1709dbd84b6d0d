"""Windows that slide with time, kept as sums: each minute costs what enters and what leaves, not all that they hold.

Pure; imports slo.budget and slo.ledger_blocks. The ledger keeps one for each SLO and group whose windows are asked for
again and again.

Decision (accepted). Context: all budgets and burn rates of 1,000 SLOs are wanted each minute, and a sum over 30 days
reads hundreds of rows. Decision: sums are moved on by the minutes at the edges of the windows; what enters was just
counted and is handed in, what leaves is read ahead, up to an hour of it at once; a minute that comes late is added
where it lies, and everything is summed anew after a day, so that no dust of adding fractions gathers. Consequences: a
minute asks the file for next to nothing; counts of whole events are those of fresh sums to the last one; the ledger
stays the only truth, and a write that fails throws the sums away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from slo.budget import Counts
from slo.ledger_blocks import Block, Row

MINUTE = 60
FRESH_MINUTES = 1440
MOST_STEPS = 60
"""Going on by more minutes than this at once is not cheaper than summing anew."""
AHEAD_MINUTES = 60
"""So many minutes that are to leave a window are read at once."""
SHORT_MINUTES = 10
"""Of windows no longer than this, what entered is kept until it leaves."""

Read = Callable[[int, int], tuple[int, Block]]
"""From a minute's number and how many from it on may be read: a block of minutes that holds it, and its first one."""
_NOTHING: Row = (0.0, 0.0, 0.0, 0.0)


class _Window:
    """One window's sums, and what is about to leave it: `ahead` gives the rows of the minutes up to `until`."""

    __slots__ = ("ahead", "length", "recent", "seconds", "sums", "until")

    def __init__(self, length: int, sums: Row) -> None:
        self.length = length
        self.seconds = float(length * MINUTE)
        self.sums = tuple(sums)
        self.ahead: Iterator[Row] = iter(())
        self.until = 0
        self.recent: deque[Row] | None = deque() if length <= SHORT_MINUTES else None
        """What entered a short window, up to all that it holds: cheaper to keep than to read again."""

    def read(self, minute: int, turn: int, read: Read) -> None:
        """Have ahead what begins with a minute. `turn` differs from group to group: not all read at the same time."""
        first, block = read(minute, min(self.length, AHEAD_MINUTES - (minute + turn) % AHEAD_MINUTES))
        self.ahead, self.until = block.following(minute - first), first + block.slots


class Rolling:
    """The windows of `sums` (by their length in minutes), which all end with minute number `end`, exclusive.

    `counted` is the end of what was counted before: later minutes come by `add`.
    """

    def __init__(self, end: int, sums: Mapping[int, Row], counted: int = 0, turn: int = 0) -> None:
        self.end = end
        self.lengths = tuple(sums)
        self._windows = [_Window(length, held) for length, held in sums.items()]
        self._summed_at = end
        self._counted = counted
        self._turn = turn
        self._entering: dict[int, Row] = {}

    def reaches(self, end: int, lengths: tuple[int, ...]) -> bool:
        """Whether windows of these lengths that end with `end` can be had from here."""
        near = 0 <= end - self.end <= MOST_STEPS and end - self._summed_at < FRESH_MINUTES
        return near and lengths == self.lengths

    def advance(self, end: int, read: Read) -> None:
        """Go on to `end`."""
        for minute in range(self.end, end):
            row = self._entering.pop(minute, None)
            if row is None and minute < self._counted:
                first, block = read(minute, 1)
                row = block.at(minute - first)
            bad, bad_lower, total, observed = row = row or _NOTHING
            for window in self._windows:
                recent, out = window.recent, minute - window.length
                if recent is not None and len(recent) == window.length:
                    bad_out, lower_out, total_out, observed_out = recent.popleft()
                else:
                    if out >= window.until:
                        window.read(out, self._turn, read)
                    bad_out, lower_out, total_out, observed_out = next(window.ahead)
                if recent is not None:
                    recent.append(row)
                held = window.sums
                window.sums = (
                    held[0] + (bad - bad_out),
                    held[1] + (bad_lower - lower_out),
                    held[2] + (total - total_out),
                    held[3] + (observed - observed_out),
                )
        self.end = end

    def add(self, minute: int, row: Row) -> None:
        """A minute that was just counted; one that is still to enter is left to `advance`."""
        if minute >= self.end:
            self._entering[minute] = row
            return
        for window in self._windows:
            if minute >= self.end - window.length:
                window.sums = tuple(held + value for held, value in zip(window.sums, row, strict=True))
                window.until = 0  # what is known of it is without this one
                if window.recent is not None:
                    window.recent.clear()

    def counts(self) -> list[Counts]:
        """What the windows hold, in the order of `lengths`."""
        found = []
        for window in self._windows:
            bad, bad_lower, total, observed = window.sums
            found.append(Counts(total - bad, total - bad_lower, total, observed, window.seconds))
        return found
