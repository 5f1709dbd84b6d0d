"""Which GPUs at work run slower than their peers: a slow node, a straggler in a group. Pure.

Imports slo.facts and slo.names. Decision (accepted). Context: a GPU may be slow without any event: a wrong clock
setting, a weak node, one member that a whole tensor-parallel group waits for. To keep every GPU's clock for months is
too much. Decision: SM clocks are averaged over tiles of five minutes in memory, and compared with the median of the
other busy GPUs of the same card that serve the same model; only who falls short makes a fact. Consequences: a fleet
in which all run slow has no fact; with fewer than MIN_PEERS others nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from slo.facts import SLOWER, Fact, gpu_text
from slo.names import MINUTE_SECONDS, TILE_SECONDS

SM_CLOCK = "sm_clock"
SHORTFALL = 0.9
"""A GPU below this part of its peers' median is slower. Healthy ones of one card differ by less under the same load."""
MIN_PEERS = 2
BUSY_PERCENT = 50.0
"""Below this utilisation a low clock saves power."""
SETTLED_SECONDS = 60.0
"""So much of a tile must have been seen."""


@dataclass(slots=True)
class _Mean:
    tile: int
    since: float
    sum: float = 0.0
    count: int = 0
    told: bool = False

    @property
    def value(self) -> float:
        return self.sum / self.count


class GpuPace:
    """Takes the SM clock of each GPU that an engine runs on; gives a fact for each that is slower than its peers."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], dict[str, _Mean]] = {}
        self._medians: dict[tuple[str, str], tuple[int, float | None]] = {}

    def take(
        self, time: float, group: tuple[str, str], labels: Mapping[str, str], clock: float, busy: float | None
    ) -> list[Fact]:
        """One reading: `group` is who its peers are (card, model), `clock` in MHz, `busy` in percent or unknown."""
        tile, peers = int(time // TILE_SECONDS), self._means.setdefault(group, {})
        mean = peers.get(labels["UUID"])
        if mean is None or mean.tile != tile:
            mean = peers[labels["UUID"]] = _Mean(tile, time)
        if clock <= 0 or (busy is not None and busy < BUSY_PERCENT):
            return []
        mean.sum += clock
        mean.count += 1
        if mean.told or time - mean.since < SETTLED_SECONDS:
            return []
        usual = self._median(group, int(time // MINUTE_SECONDS), tile)
        if usual is None or mean.value >= SHORTFALL * usual:
            return []
        mean.told = True
        text = f"{gpu_text(labels)}: SM clock {mean.value:.0f} MHz, its peers' {usual:.0f} MHz"
        return [Fact(float(tile * TILE_SECONDS), SLOWER, {**labels, "figure": SM_CLOCK}, mean.value / usual, text)]

    def _median(self, group: tuple[str, str], minute: int, tile: int) -> float | None:
        """Of all GPUs of the group that were at work in this tile; found once a minute. None where they are few."""
        known = self._medians.get(group)
        if known is None or known[0] != minute:
            peers = self._means[group]
            for uuid in [uuid for uuid, mean in peers.items() if tile - mean.tile > 1]:
                del peers[uuid]  # gone, or moved to another model
            # Sources are read one after the other: who is not in this tile yet counts as it was in the last.
            values = [mean.value for mean in peers.values() if mean.count]
            known = self._medians[group] = (minute, median(values) if len(values) > MIN_PEERS else None)
        return known[1]
