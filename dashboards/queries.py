"""PromQL of the boards. Every metric name comes from the catalogue or from slo/names.py; anything else fails here.

Imports exporter.metrics and slo. Board variables stand in the matchers; `$__rate_interval` in every range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from exporter.metrics import CATALOGUE, SAMPLE_NAMES, llm
from exporter.model import Family
from slo import scraped
from slo.fleet_names import FLEET, rate_by_model
from slo.model import Matcher, Slo
from slo.names import (
    ALERT_BURN_PAGE,
    ALERT_BURN_TICKET,
    ALERT_EXHAUSTED,
    ALERT_NO_DATA,
    ALERT_UNDECIDED,
    INFO,
    LABEL_CLUSTER,
    LABEL_ID,
    LABEL_SERVICE,
    OBJECTIVE,
    PUBLISHED,
    RECORDED,
    THRESHOLD,
    TILE_SECONDS,
)
from slo.signals import signal_of
from slo.signals.base import MinuteSelectors, Selected, Selectors

ALERTS = "ALERTS"
"""Prometheus' own series of pending and firing alerts."""
KNOWN = SAMPLE_NAMES | set(RECORDED) | set(PUBLISHED) | set(FLEET) | {ALERTS}
"""Every series name that a board may ask for."""

NODE_LABEL, POD_LABEL, GPU_LABEL = "node", "pod", "gpu"
CLUSTER = f'{LABEL_CLUSTER}=~"${LABEL_CLUSTER}"'
NODE = f'{NODE_LABEL}=~"${NODE_LABEL}"'
MODEL = f'{llm.MODEL_NAME_LABEL}=~"${llm.MODEL_NAME_LABEL}"'
SERVING = (CLUSTER, NODE, MODEL)
"""Matchers of the replicas that the reader has chosen."""
ENGINE = 'engine=~"$engine"'
GPUS = (CLUSTER, NODE, 'gpu=~"$gpu"')
"""Matchers of the GPUs that the reader has chosen."""
CLUSTER_OR_NONE = f'{LABEL_CLUSTER}=~"${LABEL_CLUSTER}|"'
"""For series that have a cluster only where the rules run inside it."""
SERVICE = f'{LABEL_SERVICE}=~"${LABEL_SERVICE}"'
CHOSEN = (SERVICE, f'{LABEL_ID}=~"${LABEL_ID}"')
"""Matchers of the SLOs that the reader has chosen."""
CONSTANTS = frozenset({OBJECTIVE, THRESHOLD, INFO})
"""Recorded from the SLO's definition alone: no cluster, no group."""
REMEMBERED = "1h"
"""How long a node is missed after its agent has gone."""
LOOK_BACK = f"{2 * TILE_SECONDS // 60}m"
"""For series recorded once a tile: one missed evaluation is borne, and no gap is drawn between two."""
_ALERT_NAMES = (ALERT_BURN_PAGE, ALERT_BURN_TICKET, ALERT_EXHAUSTED, ALERT_NO_DATA, ALERT_UNDECIDED)
_OF_SLOS = str(Matcher("alertname", "=~", "|".join(_ALERT_NAMES)))


def select(series: Family | str, *matchers: str) -> str:
    """A selector. Raises KeyError for a series that nothing emits or records."""
    name = str(series)
    if name not in KNOWN:
        raise KeyError(f"{name} is neither in the catalogue nor recorded: see exporter/metrics and slo/names.py")
    return f"{name}{{{','.join(matchers)}}}"


def rate(selector: str) -> str:
    """Per second, of a counter. Raises ValueError for a gauge of the catalogue."""
    family = CATALOGUE.get(selector.partition("{")[0])
    if family is not None and family.type == "gauge":
        raise ValueError(f"{family} is a gauge: its rate means nothing")
    return f"rate({selector}[$__rate_interval])"


def increase(selector: str) -> str:
    """Of a counter over the whole time that the reader has chosen: for figures, never for lines."""
    return rate(selector).replace("rate(", "increase(", 1).replace("$__rate_interval", "$__range")


def by_model(series: Family | str, *matchers: str) -> str:
    """A counter's recorded rate of the chosen models on all nodes; by cluster, model, engine and what tells it apart.

    Raises KeyError for one that is not recorded.
    """
    return select(rate_by_model(str(series)), CLUSTER, MODEL, *matchers)


def quantile(share: float, family: Family, by: str, *matchers: str) -> str:
    """A quantile of a histogram by labels; `by` should have the engine's kind, whose histograms share their edges."""
    return f"histogram_quantile({share}, sum by ({by}, le) ({by_model(family.bucket, *matchers)}))"


def ratio(part: str, whole: str) -> str:
    """A share; nothing where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def seats(*gpus: str, of: Sequence[str] = SERVING) -> str:
    """Replicas with the GPUs they sit on: cluster, node, target, gpu, UUID, and their model and kind of engine.

    The series that names the GPUs is the node's knowledge and has no model; that of the engine has it.
    """
    place = f"{LABEL_CLUSTER}, {NODE_LABEL}, {llm.TARGET_LABEL}"
    info = f"group by ({place}, gpu, UUID) ({select(llm.ENGINE_GPU_INFO, CLUSTER, NODE, *gpus)})"
    model = f"group by ({place}, {llm.MODEL_NAME_LABEL}, engine) ({select(llm.ENGINE_UP, *of)})"
    return f"({info} * on ({place}) group_left ({llm.MODEL_NAME_LABEL}, engine) {model})"


def recorded(name: str, *matchers: str) -> str:
    """The last recorded value of the chosen SLOs."""
    return last(name, *CHOSEN, *matchers)


def last(name: str, *matchers: str) -> str:
    """The last recorded value in the chosen clusters."""
    return f"last_over_time({select(name, CLUSTER, *matchers)}[{LOOK_BACK}])"


def constant(name: str, *matchers: str) -> str:
    """A constant of the chosen SLOs."""
    return select(name, CLUSTER_OR_NONE, *CHOSEN, *matchers)


def alerts(state: str, *matchers: str) -> str:
    """Alerts about the chosen SLOs in a state: firing or pending."""
    return select(ALERTS, CLUSTER_OR_NONE, *CHOSEN, _OF_SLOS, f'alertstate="{state}"', *matchers)


def firing(*families: str, matchers: Sequence[str] = ()) -> str:
    """Firing alerts of ours whose names begin so."""
    return select(ALERTS, CLUSTER_OR_NONE, f'alertname=~"({"|".join(families)}).+"', 'alertstate="firing"', *matchers)


def among(slos: Sequence[Slo], everything: Sequence[Slo]) -> tuple[str, ...]:
    """A matcher for these SLOs out of all of a board: the shorter of naming them and naming the others."""
    wanted = {slo.id for slo in slos}
    others = [slo.id for slo in everything if slo.id not in wanted]
    if len(wanted) <= len(others):
        return (str(Matcher(LABEL_ID, "=~", "|".join(slo.id for slo in slos))),)
    return (str(Matcher(LABEL_ID, "!~", "|".join(others))),) if others else ()


def if_chosen(slo: Slo, expr: str) -> str:
    """The expression while the reader has this SLO chosen, else nothing: for what each SLO counts its own way."""
    return f"({expr}) and on () {constant(OBJECTIVE, str(Matcher(LABEL_ID, '=', slo.id)))}"


def counts_requests(slo: Slo) -> bool:
    """Whether agents' series say whose its bad requests were; not so of others' series, of GPUs and of composites."""
    return slo.indicator is None and isinstance(_selectors(slo), Selectors | MinuteSelectors)


def bad_requests(slo: Slo, label: str) -> str:
    """Bad requests a second of one SLO by a label of the replicas, or by their GPUs: pessimistic, never below 0.

    For time slices: failed requests, of which too many make a minute bad.
    """
    if label == GPU_LABEL:
        place = f"{LABEL_CLUSTER}, {NODE_LABEL}, {llm.TARGET_LABEL}"
        seats = f"group by ({place}, {GPU_LABEL}) ({select(llm.ENGINE_GPU_INFO, CLUSTER, NODE)})"
        one = bad_requests(slo, f"{NODE_LABEL}, {llm.TARGET_LABEL}")
        return f"sum by ({LABEL_CLUSTER}, {NODE_LABEL}, {GPU_LABEL}) ({seats} * on ({place}) group_left () {one})"
    if label == POD_LABEL:
        kept = ", ".join(f"{one}, exported_{one}" for one in scraped.LABELS)
        return scraped.named(bad_requests(slo, kept))
    by = f"sum by ({LABEL_CLUSTER}, {label})"
    match _selectors(slo):
        case MinuteSelectors(bad=failed):
            return f"{by} ({rate(failed)})"
        case Selectors(total=total, good=good, bad=failed):
            if failed:
                return f"{by} ({_rates(failed)})"
            if not good:
                return f"{by} ({_rates(total)})"
            return f"clamp_min({by} ({_rates(total)}) - {by} ({_rates(good)}), 0)"
    raise AssertionError(f"{slo.id} counts series of its author's own: no label says who spends")


def not_answering(slo: Slo) -> str:
    """1 for each replica of the SLO that does not answer, 0 for those that do; by cluster, node, model and target."""
    up = select(llm.ENGINE_UP, CLUSTER, NODE, *(str(matcher) for matcher in slo.selector))
    return f"1 - max by ({LABEL_CLUSTER}, {NODE_LABEL}, {llm.MODEL_NAME_LABEL}, {llm.TARGET_LABEL}) ({up})"


def _selectors(slo: Slo) -> Selected:
    """The signal's own selectors, narrowed to the chosen clusters and nodes."""
    here = (Matcher(LABEL_CLUSTER, "=~", f"${LABEL_CLUSTER}"), Matcher(NODE_LABEL, "=~", f"${NODE_LABEL}"))
    return signal_of(slo).selectors(replace(slo, selector=(*here, *slo.selector)))


def _rates(selectors: Sequence[str]) -> str:
    return " or ".join(rate(selector) for selector in selectors)
