"""Windows that slide with time, kept as sums: each minute costs what enters and what leaves, not all that they hold.

Pure; imports slo.budget alone. The ledger keeps one for each SLO and group whose windows are asked for again and again.

Decision (accepted). Context: all budgets and burn rates of 1,000 SLOs are wanted each minute, and a sum over 30 days
reads hundreds of rows. Decision: sums are moved on by the minutes at the edges of the windows, a minute that comes late
is added where it lies, and everything is summed anew after a day, so that no dust of adding fractions gathers.
Consequences: counts of whole events are those of fresh sums to the last one; the ledger stays the only truth, and a
write that fails throws the sums away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slo.budget import Counts

MINUTE = 60
FRESH_MINUTES = 1440
MOST_STEPS = 60
"""Going on by more minutes than this at once is not cheaper than summing anew."""

Sums = Sequence[float]
"""bad, bad_lower, total and observed seconds."""
_NOTHING: Sums = (0.0, 0.0, 0.0, 0.0)


class Rolling:
    """The windows of `sums` (by their length in minutes), which all end with minute number `end`, exclusive."""

    def __init__(self, end: int, sums: Mapping[int, Sums]) -> None:
        self.end = end
        self._sums = {length: list(held) for length, held in sums.items()}
        self._summed_at = end

    def reaches(self, end: int, lengths: Sequence[int]) -> bool:
        """Whether windows of these lengths that end with `end` can be had from here."""
        near = 0 <= end - self.end <= MOST_STEPS and end - self._summed_at < FRESH_MINUTES
        return near and self._sums.keys() >= set(lengths)

    def edges(self, end: int) -> list[int]:
        """The minutes that `advance` needs: all that enter or leave a window on the way."""
        steps = range(self.end, end)
        return sorted({minute - back for minute in steps for back in (0, *self._sums)})

    def advance(self, end: int, rows: Mapping[int, Sums]) -> None:
        """Go on to `end`. `rows` has those of `edges(end)` that were counted."""
        for minute in range(self.end, end):
            entering = rows.get(minute, _NOTHING)
            for length, held in self._sums.items():
                leaving = rows.get(minute - length, _NOTHING)
                held[0] += entering[0] - leaving[0]
                held[1] += entering[1] - leaving[1]
                held[2] += entering[2] - leaving[2]
                held[3] += entering[3] - leaving[3]
        self.end = end

    def add(self, minute: int, row: Sums) -> None:
        """A minute that was just counted; one that is still to enter is left to `advance`."""
        if minute < self.end:
            for length, held in self._sums.items():
                if minute >= self.end - length:
                    for at, value in enumerate(row):
                        held[at] += value

    def counts(self, length: int) -> Counts:
        """What the window holds."""
        bad, bad_lower, total, observed = self._sums[length]
        return Counts(total - bad, total - bad_lower, total, observed, float(length * MINUTE))
