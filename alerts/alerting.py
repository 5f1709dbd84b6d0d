"""The alert rules of one SLO, exactly the conditions of slo.burn, with what a person needs to act on them.

Imports slo and alerts.counts. All of them read recorded sums and ratios, hence cost next to nothing each minute.

- SloErrorBudgetBurn (page) and SloErrorBudgetBurnSlow (ticket): one rule a window, so that it is seen which one fired.
- SloErrorBudgetExhausted (ticket): nothing certain is left of the budget.
- SloNoData (ticket): the SLO, or one of its groups, is no longer watched.
- SloUndecided (info): it burns only if what lies between two bucket edges was bad; notifies nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.annotations import burn_facts, burn_text
from alerts.counts import OPTIMISTIC, PESSIMISTIC, Counts, Side
from alerts.links import Links
from alerts.promql import LOOK_BACK, as_text, either
from alerts.recording import Rule, constant_labels, describe
from exporter.model import SIMULATED_LABEL
from slo import names
from slo.burn import CALM, evidence, evidence_of, held_against_chance, stands_out_by
from slo.model import Alerting, Matcher, Method
from slo.windows import AlertWindow, alert_windows

NO_DATA_FOR = "5m"
REMEMBERED = "6h"
"""How long a group that has gone is missed."""

ALERTS = (
    names.ALERT_BURN_PAGE,
    names.ALERT_BURN_TICKET,
    names.ALERT_EXHAUSTED,
    names.ALERT_NO_DATA,
    names.ALERT_UNDECIDED,
)


def tile_alert_rules(counts: Counts, links: Links) -> list[Rule]:
    """The ticket for low traffic, beside the tiles: its windows hold nothing younger, so each minute is too often."""
    return [_burn_rule(counts, links, window) for window in alert_windows(counts.slo) if window.low_traffic]


def alert_rules(counts: Counts, links: Links) -> list[Rule]:
    """Every other alert of one SLO; those of a severity that the SLO disables are left out."""
    slo = counts.slo
    rules = [_burn_rule(counts, links, window) for window in alert_windows(slo) if not window.low_traffic]
    if not slo.ticket.disabled:
        rules.append(_alert(counts, links, names.ALERT_EXHAUSTED, "ticket", _exhausted(counts), said=slo.ticket))
        no_data = _alert(counts, links, names.ALERT_NO_DATA, "ticket", _no_data(counts), said=slo.ticket)
        no_data["for"] = NO_DATA_FOR
        rules.append(no_data)
    if OPTIMISTIC in counts.sides and alert_windows(slo):
        rules.append(_alert(counts, links, names.ALERT_UNDECIDED, "info", _undecided(counts), said=Alerting()))
    return rules


def _burn_rule(counts: Counts, links: Links, window: AlertWindow) -> Rule:
    page = window.severity == "page"
    alert, said = (names.ALERT_BURN_PAGE, counts.slo.page) if page else (names.ALERT_BURN_TICKET, counts.slo.ticket)
    expr, text, facts = _burning(counts, counts.certain, window), burn_text(counts, window), burn_facts(counts, window)
    rule = _alert(counts, links, alert, window.severity, expr, said=said, text=text, facts=facts)
    rule["labels"] = {**_labels(rule), names.LABEL_WINDOW: window.long}
    return rule


def _burning(counts: Counts, side: Side, window: AlertWindow) -> str:
    """Both windows burn, on evidence. The value is the burn rate of the long window."""
    slo, limit = counts.slo, f"/ {counts.slo.budget_ratio} > {window.factor}"
    long, short = (Matcher(names.LABEL_WINDOW, "=", text) for text in (window.long, window.short))
    burn, bad = (_recent(counts, name, long) for name in (side.ratio, side.bad))
    holds = [
        f"{burn} {limit}",
        f"and\n{burn} * {_recent(counts, names.WATCHED, long)} {limit}",
        f"and\n{bad} >= {evidence(slo, window)}",
    ]
    if held_against_chance(slo, window):
        calm = f"{_recent(counts, names.TOTAL_SUM, long)} * {slo.budget_ratio * CALM}"
        holds.append(f"and\nsqrt({bad}) - sqrt({calm}) >= {stands_out_by(slo):g}")
    holds.append(f"and ignoring ({names.LABEL_WINDOW})\n{_recent(counts, side.ratio, short)} {limit}")
    return "\n".join(holds)


def _exhausted(counts: Counts) -> str:
    """The value is how many budgets were spent, of requests those of what was watched."""
    slo, whole = counts.slo, Matcher(names.LABEL_WINDOW, "=", counts.slo.window.text)
    if slo.window.calendar is not None and slo.method is Method.TIMESLICES:  # only the service knows its length
        left = counts.recorded(names.ERROR_BUDGET_REMAINING)
        spent = f'label_replace(1 - {left}, "{names.LABEL_WINDOW}", "{slo.window}", "", "") >= 1'
    else:
        name, one_budget = counts.spent(counts.certain)
        spent = f"{_recent(counts, name, whole)} / {one_budget} >= 1"
        if slo.method is not Method.TIMESLICES:
            watched = names.COVERAGE if slo.window.calendar is None else names.WATCHED
            spent += f"\nand\n{_recent(counts, name, whole)} / {one_budget} * {_recent(counts, watched, whole)} >= 1"
    return f"{spent}\nand\n{_recent(counts, counts.certain.bad, whole)} >= {evidence_of(counts.slo, 'ticket')}"


def _no_data(counts: Counts) -> str:
    """Groups that were watched and are not, else the whole SLO where nothing is or ever was."""
    by = ", ".join(counts.by)
    seen = f"group by ({by}) (last_over_time({counts.recorded(names.TOTAL_TILE)}[{REMEMBERED}]))"
    return f"({seen}\nunless\ngroup by ({by}) ({counts.present()}))\nor on ()\nabsent({counts.present()})"


def _undecided(counts: Counts) -> str:
    def worst(side: Side) -> str:
        burning = either(_burning(counts, side, window) for window in alert_windows(counts.slo))
        return f"max without ({names.LABEL_WINDOW}) (\n{burning}\n)"

    return f"{worst(PESSIMISTIC)}\nunless\n{worst(OPTIMISTIC)}"


def _recent(counts: Counts, name: str, window: Matcher) -> str:
    """The last recorded value; series of raw windows are fresh each minute and need no look-back."""
    series = counts.recorded(name, window)
    fresh = not counts.late and counts.raw_window is not None and window.value == counts.raw_window[0]
    return series if fresh else f"last_over_time({series}[{LOOK_BACK}])"


def _alert(
    counts: Counts, links: Links, alert: str, severity: str, expr: str, *,
    said: Alerting, text: str = "", facts: Mapping[str, str] | None = None,
) -> Rule:  # fmt: skip
    slo = counts.slo
    authors = {**slo.labels, **({"owner": slo.owner} if slo.owner else {}), **said.labels}
    simulated = f"{{{{ if $labels.{SIMULATED_LABEL} }}}}Simulated, no real hardware. {{{{ end }}}}"
    return {
        "alert": alert,
        "expr": expr,
        "labels": {
            **{label: as_text(value) for label, value in authors.items()},
            **constant_labels(slo),
            names.LABEL_SEVERITY: severity,
        },
        "annotations": {
            "summary": f"{slo.id}: {SUMMARIES[alert]}",
            "description": f"{simulated}{describe(slo)}{_group_text(counts)}: {text or DESCRIPTIONS[alert]}",
            "runbook_url": links.runbook(alert),
            "dashboard_url": links.board_of(slo),
            "page_url": links.page_of(slo, {label: f"{{{{ urlquery $labels.{label} }}}}" for label in slo.group_by}),
            **(facts or {}),
            **slo.annotations,
        },
    }


SUMMARIES = {
    names.ALERT_BURN_PAGE: "the error budget burns so fast that a person is needed now",
    names.ALERT_BURN_TICKET: "the error budget burns faster than it can bear",
    names.ALERT_EXHAUSTED: "the error budget is exhausted",
    names.ALERT_NO_DATA: "the objective is not being watched",
    names.ALERT_UNDECIDED: "bucket edges are too coarse to tell whether the error budget burns",
}
DESCRIPTIONS = {
    names.ALERT_EXHAUSTED: "{{ $value | humanizePercentage }} of the error budget is spent.",
    names.ALERT_NO_DATA: "no series that it counts has been seen for " + NO_DATA_FOR + ".",
    names.ALERT_UNDECIDED: "burns {{ $value | humanize }} times the sustainable rate if everything between the two "
    "bucket edges around the threshold was bad, and does not if it was good.",
}


def _group_text(counts: Counts) -> str:
    return "".join(f", {{{{ $labels.{label} }}}}" for label in counts.slo.group_by)


def _labels(rule: Rule) -> dict[str, str]:
    labels = rule["labels"]
    assert isinstance(labels, dict)
    return labels
