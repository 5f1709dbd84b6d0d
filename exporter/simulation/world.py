"""The simulated world: what is so at a time. Pure functions of a scenario and unix time; nothing is remembered.

Imports exporter.simulation.fleet. Decision (accepted): the driver runs in the agent's worker process, the engines and
the history in `gpufleet up`; since all of them ask this module, they agree without talking to each other. Time is
never accelerated: only what happened before the start is made up, at the pace it would have had.

The incident: cooling of one GPU fails. For 70 minutes before the start it throttles now and then, for the last few of
them less often; LIVE_AFTER_SECONDS after the start it throttles for good, until LIVE_SECONDS have passed.
"""

from __future__ import annotations

import json
import math
import os
import random
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporter.simulation import fleet
from exporter.simulation.fleet import EnginePlan

ENVIRONMENT = "GPUFLEET_SIMULATION"
"""Holds a scenario as JSON for the process that the simulated driver runs in."""

LIVE_AFTER_SECONDS = 35.0
LIVE_SECONDS = 1800.0
BUILD_UP_SECONDS = 4200
CALM_SECONDS = 400
"""The end of the build-up, in which throttling is rarer: short windows come to rest, long ones still remember."""
_BUSY_PERIOD, _BUSY_HOT = 100, 60
_CALM_PERIOD, _CALM_HOT = 60, 18
_WARM_UP, _COOL_DOWN = 20.0, 30.0

DAY = 86400.0
_PEAK_HOUR = 14.0
_SWING = 0.45
DRIVER_LOADED = 1_760_000_000.0
"""Unix time since which simulated GPUs count energy."""
IDLE_WATTS, BUSY_WATTS, HOT_WATTS = 72.0, 560.0, 390.0


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until `end`, unix seconds, one GPU was too hot to run at full clocks."""

    start: float
    end: float
    node: str
    gpu: int


@dataclass(frozen=True)
class Scenario:
    """What a simulation is made from. Without `started_at` nothing happens to anybody."""

    node: str = fleet.NODES[0]
    seed: int = 1
    started_at: float = 0.0

    def to_json(self) -> str:
        """For ENVIRONMENT."""
        return json.dumps({"node": self.node, "seed": self.seed, "started_at": self.started_at})

    @staticmethod
    def from_environment() -> Scenario:
        """The scenario of this process. Raises ValueError where it is no scenario."""
        text = os.environ.get(ENVIRONMENT, "{}")
        try:
            found: dict[str, Any] = json.loads(text)
            kinds: dict[str, Any] = {"node": str, "seed": int, "started_at": float}
            return Scenario(**{key: kinds[key](value) for key, value in found.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'{ENVIRONMENT}={text}: write {{"node", "seed", "started_at"}} as JSON') from error

    @cached_property
    def hot_spans(self) -> tuple[Span, ...]:
        """When the incident's GPU throttles, oldest first, disjoint."""
        if not self.started_at:
            return ()
        start = self.started_at
        marks = [(at, at + _BUSY_HOT) for at in range(-BUILD_UP_SECONDS, -CALM_SECONDS - _BUSY_HOT, _BUSY_PERIOD)]
        marks += [(at, at + _CALM_HOT) for at in range(-CALM_SECONDS, -_CALM_HOT, _CALM_PERIOD)]
        spans = [Span(start + a, start + b, fleet.INCIDENT_NODE, fleet.INCIDENT_GPU) for a, b in marks]
        live = start + LIVE_AFTER_SECONDS
        return (*spans, Span(live, live + LIVE_SECONDS, fleet.INCIDENT_NODE, fleet.INCIDENT_GPU))

    @cached_property
    def _hot_starts(self) -> list[float]:
        return [span.start for span in self.hot_spans]

    @cached_property
    def _hot_before(self) -> list[float]:
        """Hot seconds that ended before each span begins."""
        sums = [0.0]
        for span in self.hot_spans:
            sums.append(sums[-1] + span.end - span.start)
        return sums

    def _is_incident(self, node: str, gpu: int) -> bool:
        return (node, gpu) == (fleet.INCIDENT_NODE, fleet.INCIDENT_GPU)

    def throttles(self, node: str, gpu: int, at: float) -> bool:
        """Whether the GPU's clocks are held down by heat."""
        if not self._is_incident(node, gpu):
            return False
        last = bisect_right(self._hot_starts, at) - 1
        return last >= 0 and at < self.hot_spans[last].end

    def hot_seconds(self, node: str, gpu: int, until: float) -> float:
        """How long heat has held the GPU's clocks down, since ever."""
        if not self._is_incident(node, gpu):
            return 0.0
        last = bisect_right(self._hot_starts, until) - 1
        if last < 0:
            return 0.0
        span = self.hot_spans[last]
        return self._hot_before[last] + min(until, span.end) - span.start

    def heat(self, node: str, gpu: int, at: float) -> float:
        """0 cool to 1 at the slowdown temperature: rises before it throttles, falls after."""
        if not self._is_incident(node, gpu):
            return 0.0
        nearest = 0.0
        for span in self.hot_spans:
            if span.start <= at < span.end:
                return 1.0
            gap = (span.start - at) / _WARM_UP if at < span.start else (at - span.end) / _COOL_DOWN
            nearest = max(nearest, 1.0 - gap)
        return nearest

    def slowed(self, engine: EnginePlan, at: float) -> bool:
        """Whether any GPU of the engine throttles: a tensor-parallel group is as fast as its slowest member."""
        return any(self.throttles(engine.node, gpu, at) for gpu in engine.gpus)

    def rate(self, engine: EnginePlan, at: float) -> float:
        """Expected requests per second of the engine: day and night."""
        return engine.work.mean_rate * engine.share * daily(at)

    def load(self, node: str, gpu: int, at: float) -> float:
        """How busy the GPU is, 0 to 1."""
        engine = fleet.engines_of(node)[gpu // fleet.GPUS_PER_ENGINE]
        return min(1.0, 0.58 * daily(at) * engine.share / 0.33 * (1.15 if self.slowed(engine, at) else 1.0))

    def jitter(self, what: str, at: float) -> float:
        """A number from -1 to 1 that holds for the second."""
        return random.Random(f"{self.seed} {what} {int(at)}").uniform(-1, 1)  # noqa: S311 (noise, not a secret)

    def watts(self, node: str, gpu: int, at: float) -> float:
        """Power drawn, without jitter."""
        if self.throttles(node, gpu, at):
            return HOT_WATTS
        return IDLE_WATTS + (BUSY_WATTS - IDLE_WATTS) * self.load(node, gpu, at)

    def joules(self, node: str, gpu: int, until: float) -> float:
        """Energy since DRIVER_LOADED: never falls. The mean load is taken, and less where the GPU throttled."""
        mean = IDLE_WATTS + (BUSY_WATTS - IDLE_WATTS) * 0.58
        spared = max(0.0, mean - HOT_WATTS) * self.hot_seconds(node, gpu, until)
        return mean * max(0.0, until - DRIVER_LOADED) - spared


def daily(at: float) -> float:
    """Traffic relative to its mean over a day: most in the early afternoon (UTC), least twelve hours later."""
    return 1.0 + _SWING * math.cos((at / DAY - _PEAK_HOUR / 24) * 2 * math.pi)
