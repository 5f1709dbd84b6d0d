"""The tally: scrapes in, whole minutes of counts out. Pure: no I/O, no clock.

Imports slo.observed, slo.signals and the agent's catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slo.model import Slo
from slo.observed import Missed, Scrape, Slice

__all__ = ["Missed", "Scrape", "Slice", "Tally"]


class Tally:
    """Counts good and total events per SLO, group and minute. Make one per service; feed it every scrape, in order.

    `revisions` is what the ledger's `register` gave; `state` what its `state()` gives (None or empty: start anew).
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        state: Mapping[str, bytes] | None = None,
        *,
        revisions: Mapping[str, int] | None = None,
    ) -> None:
        raise NotImplementedError

    def feed(self, scrape: Scrape) -> None:
        """Count one scrape. One that is not newer than its source's last one is ignored."""

    def missed(self, missed: Missed) -> None:
        """Note that a source did not answer."""

    def close(self, until: float) -> list[Slice]:
        """All minutes that end by `until` (give the present time) and that no source is still to report on.

        A minute waits for a late source only as long as a gap of its is not yet declared (60 s or three intervals).
        """
        raise NotImplementedError

    def state(self) -> Mapping[str, bytes]:
        """Everything a new Tally needs to go on, in named parts; commit it with the slices that `close` gave."""
        raise NotImplementedError
