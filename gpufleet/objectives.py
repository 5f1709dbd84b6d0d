"""SLOs → objectives of the agent's settings: what an agent needs to count single requests exactly.

Wires slo and exporter together. An objective has the id of its SLO and the same threshold and weight. The agent
counts it for every replica; which of them the SLO means, its selector says to whoever reads the counts.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def simulated_probe(objectives: Sequence[Objective]) -> ProbeSettings:
    """The probe of a simulated engine: often, and waiting longer than any threshold."""
    highest = max((one.threshold_seconds or 0.0 for one in objectives if one.signal == PROBE_TTFT), default=0.0)
    timeout = min(LONGEST_TIMEOUT_SECONDS, max(ProbeSettings().timeout_seconds, 2 * highest))
    return ProbeSettings(interval_seconds=_SIMULATED_INTERVAL_SECONDS, timeout_seconds=timeout)
