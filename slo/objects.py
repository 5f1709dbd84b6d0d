"""The JSON objects of the API, typed, and how they are made from the service's values.

Imports slo's values and msgspec. The objects are a public contract: a field may be added, never renamed or removed.
Times are RFC 3339 in UTC; ratios are 0 to 1 (budgets may be negative); objectives and factors are decimal text.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from slo.attribution import Evidence, Spender
from slo.budget import budget_remaining
from slo.exclusions import Exclusion
from slo.forecast import Forecast
from slo.periods import span_of
from slo.signals import unit_of
from slo.standing import Point
from slo.status import Culprit, SloStatus
from slo.verdict import Verdict
from slo.who import Attribution


class AlertObject(msgspec.Struct, frozen=True):
    """One burn-rate condition. `state` is inactive, firing, undecided or unknown (no data).

    `since` is null unless it fires.

    Undecided: it fires only if what lies between two bucket edges was bad.
    """

    severity: str
    long: str
    short: str
    factor: str
    state: str
    since: str | None


class ForecastObject(msgspec.Struct, frozen=True):
    """When the budget will end, with the week's traffic. Made at `at` by `method`; null times are: not in this window.

    `exhausted_at_interval` holds it in four of five cases, `probability` is that of ending within the window; both are
    null with the method "pace" (the present pace kept up), which stands in until there is a week of counts ("days").
    """

    at: str
    exhausted_at: str | None
    exhausted_at_interval: tuple[str | None, str | None] | None
    probability: float | None
    method: str


class SloObject(msgspec.Struct, frozen=True):
    """One SLO, or one group of it. `good`, `bad` and `total` count `unit` over `window`, `good` being the lower bound.

    `exhausted_at` is when the budget ends at the present pace: past once exhausted, null where it outlasts the window.
    `window_start` is since when it counts; `window_end` is when a calendar's budget begins anew, null where it rolls.
    `excluded_seconds` of the window were left out for maintenance (/api/v1/exclusions): in no count and no coverage.
    `culprit` is who spent while an alert fires, of the worst that do; else null.
    `burning_since` is the first bad minute of the stretch that burns faster than allowed up to now, null where none.
    `forecast` is null where nothing is left, nothing is known, or it is still to be made.
    """

    id: str
    service: str
    name: str
    group: dict[str, str]
    revision: int
    signal: str
    method: str
    unit: str
    objective: str
    window: str
    threshold_seconds: float | None
    good: float
    bad: float
    total: float
    good_bounds: tuple[float, float]
    coverage: float
    data_through: str | None
    error_budget_remaining: float | None
    error_budget_remaining_bounds: tuple[float, float] | None
    exhausted_at: str | None
    burn_rates: dict[str, float | None]
    alerts: list[AlertObject]
    simulated: bool
    state: str
    burning_since: str | None
    window_start: str
    window_end: str | None
    excluded_seconds: float
    culprit: CulpritObject | None
    forecast: ForecastObject | None


class ExclusionObject(msgspec.Struct, frozen=True):
    """A span that counts for no budget. `slo` is null for all SLOs; `undone`, while it holds."""

    number: int
    since: str
    until: str
    slo: str | None
    reason: str
    author: str
    made: str
    undone: str | None
    undone_by: str | None


class ExclusionList(msgspec.Struct, frozen=True):
    """All that was ever excluded, oldest first."""

    exclusions: list[ExclusionObject]


class SloList(msgspec.Struct, frozen=True):
    """One page of SLOs, worst first; `next` is the cursor of the following page."""

    slos: list[SloObject]
    next: str | None


class HistoryPoint(msgspec.Struct, frozen=True):
    """One step: what it held, and the budget of the SLO's whole window as it stood at the step's end."""

    start: str
    good: float
    bad: float
    total: float
    coverage: float
    burn_rate: float | None
    error_budget_remaining: float | None
    error_budget_remaining_bounds: tuple[float, float] | None


class History(msgspec.Struct, frozen=True):
    """What the last `window` held, oldest first."""

    id: str
    group: dict[str, str]
    window: str
    step_seconds: int
    simulated: bool
    points: list[HistoryPoint]


class EvidenceObject(msgspec.Struct, frozen=True):
    """Events of the same time on a spender's GPU, node or engine (`category`): a coincidence, not a cause.

    `lift` is the error rate of the five-minute slots with the event over that of those without; null where too few.
    `against_peers` is that rate over the rate of replicas without the event in the same slots; null without such.
    `explained` is the share of the spender's excess in those slots. `fits`: all three are strong enough to be named.
    `target` is the replica that an event of an engine is about.
    """

    kind: str
    name: str
    node: str
    gpu: str
    gpu_index: str
    first: str
    last: str
    events: int
    lift: float | None
    text: str
    category: str
    target: str | None
    against_peers: float | None
    explained: float | None
    fits: bool


class GpuObject(msgspec.Struct, frozen=True):
    """One GPU: its UUID, and what its node calls it; null where the page did not tell."""

    uuid: str
    index: str | None
    node: str | None


class SpenderObject(msgspec.Struct, frozen=True):
    """One spender. `key` is null where unknown; `shared` above 1: the figures of that many GPUs are the same events.

    `share` is of all that was bad, `traffic` of all events. `excess` is bad events beyond its own traffic at the error
    rate of the rest; null where there is no rest. `gpus` are UUIDs, those with evidence first; `gpu_names` are the same
    with index and node.
    """

    key: str | None
    bad: float
    total: float
    share: float | None
    traffic: float | None
    excess: float | None
    shared: int
    additive: bool
    replicas: list[str]
    nodes: list[str]
    gpus: list[str]
    gpu_names: list[GpuObject]
    evidence: list[EvidenceObject]


class VerdictObject(msgspec.Struct, frozen=True):
    """What goes with the burn: `kind` is hardware, engine, load, prompts, version, tenant or none; `text` says it.

    `replica` or `node` is who stands out, with its `excess`; null where nobody does. Figures are those of `evidence`.
    """

    kind: str
    text: str
    replica: str | None
    node: str | None
    excess: float | None
    lift: float | None
    against_peers: float | None
    explained: float | None
    evidence: EvidenceObject | None


class CulpritObject(msgspec.Struct, frozen=True):
    """Who spent most beyond their traffic over the last `window_seconds` of a burn; `spender` is null where nobody."""

    window_seconds: int
    spender: SpenderObject | None
    verdict: VerdictObject


class AttributionObject(msgspec.Struct, frozen=True):
    """Who spent the budget in the window, by excess. Spenders are kept by five minutes, to which `since` is rounded.

    The verdict is on replicas, whatever `by` is.
    """

    id: str
    group: dict[str, str]
    by: str
    window: str
    since: str
    until: str
    unit: str
    bad: float
    total: float
    simulated: bool
    spenders: list[SpenderObject]
    verdict: VerdictObject


class SourceObject(msgspec.Struct, frozen=True):
    """How one source does."""

    name: str
    up: bool
    since: str
    reason: str


class NoticeObject(msgspec.Struct, frozen=True):
    """Something about the counting that people should know, such as a clock that went back."""

    time: str
    text: str


class Health(msgspec.Struct, frozen=True):
    """Whether the service works: `status` is ok, starting or failing; `problem` says why it fails.

    `notices` are the latest since the service started, oldest first; `slo_files_problem` says why the SLO files as they
    are now are not followed, while those before stand. Neither makes it unhealthy.
    """

    status: str
    problem: str
    sources: list[SourceObject]
    notices: list[NoticeObject]
    slo_files_problem: str = ""


class ErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong and what to do."""

    status: int
    message: str
    near: list[str] = []


class ErrorObject(msgspec.Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


def rfc3339(time: float | None) -> str | None:
    """Whole seconds, UTC, with Z."""
    return None if time is None else datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(time: float) -> str:
    return rfc3339(time) or ""


def slo_object(status: SloStatus) -> SloObject:
    """The API's object of a status."""
    slo, counts, left = status.slo, status.counts, status.budget
    span = span_of(slo.window, status.until)
    return SloObject(
        id=slo.id,
        service=slo.service,
        name=slo.name,
        group=dict(status.group),
        revision=status.revision,
        signal=slo.signal,
        method=str(slo.method),
        unit=unit_of(slo),
        objective=str(slo.objective),
        window=slo.window.text,
        threshold_seconds=None if slo.threshold_seconds is None else float(slo.threshold_seconds),
        good=counts.good,
        bad=counts.bad,
        total=counts.total,
        good_bounds=(counts.good, counts.good_upper),
        coverage=_round(counts.coverage) or 0.0,
        data_through=rfc3339(status.data_through),
        error_budget_remaining=_round(left.remaining),
        error_budget_remaining_bounds=_pair(left.remaining_bounds),
        exhausted_at=rfc3339(left.exhausted_at),
        burn_rates={window: _round(rate) for window, rate in status.burn_rates.items()},
        alerts=[
            AlertObject(
                a.window.severity, a.window.long, a.window.short, str(a.window.factor), a.state, rfc3339(a.since)
            )
            for a in status.alerts
        ],
        simulated=status.simulated,
        state=status.state,
        burning_since=rfc3339(status.burning_since),
        window_start=_at(span.start),
        window_end=rfc3339(span.end),
        excluded_seconds=counts.excluded_seconds,
        culprit=None if status.culprit is None else culprit_object(status.culprit),
        forecast=None if status.forecast is None else forecast_object(status.forecast),
    )


def forecast_object(one: Forecast) -> ForecastObject:
    """The API's object of a forecast."""
    interval = None if one.interval is None else (rfc3339(one.interval[0]), rfc3339(one.interval[1]))
    return ForecastObject(_at(one.at), rfc3339(one.exhausted_at), interval, _round(one.probability), one.method)


def exclusion_object(one: Exclusion) -> ExclusionObject:
    """The API's object of an exclusion."""
    return ExclusionObject(
        one.number,
        _at(one.since),
        _at(one.until),
        one.slo_id,
        one.reason,
        one.author,
        _at(one.made),
        rfc3339(one.undone),
        one.undone_by,
    )


def history_object(status: SloStatus, window: str, points: list[Point]) -> History:
    """The API's object of a history."""
    ratio = float(status.slo.budget_ratio)

    def left(bad: float, total: float, at: float) -> float | None:
        seconds = span_of(status.slo.window, at).seconds
        return _round(budget_remaining(status.slo, bad, total, seconds)) if total > 0 else None

    def point(p: Point) -> HistoryPoint:
        end = p.start + p.seconds
        lower, upper = left(p.window.bad, p.window.total, end), left(p.window.bad_lower, p.window.total, end)
        return HistoryPoint(
            start=_at(p.start),
            good=p.step.good,
            bad=p.step.bad,
            total=p.step.total,
            coverage=_round(p.step.coverage) or 0.0,
            burn_rate=_round(p.step.bad / p.step.total / ratio) if p.step.total > 0 else None,
            error_budget_remaining=lower,
            error_budget_remaining_bounds=None if lower is None or upper is None else (lower, upper),
        )

    step = points[0].seconds if points else 0
    return History(status.slo.id, dict(status.group), window, step, status.simulated, [point(p) for p in points])


def attribution_object(status: SloStatus, window: str, who: Attribution) -> AttributionObject:
    """The API's object of an attribution."""
    return AttributionObject(
        id=status.slo.id,
        group=dict(status.group),
        by=who.by,
        window=window,
        since=_at(who.since),
        until=_at(who.until),
        unit=unit_of(status.slo),
        bad=who.bad,
        total=who.total,
        simulated=status.simulated,
        spenders=[spender_object(s) for s in who.spenders],
        verdict=verdict_object(who.verdict),
    )


def verdict_object(one: Verdict) -> VerdictObject:
    """The API's object of a verdict."""
    return VerdictObject(
        one.kind,
        one.text,
        one.replica or None,
        one.node or None,
        _round(one.excess),
        _round(one.lift),
        _round(one.against_peers),
        _round(one.explained),
        None if one.evidence is None else _evidence(one.evidence),
    )


def culprit_object(one: Culprit) -> CulpritObject:
    """The API's object of a culprit."""
    spender = None if one.spender is None else spender_object(one.spender)
    return CulpritObject(one.seconds, spender, verdict_object(one.verdict))


def spender_object(one: Spender) -> SpenderObject:
    """The API's object of a spender."""
    return SpenderObject(
        key=one.key or None,
        bad=one.bad,
        total=one.total,
        share=_round(one.share),
        traffic=_round(one.traffic),
        excess=_round(one.excess),
        shared=one.shared,
        additive=one.shared == 1,
        replicas=list(one.replicas),
        nodes=list(one.nodes),
        gpus=[gpu.uuid for gpu in one.gpus],
        gpu_names=[GpuObject(gpu.uuid, gpu.index or None, gpu.node or None) for gpu in one.gpus],
        evidence=[_evidence(e) for e in one.evidence],
    )


def _evidence(one: Evidence) -> EvidenceObject:
    return EvidenceObject(
        one.kind, one.name, one.node, one.gpu, one.gpu_index, _at(one.first), _at(one.last), one.events,
        _round(one.lift), one.text, one.category, one.target or None, _round(one.against_peers), _round(one.explained),
        one.fits,
    )  # fmt: skip


def _round(value: float | None) -> float | None:
    """Nine decimals: far below anything that is counted, and 0.19999999999999996 reads 0.2."""
    return None if value is None else round(value, 9) + 0.0


def _pair(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if bounds is None else (round(bounds[0], 9) + 0.0, round(bounds[1], 9) + 0.0)
