"""The settings of probes and objectives, and what can be wrong with them beyond their types.

Imports exporter.objectives and exporter.decode. Probes are off unless an engine has a `probe`; every key of it is
optional.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from exporter.decode import Seconds
from exporter.objectives import GOODPUT, GROWING, PROBE_TTFT, SIGNALS, TRACE_SIGNALS, WITHOUT_THRESHOLD, Objective

SHORTEST_INTERVAL_SECONDS, LONGEST_TIMEOUT_SECONDS = 1.0, 300.0
MOST_TOKENS = 256
"""A probe must stay cheap."""


class ProbeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an engine is probed: see exporter.sources.probe. `model` empty asks the engine, files empty are none."""

    interval_seconds: Seconds = msgspec.field(default=15.0, name="interval")
    model: str = ""
    path: str = "/v1/completions"
    max_tokens: int = 16
    timeout_seconds: Seconds = msgspec.field(default=10.0, name="timeout")
    token_file: str = ""
    ca_file: str = ""


def problems(
    engines: Sequence[ProbeSettings | None], found: ProbeSettings | None, objectives: Sequence[Objective]
) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do), where as `.objectives[0].id`.

    `engines` are the probes in the order of the engines, `found` is that of engines that are found.
    """
    probes = {f".engines[{place}].probe": probe for place, probe in enumerate(engines)}
    probes[".discovery.probe"] = found
    for where, probe in probes.items():
        if probe is not None:
            for key, problem in _of_probe(probe):
                yield f"{where}.{key}", problem
    seen: set[str] = set()
    for place, one in enumerate(objectives):
        for key, problem in _of_objective(one, seen, probes.values()):
            yield f".objectives[{place}].{key}", problem
        seen.add(one.id)


def _of_probe(probe: ProbeSettings) -> Iterator[tuple[str, str]]:
    if probe.interval_seconds < SHORTEST_INTERVAL_SECONDS:
        yield "interval", f"the probe's interval is too short; write {SHORTEST_INTERVAL_SECONDS:g}s or more"
    if not 0 < probe.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        yield "timeout", f"the probe's timeout is not above 0 and up to {LONGEST_TIMEOUT_SECONDS:g}s; write 10s"
    if not 1 <= probe.max_tokens <= MOST_TOKENS:
        yield "max_tokens", f"max_tokens {probe.max_tokens} is not from 1 to {MOST_TOKENS}; write 16"
    if not (probe.path.startswith("/") and probe.path.endswith("/completions")):
        yield "path", f"`{probe.path}` cannot be probed; write /v1/completions or /v1/chat/completions"


def _of_objective(one: Objective, seen: set[str], probes: Iterable[ProbeSettings | None]) -> Iterator[tuple[str, str]]:
    if not one.id:
        yield "id", "an objective has no id; give it the id of its SLO"
    if one.id in seen:
        yield "id", f"objective `{one.id}` is listed twice; keep one"
    if one.signal not in SIGNALS:
        yield "signal", f"signal `{one.signal}` cannot be counted; known are {', '.join(SIGNALS)}"
        return
    if one.per_1k_prompt_tokens_seconds and one.signal not in GROWING:
        yield "per_1k_prompt_tokens", f"signal {one.signal} does not grow with the prompt; remove it"
    if one.weight == "tokens" and one.signal not in TRACE_SIGNALS:
        yield "weight", f"a probe's tokens say nothing of signal {one.signal}; remove it"
    for key, bound in (("ttft", one.ttft_seconds), ("tpot", one.tpot_seconds)):
        if one.signal == GOODPUT and not (bound or 0) > 0:
            yield key, f"signal {one.signal} needs a {key} above 0; write one as in {key}: 500ms"
        elif one.signal != GOODPUT and bound is not None:
            yield key, f"signal {one.signal} has one threshold; remove {key}"
    if one.signal in WITHOUT_THRESHOLD:
        if one.threshold_seconds is not None:
            yield "threshold", f"signal {one.signal} has no threshold; remove it"
        return
    if one.threshold_seconds is None or one.threshold_seconds <= 0:
        yield "threshold", f"signal {one.signal} needs a threshold above 0; write one as in 500ms"
        return
    timeout = min((probe.timeout_seconds for probe in probes if probe is not None), default=None)
    if one.signal == PROBE_TTFT and timeout is not None and one.threshold_seconds >= timeout:
        yield (
            "threshold",
            f"{one.threshold_seconds:g} s is not below the {timeout:g} s that a probe waits; raise the probe's timeout",
        )
