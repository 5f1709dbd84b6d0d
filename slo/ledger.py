"""The ledger: exact counts per SLO, group and minute, in one SQLite file. The truth for budgets.

Imports slo.model, slo.budget, slo.observed, slo.facts and sqlite3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slo.budget import Counts
from slo.facts import Fact
from slo.model import Group, Slo
from slo.observed import Slice


class LedgerError(Exception):
    """The ledger cannot do what was asked: a full disk, a refused mixture. Nothing was half written."""


class Ledger:
    """One file. Not for several processes at once; several threads take turns.

    `messages` says what was found and done at open (a damaged file set aside).
    """

    def __init__(self, path: Path) -> None:
        self.messages: list[str] = []
        raise NotImplementedError

    def register(self, slos: Sequence[Slo]) -> Mapping[str, int]:
        """Revision of each SLO by id. A changed definition of what is counted starts a new one."""
        raise NotImplementedError

    def append(
        self, slices: Iterable[Slice], state: Mapping[str, bytes] | None = None, facts: Iterable[Fact] = ()
    ) -> None:
        """Add slices, the tally's state and facts in one transaction. A slice that is there already is not added."""

    def groups(self, slo_id: str) -> list[Group]:
        """Groups of the SLO's present revision, sorted."""
        raise NotImplementedError

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        """Exact counts over the whole minutes of [since, until)."""
        raise NotImplementedError

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        """Counts per step (a multiple of 60 s, aligned to unix time), oldest first; every step of the span is there."""
        raise NotImplementedError

    def spenders(self, slo_id: str, group: Group, since: float, until: float) -> dict[str, tuple[float, float]]:
        """(bad, total) of each replica, over the five-minute tiles that touch [since, until)."""
        raise NotImplementedError

    def facts(self, since: float, until: float, kind: str | None = None) -> list[Fact]:
        """Facts dated in [since, until), oldest first."""
        raise NotImplementedError

    def data_through(self, slo_id: str) -> float | None:
        """End of the last minute that was counted for the SLO; None where there is none."""
        raise NotImplementedError

    def simulated(self, slo_id: str) -> bool:
        """Whether the SLO's counts come from simulated replicas."""
        raise NotImplementedError

    def state(self) -> Mapping[str, bytes]:
        """The tally's state as last committed; empty at first."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file."""
