"""Small pieces of PromQL, and the only place in alerts/ that writes a series name into an expression.

Imports exporter.metrics and slo.names. A name that is neither in the catalogue nor recorded cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.metrics import SAMPLE_NAMES
from slo.fleet_names import FLEET
from slo.model import Matcher
from slo.names import PUBLISHED, RECORDED

ALERTS = "ALERTS"
"""Prometheus' own series of pending and firing alerts."""
KUBE_NODE_INFO, KUBE_NODE_CAPACITY = "kube_node_info", "kube_node_status_capacity"
"""Of kube-state-metrics: the nodes of a cluster, and what each has."""
KNOWN = SAMPLE_NAMES | set(RECORDED) | set(FLEET) | set(PUBLISHED) | {ALERTS, KUBE_NODE_INFO, KUBE_NODE_CAPACITY}
"""Every series name that a rule may read."""

LOOK_BACK = "10m"
"""Of series recorded every 5 m: one missed evaluation is borne."""
TERM_LABEL = "gpufleet_term"
"""Tells the terms of one sum apart; recorded nowhere."""
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def select(name: str, *matchers: Matcher) -> str:
    """A selector of one series name. Raises KeyError for a name that nothing emits or records."""
    if name not in KNOWN:
        raise KeyError(f"{name} is neither in the catalogue nor recorded: see exporter/metrics and slo/names.py")
    return f"{name}{{{','.join(str(m) for m in matchers)}}}"


def duration(milliseconds: int) -> str:
    """As Prometheus writes durations: 5m15s, 59m59s, 4m59s999ms."""
    parts = []
    for unit, size in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def as_text(value: str) -> str:
    """A label's value that Prometheus takes as it is: it would run a template in it at each evaluation."""
    return value.replace("{{", '{{ "{{" }}')


def rates(selectors: Sequence[str], range_seconds: int) -> str:
    """Per-second rates of disjoint sets of series, joined."""
    return " or ".join(f"rate({selector}[{duration(range_seconds * 1000)}])" for selector in selectors)


def summed_rates(selectors: Sequence[str], range_seconds: int) -> str:
    """The same of sets that may share label sets, or series: told apart by a label that a sum takes away again."""
    if len(selectors) == 1:
        return rates(selectors, range_seconds)
    parts = (labelled(rates((one,), range_seconds), TERM_LABEL, str(at)) for at, one in enumerate(selectors))
    return " or ".join(parts)


def total_by(labels: Sequence[str], expr: str) -> str:
    """Sum by labels."""
    return f"sum by ({', '.join(labels)}) ({expr})"


def labelled(expr: str, label: str, value: str) -> str:
    """The expression with one label set to a constant."""
    return f'label_replace({expr}, "{label}", "{value}", "", "")'


def either(exprs: Iterable[str]) -> str:
    """Several expressions of different label sets as one, a line each."""
    return "\nor\n".join(exprs)
