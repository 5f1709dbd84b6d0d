"""SLOs as text for a terminal of 80 columns or more: `slo show`. Pure; no I/O.

Detection times are for a sudden, steady failure under steady traffic, counted from its start; what a scrape and the
evaluation of a rule add (at most a minute each) is not in them.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from decimal import Decimal

from exporter.metrics import llm, probe
from exporter.metrics.buckets import DEFAULT_EDGES, SGLANG_BUCKET_FLAGS, VLLM_BUCKET_KEYS
from gpufleet.words import duration, percent, percent_exact, table
from slo.burn import detection_seconds, evidence
from slo.model import Edge, Goodput, Indicator, Method, Slo, Weight
from slo.signals import availability, gpu_health, probe_availability, signal_of, unit_of
from slo.signals.base import Bounds
from slo.signals.counted import Counted
from slo.signals.latency import AGENT, Latency
from slo.windows import alert_windows

WIDTH = 100
LEAST_WIDTH = 80
_INDENT = " " * 13
_TENTH = Decimal("0.1")
_COMPOSITE = "a minute is as good as its parts were in it, by their weights; parts without events are left out"
_LEGEND = (
    "Alerts fire while both windows, long and short, burn faster than so many times the sustainable rate (burn), which "
    "is a share of bad events (errors), and the long one holds the evidence (needs: bad events at least). All bad, 1 "
    "in 10: the time from a sudden failure of so many until it fires; spent: the share of the budget that all bad has "
    "taken by then. A ticket of 2h and 1h is for low traffic."
)


def show(slos: Sequence[Slo], width: int = WIDTH) -> str:
    """Everything about each SLO that follows from its file, ready to print in so many columns (80 at least)."""
    blocks = [f"{slo.id}  ({slo.location})\n" + "\n".join(_wrapped(_slo(slo), width)) for slo in slos]
    return "\n\n".join([*blocks, textwrap.fill(_LEGEND, width)])


def _slo(slo: Slo) -> list[tuple[str, str]]:
    signal = signal_of(slo)
    within = f" within {duration(slo.threshold_seconds)}" if slo.threshold_seconds is not None else ""
    what = f"{signal.title}{within}: {percent_exact(slo.objective)} of {unit_of(slo)} over {slo.window.words}"
    lines = _entry("objective", [what])
    if slo.parts:
        lines += _entry("parts", [f"{part.slo.id}, weight {part.weight}" for part in slo.parts if part.slo is not None])
        lines += _entry("counts", [_COMPOSITE])
        return lines + _entry("alerts", [*_alerts(slo), "by the service alone: no rules, its parts have theirs"])
    if slo.indicator is None or slo.selector:
        lines += _entry("selects", _selects(slo))
    if slo.group_by:
        lines += _entry("groups", [f"one budget for each {', '.join(slo.group_by)}"])
    if slo.source:
        lines += _entry("targets", [slo.source])
    if slo.indicator is not None:
        lines += _entry("counts", _own_series(slo, slo.indicator))
    elif signal is probe_availability.SIGNAL:
        bad = [result for result in probe.RESULTS if result != probe.OK]
        lines += _entry("counts", [f"a probe is bad when its result is {', '.join(bad[:-1])} or {bad[-1]}"])
    elif slo.goodput is not None:
        lines += _entry("counts", [_goodput(slo.goodput)])
    elif signal is gpu_health.SIGNAL:
        lines += _entry("counts", ["a GPU's minute is bad when one of its checks, of those selected, found it ill"])
    elif isinstance(signal, Counted):
        lines += _entry("counts", [_counted(slo)])
    elif isinstance(signal, Latency):
        lines += _entry("buckets", _buckets(slo, signal))
    else:
        lines += _entry("counts", [_availability(slo)])
    if slo.method is Method.TIMESLICES and signal is not availability.SIGNAL and not _is_share(slo):
        allowed = percent_exact(slo.max_error_ratio)
        lines += _entry(
            "minutes", [f"a minute is bad when more than {allowed} of its events are; with none it is good"]
        )
    return lines + _entry("alerts", _alerts(slo))


def _is_share(slo: Slo) -> bool:
    return slo.indicator is not None and bool(slo.indicator.minute)


def _selects(slo: Slo) -> list[str]:
    lines = [str(matcher) for matcher in slo.selector] or ["everything"]
    if slo.indicator is not None:
        return lines
    ours = {*llm.MODEL_LABELS, *(label for family in signal_of(slo).families for label in family.labels)}
    foreign = dict.fromkeys(m.label for m in slo.selector if m.label not in ours)
    return lines + [f"the agent sets no label {label}: it must come from your Prometheus" for label in foreign]


def _counted(slo: Slo) -> str:
    grows = f"; the bound grows by {duration(slo.per_1k_prompt_tokens)} for every 1,000 tokens of the prompt"
    weighed = "; it counts as many times as its prompt and answer have tokens"
    return (
        "each request that has a span, exactly: no bucket is read"
        f"{grows if slo.per_1k_prompt_tokens else ''}{weighed if slo.weight is Weight.TOKENS else ''}"
    )


def _goodput(bounds: Goodput) -> str:
    more = f" and {duration(bounds.per_1k_prompt_tokens)} for every 1,000 tokens of its prompt"
    first = f"its first token within {duration(bounds.ttft)}{more if bounds.per_1k_prompt_tokens else ''}"
    return f"a request is good when it went well, had {first}, and then took at most {duration(bounds.tpot)} a token"


def _availability(slo: Slo) -> str:
    if slo.method is not Method.TIMESLICES:
        return "a request is bad when it ends with a 5xx, is refused, or fails in the engine"
    bad = f"no replica answers or more than {percent_exact(slo.max_error_ratio)} of its requests fail"
    start = f"a replica may take {duration(slo.start_grace_seconds)} to start"
    return f"a minute is bad when {bad}; {start}" + ("; having no replica is fine" if slo.scale_to_zero else "")


def _own_series(slo: Slo, indicator: Indicator) -> list[str]:
    lines = [str(indicator)]
    if indicator.native and slo.threshold_seconds is not None:
        edge = duration(slo.threshold_seconds)
        lines.append(f"within {edge} by native buckets: rules estimate, the service has bounds")
    elif indicator.histogram is not None and slo.threshold_seconds is not None:
        edge = duration(slo.threshold_seconds)
        lines.append(f"rules count it where {edge} is an edge of its buckets; the service has bounds where it is none")
    if indicator.rules_only:
        lines.append("by rules alone: the service has no raw counters of it")
    return lines


def _entry(title: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """A titled block: the title beside its first line."""
    return [(title if at == 0 else "", line) for at, line in enumerate(lines)]


def _wrapped(lines: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Lines that fit; titles stand once, in a column of their own."""
    found = []
    for title, line in lines:
        parts = textwrap.wrap(line, width - len(_INDENT), break_on_hyphens=False) or [""]
        found += [f"  {title:<11}{parts[0]}".rstrip(), *(_INDENT + part for part in parts[1:])]
    return found


def _buckets(slo: Slo, signal: Latency) -> list[str]:
    around = signal.bounds_by_engine(slo)
    if not around:
        return ["no engine that the selector can reach has known edges: they are read from its page"]
    width = max(len(kind) for kind in around)
    lines = [f"{kind:<{width}}  {_verdict(slo, bounds)}" for kind, bounds in around.items()]
    if AGENT in around and not _on_edge(slo, around[AGENT]):
        lines.append(
            "exact in the ledger where the agents have the threshold in their objectives; rules have the interval"
        )
    key = VLLM_BUCKET_KEYS.get(signal.family.name)
    if "vllm" in around and key is not None and not _on_edge(slo, around["vllm"]):
        assert slo.threshold_seconds is not None
        edges = sorted({*DEFAULT_EDGES["vllm"][signal.family.name], float(slo.threshold_seconds)})
        lines += [
            "vLLM 0.32 and later count it exactly when started with",
            f"--custom-histogram-buckets '{json.dumps({key: edges})}'",
        ]
    flag = SGLANG_BUCKET_FLAGS.get(signal.family.name)
    if "sglang" in around and flag is not None and not _on_edge(slo, around["sglang"]):
        assert slo.threshold_seconds is not None
        edges = sorted({*DEFAULT_EDGES["sglang"][signal.family.name], float(slo.threshold_seconds)})
        lines += ["SGLang counts it exactly when started with", f"{flag} {' '.join(f'{edge:g}' for edge in edges)}"]
    return lines


def _on_edge(slo: Slo, around: Bounds) -> bool:
    """Whether the threshold itself, not what it was snapped to, is an edge."""
    return around.exact and around.lower is not None and Decimal(repr(around.lower)) == slo.threshold_seconds


def _verdict(slo: Slo, around: Bounds) -> str:
    assert slo.threshold_seconds is not None
    here = duration(slo.threshold_seconds)
    if _on_edge(slo, around):
        return f"{here} is an edge: exact"
    if around.exact and around.lower is not None:
        return f"{here} is no edge: snapped to {duration(around.lower)} (edge: {slo.edge})"
    if around.lower is not None and around.upper is not None:
        enclosed = f"{duration(around.lower)} < {here} < {duration(around.upper)}"
        return f"{enclosed}: the budget is an interval; edge: lower or upper snaps"
    if around.lower is None:
        low = duration(around.upper or 0)
        snap = "" if slo.edge is Edge.LOWER else "; edge: upper snaps"
        return f"{here} is below the first edge, {low}: none is certainly good{snap}"
    snap = "" if slo.edge is Edge.UPPER else "; edge: lower snaps"
    return f"{here} is beyond the last edge, {duration(around.lower)}: slower ones are not certainly bad{snap}"


def _alerts(slo: Slo) -> list[str]:
    windows = alert_windows(slo)
    if not windows:
        return ["none: page and ticket are disabled"]
    rows = [("alert", "long", "short", "burn", "errors", "all bad", "1 in 10", "spent", "needs")]
    for one in windows:
        whole, tenth = (detection_seconds(slo, one, ratio) for ratio in (Decimal(1), _TENTH))
        assert whole is not None  # an alert that cannot fire is refused with its file
        spent = whole / slo.window.seconds / slo.budget_ratio
        rows.append((
            one.severity, one.long, one.short, f"{one.factor}", percent(one.error_ratio(slo)),
            duration(whole), "never" if tenth is None else duration(tenth), percent(spent), f"{evidence(slo, one)}",
        ))  # fmt: skip
    missing = [
        f"{name} is disabled"
        if said.disabled
        else f"no {name}: none could fire at {percent_exact(slo.objective)} over {slo.window.words}"
        for name, said in (("page", slo.page), ("ticket", slo.ticket))
        if name not in {one.severity for one in windows}
    ]
    return [*table(rows), *missing]
