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

from collections.abc import Callable, Mapping, Sequence

from slo.budget import Counts
from slo.ledger_blocks import Block, Row

MINUTE = 60
FRESH_MINUTES = 1440
MOST_STEPS = 60
"""Going on by more minutes than this at once is not cheaper than summing anew."""
AHEAD_MINUTES = 60
"""So many minutes that are to leave a window are read at once."""

Read = Callable[[int, int], tuple[int, Block]]
"""From a minute's number and how many from it on may be read: a block of minutes that holds it, and its first one."""
_NOTHING: Row = (0.0, 0.0, 0.0, 0.0)


class _Window:
    """One window's sums, and what is about to leave it: `ahead` begins with minute `first`."""

    __slots__ = ("ahead", "first", "length", "seconds", "sums", "until")

    def __init__(self, length: int, sums: Row) -> None:
        self.length = length
        self.seconds = float(length * MINUTE)
        self.sums = tuple(sums)
        self.ahead: Block | None = None
        self.first = self.until = 0

    def read(self, minute: int, turn: int, read: Read) -> Block:
        """Have ahead what begins with a minute. `turn` differs from group to group: not all read at the same time."""
        most = min(self.length, AHEAD_MINUTES - (minute + turn) % AHEAD_MINUTES)
        self.first, self.ahead = read(minute, most)
        self.until = self.first + self.ahead.slots
        return self.ahead


class Rolling:
    """The windows of `sums` (by their length in minutes), which all end with minute number `end`, exclusive.

    `counted` is the end of what was counted before: later minutes come by `add`.
    """

    def __init__(self, end: int, sums: Mapping[int, Row], counted: int = 0, turn: int = 0) -> None:
        self.end = end
        self._windows = {length: _Window(length, held) for length, held in sums.items()}
        self._summed_at = end
        self._counted = counted
        self._turn = turn
        self._entering: dict[int, Row] = {}

    def reaches(self, end: int, lengths: Sequence[int]) -> bool:
        """Whether windows of these lengths that end with `end` can be had from here."""
        if not 0 <= end - self.end <= MOST_STEPS or end - self._summed_at >= FRESH_MINUTES:
            return False
        return all(length in self._windows for length in lengths)

    def advance(self, end: int, read: Read) -> None:
        """Go on to `end`."""
        for minute in range(self.end, end):
            row = self._entering.pop(minute, None)
            if row is None and minute < self._counted:
                first, block = read(minute, 1)
                row = block.at(minute - first)
            bad, bad_lower, total, observed = row or _NOTHING
            for window in self._windows.values():
                out, ahead = minute - window.length, window.ahead
                if ahead is None or not window.first <= out < window.until:
                    ahead = window.read(out, self._turn, read)
                bad_out, lower_out, total_out, observed_out = ahead.at(out - window.first)
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
        for window in self._windows.values():
            if minute >= self.end - window.length:
                window.sums = tuple(held + value for held, value in zip(window.sums, row, strict=True))
            if window.first <= minute < window.until:
                window.ahead = None  # it was read without this one

    def counts(self, length: int) -> Counts:
        """What the window holds."""
        window = self._windows[length]
        bad, bad_lower, total, observed = window.sums
        return Counts(total - bad, total - bad_lower, total, observed, window.seconds)
