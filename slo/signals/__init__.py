"""Signals by name. Adding one: a module with a SIGNAL, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from slo.model import Method, Slo, Weight
from slo.signals import (
    availability,
    composite,
    e2e,
    goodput,
    gpu_health,
    itl,
    probe_availability,
    probe_tpot,
    probe_ttft,
    queue,
    ratio,
    series_latency,
    tpot,
    trace_tpot,
    trace_ttft,
    ttft,
)
from slo.signals.base import Signal

_MODULES = (
    ttft,
    tpot,
    itl,
    e2e,
    queue,
    availability,
    goodput,
    trace_ttft,
    trace_tpot,
    probe_ttft,
    probe_tpot,
    probe_availability,
    gpu_health,
    composite,
    ratio,
    series_latency,
)
GENERIC = frozenset({ratio.SIGNAL.name, series_latency.SIGNAL.name})
"""Signals over series of the author's own: what they count stands in the SLO."""
WEIGHED = (goodput.SIGNAL.name, trace_ttft.SIGNAL.name, trace_tpot.SIGNAL.name)
"""Signals that agents count from spans, which know the tokens of a request."""
GROWING = (trace_ttft.SIGNAL.name,)
"""Signals whose threshold may grow with the prompt; goodput has bounds of its own."""
SIGNALS: Mapping[str, Signal] = {module.SIGNAL.name: module.SIGNAL for module in _MODULES}
"""Every signal by the name that SLO files write."""


def unit_of(slo: Slo) -> str:
    """What good, bad and total of an SLO are counts of."""
    if slo.method is Method.TIMESLICES:
        return "minutes"
    return "tokens" if slo.weight is Weight.TOKENS else signal_of(slo).unit


def signal_of(slo: Slo) -> Signal:
    """The signal of an SLO that has been checked."""
    return SIGNALS[slo.signal]
