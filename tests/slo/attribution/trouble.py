"""A fleet with the minutes of an incident, the replica and GPU it is about, and who must be named for it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.slo.attribution.fleet import Fleet, Gpu, Replica


@dataclass(frozen=True)
class Truth:
    """Who did it: any of `replicas` and of `gpus` may come first, with any of `evidence` (kind, name)."""

    replicas: frozenset[str] = frozenset()
    gpus: frozenset[str] = frozenset()
    evidence: frozenset[tuple[str, str]] = frozenset()


@dataclass
class Trouble:
    """A fleet with the minutes of its incident, and the replica and GPU that were chosen."""

    fleet: Fleet
    draw: random.Random
    first: int
    end: int
    who: Replica
    gpu: Gpu
    harm: float

    @property
    def minutes(self) -> range:
        return range(self.first, self.end)

    @property
    def later(self) -> range:
        """The minutes after the event that harm may wait."""
        return range(min(self.first + self.draw.choice((0, 0, 1, 4)), self.end - 6), self.end)

    def burn(self, replica: Replica, share: float | None = None, minutes: range | set[int] | None = None) -> None:
        """Requests of the replica turn bad, and mostly wait longer."""
        queue = self.draw.random() < 0.7
        for at in self.minutes if minutes is None else minutes:
            self.fleet.bad[(replica.target, at)] += (self.harm if share is None else share) * self.draw.uniform(
                0.8, 1.2
            )
            if queue:
                self.fleet.waiting[(replica.target, at)] = max(6.0, replica.rate / 2)
                self.fleet.cache[(replica.target, at)] = 0.97

    def some(self, share: float) -> set[int]:
        """Minutes of the incident, the first among them."""
        return {at for at in self.minutes if at == self.first or self.draw.random() < share}

    def truth(self, *evidence: tuple[str, str]) -> Truth:
        """The chosen replica and GPU, with any of these."""
        return Truth(frozenset({self.who.target}), frozenset({self.gpu.uuid}), frozenset(evidence))
