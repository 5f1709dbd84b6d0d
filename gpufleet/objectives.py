"""SLOs → objectives of the agent's settings: what an agent needs to count single requests exactly.

Wires slo and exporter together. An objective has the id of its SLO and the same threshold and weight. The agent
counts it for every replica; which of them the SLO means, its selector says to whoever reads the counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from exporter.objectives import PROBE_TTFT, SIGNALS, TPOT, TTFT, Objective
from exporter.settings_probe import LONGEST_TIMEOUT_SECONDS, ProbeSettings
from slo.model import Slo, Weight
from slo.signals import trace_tpot, trace_ttft

COUNTED = {
    **{name: name for name in SIGNALS},
    trace_ttft.SIGNAL.name: TTFT,
    trace_tpot.SIGNAL.name: TPOT,
}
"""What SLO files call a signal → what the agent's settings call it."""
_SIMULATED_INTERVAL_SECONDS = 5.0


def objectives_of(slos: Sequence[Slo]) -> tuple[Objective, ...]:
    """The objectives of the SLOs whose signals an agent can count."""
    return tuple(
        Objective(
            id=slo.id,
            signal=COUNTED[slo.signal],
            threshold_seconds=None if slo.threshold_seconds is None else float(slo.threshold_seconds),
            ttft_seconds=None if slo.goodput is None else float(slo.goodput.ttft),
            tpot_seconds=None if slo.goodput is None else float(slo.goodput.tpot),
            per_1k_prompt_tokens_seconds=float((slo.goodput or slo).per_1k_prompt_tokens),
            weight="tokens" if slo.weight is Weight.TOKENS else "requests",
        )
        for slo in slos
        if slo.signal in COUNTED
    )


def settings_text(slos: Sequence[Slo]) -> str:
    """The objectives of these SLOs as the agent's settings have them, in YAML; `[]` where an agent counts none."""
    objectives = objectives_of(slos)
    if not objectives:
        return "objectives: []\n"
    rows = (", ".join(f"{key}: {value}" for key, value in _written(one).items()) for one in objectives)
    return "".join(["objectives:\n", *(f"  - {{{row}}}\n" for row in rows)])


def _written(objective: Objective) -> dict[str, str]:
    """Keys and values of one as a file has them; what is as by default is left out."""
    bounds = {
        "threshold": objective.threshold_seconds,
        "ttft": objective.ttft_seconds,
        "tpot": objective.tpot_seconds,
        "per_1k_prompt_tokens": objective.per_1k_prompt_tokens_seconds or None,
    }
    found = {"id": json.dumps(objective.id, ensure_ascii=False), "signal": objective.signal}
    found |= {key: f"{Decimal(str(seconds)):f}s" for key, seconds in bounds.items() if seconds is not None}
    return found if objective.weight == "requests" else {**found, "weight": objective.weight}


def simulated_probe(objectives: Sequence[Objective]) -> ProbeSettings:
    """The probe of a simulated engine: often, and waiting longer than any threshold."""
    highest = max((one.threshold_seconds or 0.0 for one in objectives if one.signal == PROBE_TTFT), default=0.0)
    timeout = min(LONGEST_TIMEOUT_SECONDS, max(ProbeSettings().timeout_seconds, 2 * highest))
    return ProbeSettings(interval_seconds=_SIMULATED_INTERVAL_SECONDS, timeout_seconds=timeout)
