"""Signals by name. Adding one: a module with a SIGNAL, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from slo.model import Slo
from slo.signals import availability, tpot, ttft
from slo.signals.base import Signal

SIGNALS: Mapping[str, Signal] = {s.name: s for s in (ttft.SIGNAL, tpot.SIGNAL, availability.SIGNAL)}
"""Every signal by the name that SLO files write."""


def signal_of(slo: Slo) -> Signal:
    """The signal of an SLO that has been checked."""
    return SIGNALS[slo.signal]
