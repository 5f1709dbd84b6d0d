"""How engines stand against what is usual for each: load, prompts, queue, KV cache, preemptions; restarts, versions.

Pure: imports slo.facts, slo.names and slo.recent.

Decision (accepted). Context: a burn without a hardware event has a reason too,
and the engine's own page shows most of them; a series per replica and figure would be millions of rows a month.
Decision: each figure of a replica is held against its own median of the six hours before, in memory, and makes a fact
only where it is out of the ordinary, once for each five minutes and figure. Consequences: after the service started
nothing is usual yet for half an hour; a state that lasts longer than three hours becomes the usual one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from slo.facts import KV_CACHE, LOAD, PREEMPTIONS, PROMPTS, QUEUE, RESTART, VERSION, Fact
from slo.names import TILE_SECONDS
from slo.recent import Recent

USUAL_TILES = 72
"""Six hours of tiles make the usual."""
MIN_TILES = 6
"""With fewer nothing is usual yet."""
SETTLED_SECONDS = 60.0
"""So much of a tile must have been seen before it is judged."""
MIN_REQUESTS = 30
"""Fewer requests say nothing of load or prompts."""
MORE_LOAD, LONGER_PROMPTS = 1.5, 1.4
"""Times the usual."""
SIGMAS = 4.0
"""A load must be beyond chance, too: arrivals scatter by the root of their number."""
MORE_WAITING, MIN_WAITING = 3.0, 4.0
FULL_CACHE, FULLER_CACHE = 0.9, 0.1
MORE_PREEMPTIONS, MIN_PREEMPTIONS = 3.0, 5
_SAME_START_SECONDS = 1.0


class Figures(NamedTuple):
    """What one scrape tells of one engine; NaN where its page does not. Counters are sums over its ranks."""

    requests: float
    running: float
    waiting: float
    kv_cache: float
    preemptions: float
    input_tokens: float
    started: float


@dataclass(slots=True)
class _Engine:
    base: Figures
    base_time: float
    last: Figures
    last_time: float
    tile: int
    waiting: float = 0.0
    kv_cache: float = 0.0
    scrapes: int = 0
    whole: bool = False
    told: set[str] = field(default_factory=set)
    usual: dict[str, deque[float]] = field(default_factory=dict)
    medians: dict[str, float] = field(default_factory=dict)


class EngineWatch:
    """Takes every engine's figures of every scrape; gives facts where something is out of the ordinary, or changed."""

    def __init__(self) -> None:
        self._engines: Recent[str, _Engine] = Recent()
        self._identity: Recent[str, tuple[str, str]] = Recent()
        self._version_of_model: Recent[str, str] = Recent()

    def take(self, time: float, labels: Mapping[str, str], now: Figures) -> list[Fact]:
        """One scrape of the engine that `labels` name (target, model_name, node, namespace, pod)."""
        target = labels["target"]
        engine = self._engines.get(target)
        tile = int(time // TILE_SECONDS)
        if engine is None:
            self._engines.put(target, _Engine(now, time, now, time, tile))
            return []
        facts = []
        if how := _restarted(engine.last, now):
            facts.append(Fact(time, RESTART, {**labels, "how": how}, 1.0, f"{target} restarted"))
            engine.base, engine.base_time, engine.whole = now, time, False
        if tile != engine.tile:
            self._close(engine, tile)
        engine.last, engine.last_time = now, time
        if not math.isnan(now.waiting):
            engine.waiting += now.waiting
        if not math.isnan(now.kv_cache):
            engine.kv_cache += now.kv_cache
        engine.scrapes += 1
        if time - engine.base_time >= SETTLED_SECONDS:
            start = float(tile * TILE_SECONDS)
            for kind, (value, words) in _unusual(engine).items():
                if kind not in engine.told:
                    engine.told.add(kind)
                    facts.append(Fact(start, kind, labels, value, f"{target}: {words}"))
        return facts

    def identity(self, time: float, labels: Mapping[str, str], version: str, *, was_watched: bool) -> list[Fact]:
        """What the engine is now. `was_watched`: its source was read before, so that a new engine is news."""
        target, model = labels["target"], labels.get("model_name", "")
        before, now = self._identity.get(target), (version, model)
        self._identity.put(target, now)
        others = self._version_of_model.get(model)
        if version:
            self._version_of_model.put(model, version)
        if before == now:
            return []
        said = {**labels, "version": version}
        if before is None:
            if not was_watched:
                return []
            facts = [Fact(time, RESTART, {**labels, "how": "new"}, 1.0, f"{target} is new")]
            if others and version and version != others:
                text = f"{target} runs version {version}, {model} ran {others} before"
                facts.append(Fact(time, VERSION, said | {"before": others}, 1.0, text))
            return facts
        if version and before[0] and version != before[0]:
            text = f"{target} runs version {version}, {before[0]} before"
            return [Fact(time, VERSION, said | {"before": before[0]}, 1.0, text)]
        if model and before[1] and model != before[1]:
            text = f"{target} serves {model}, {before[1]} before"
            return [Fact(time, VERSION, {**labels, "version": model, "before": before[1]}, 1.0, text)]
        return []

    def _close(self, engine: _Engine, tile: int) -> None:
        """End a tile: what it held becomes part of the usual, where it was seen as a whole."""
        if engine.whole and tile == engine.tile + 1:
            for kind, value in _figures(engine).items():
                engine.usual.setdefault(kind, deque(maxlen=USUAL_TILES)).append(value)
            engine.medians = {kind: median(held) for kind, held in engine.usual.items() if len(held) >= MIN_TILES}
        engine.base, engine.base_time, engine.whole = engine.last, engine.last_time, True
        engine.tile, engine.waiting, engine.kv_cache, engine.scrapes = tile, 0.0, 0.0, 0
        engine.told.clear()


def _restarted(last: Figures, now: Figures) -> str:
    """How it is seen that the process is another one; empty where it is the same."""
    if now.started - last.started > _SAME_START_SECONDS:
        return "started"
    if now.requests < last.requests or now.input_tokens < last.input_tokens:
        return "counters"
    return ""


def _figures(engine: _Engine) -> dict[str, float]:
    """The tile so far: requests per second, tokens per request, and so on; without those that cannot be told."""
    base, last = engine.base, engine.last
    seconds = engine.last_time - engine.base_time
    if seconds <= 0 or not engine.scrapes:
        return {}
    # Arrivals are those that finished and what more is inside: a full engine finishes no more than ever.
    started = last.requests - base.requests + last.running - base.running
    arrived = started + last.waiting - base.waiting
    found = {
        LOAD: arrived / seconds,
        PROMPTS: (last.input_tokens - base.input_tokens) / started if started >= MIN_REQUESTS else math.nan,
        QUEUE: engine.waiting / engine.scrapes if not math.isnan(last.waiting) else math.nan,
        KV_CACHE: engine.kv_cache / engine.scrapes if not math.isnan(last.kv_cache) else math.nan,
        PREEMPTIONS: (last.preemptions - base.preemptions) / seconds,
    }
    return {kind: value for kind, value in found.items() if math.isfinite(value)}


def _unusual(engine: _Engine) -> dict[str, tuple[float, str]]:
    """What of the tile so far is out of the ordinary: the figure and its words."""
    seconds, found = engine.last_time - engine.base_time, {}
    for kind, value in _figures(engine).items():
        usual = engine.medians.get(kind)
        if usual is None:
            continue
        if kind == LOAD:
            count, expected = value * seconds, max(0.0, usual * seconds)
            beyond = count >= MORE_LOAD * expected and count - expected >= SIGMAS * math.sqrt(max(1.0, expected))
            if beyond and count >= MIN_REQUESTS:
                found[kind] = (value, f"{value:.3g} requests/s, usually {max(0.0, usual):.3g}")
        elif kind == PROMPTS and value >= LONGER_PROMPTS * usual:
            found[kind] = (value, f"prompts of {value:.0f} tokens, usually {usual:.0f}")
        elif kind == QUEUE and value >= max(MIN_WAITING, MORE_WAITING * usual):
            found[kind] = (value, f"{value:.3g} requests waiting, usually {usual:.3g}")
        elif kind == KV_CACHE and value >= FULL_CACHE and value - usual >= FULLER_CACHE:
            found[kind] = (value, f"KV cache {value:.0%} full, usually {usual:.0%}")
        elif kind == PREEMPTIONS and value >= MORE_PREEMPTIONS * usual and value * seconds >= MIN_PREEMPTIONS:
            count = value * seconds
            found[kind] = (count, f"{count:.0f} preemptions in {seconds:.0f} s, usually {usual * seconds:.3g}")
    return found
