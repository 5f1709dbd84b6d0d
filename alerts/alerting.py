"""The alert rules of one SLO, exactly the conditions of slo.burn, with what a person needs to act on them.

Imports slo and alerts.counts. All of them read recorded sums and ratios, hence cost next to nothing each minute.

- SloErrorBudgetBurn (page) and SloErrorBudgetBurnSlow (ticket): one rule a window, so that it is seen which one fired.
- SloErrorBudgetExhausted (ticket): nothing certain is left of the budget.
- SloNoData (ticket): the SLO, or one of its groups, is no longer watched.
- SloUndecided (info): it burns only if what lies between two bucket edges was bad; notifies nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

from alerts.counts import OPTIMISTIC, PESSIMISTIC, Counts, Side
from alerts.links import Links
from alerts.promql import either
from alerts.recording import Rule, constant_labels, describe
from exporter.model import SIMULATED_LABEL
from slo import names
from slo.burn import evidence, evidence_of
from slo.model import Alerting, Matcher
from slo.windows import AlertWindow, alert_windows

LOOK_BACK = "10m"
"""Of series recorded every 5 m: one missed evaluation is borne."""
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
    expr, text = _burning(counts, counts.certain, window), _burn_text(counts, window)
    rule = _alert(counts, links, alert, window.severity, expr, said=said, text=text)
    rule["labels"] = {**_labels(rule), names.LABEL_WINDOW: window.long}
    return rule


def _burning(counts: Counts, side: Side, window: AlertWindow) -> str:
    """Both windows burn, on evidence. The value is the burn rate of the long window."""
    long, short = (Matcher(names.LABEL_WINDOW, "=", text) for text in (window.long, window.short))
    budget = counts.slo.budget_ratio
    return (
        f"{_recent(counts, side.ratio, long)} / {budget} > {window.factor}\n"
        f"and\n{_recent(counts, side.bad, long)} >= {evidence(counts.slo, window)}\n"
        f"and ignoring ({names.LABEL_WINDOW})\n{_recent(counts, side.ratio, short)} / {budget} > {window.factor}"
    )


def _exhausted(counts: Counts) -> str:
    """The value is how many budgets were spent."""
    whole = Matcher(names.LABEL_WINDOW, "=", counts.slo.window.text)
    spent, one_budget = counts.spent(counts.certain)
    return (
        f"{_recent(counts, spent, whole)} / {one_budget} >= 1\n"
        f"and\n{_recent(counts, counts.certain.bad, whole)} >= {evidence_of(counts.slo, 'ticket')}"
    )


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
    fresh = counts.raw_window is not None and window.value == counts.raw_window[0]
    return series if fresh else f"last_over_time({series}[{LOOK_BACK}])"


def _alert(
    counts: Counts, links: Links, alert: str, severity: str, expr: str, *, said: Alerting, text: str = ""
) -> Rule:
    slo = counts.slo
    own = {**constant_labels(slo), names.LABEL_SEVERITY: severity}
    simulated = f"{{{{ if $labels.{SIMULATED_LABEL} }}}}Simulated, no real hardware. {{{{ end }}}}"
    return {
        "alert": alert,
        "expr": expr,
        "labels": {**slo.labels, **({"owner": slo.owner} if slo.owner else {}), **said.labels, **own},
        "annotations": {
            "summary": f"{slo.id}: {_SUMMARIES[alert]}",
            "description": f"{simulated}{describe(slo)}{_group_text(counts)}: {text or _DESCRIPTIONS[alert]}",
            "runbook_url": links.runbook(alert),
            "dashboard_url": f"{links.board}?var-{names.LABEL_ID}={slo.id}",
            **slo.annotations,
        },
    }


_SUMMARIES = {
    names.ALERT_BURN_PAGE: "the error budget burns so fast that a person is needed now",
    names.ALERT_BURN_TICKET: "the error budget burns faster than it can bear",
    names.ALERT_EXHAUSTED: "the error budget is exhausted",
    names.ALERT_NO_DATA: "the objective is not being watched",
    names.ALERT_UNDECIDED: "bucket edges are too coarse to tell whether the error budget burns",
}
_DESCRIPTIONS = {
    names.ALERT_EXHAUSTED: "{{ $value | humanizePercentage }} of the error budget is spent.",
    names.ALERT_NO_DATA: "no series that it counts has been seen for " + NO_DATA_FOR + ".",
    names.ALERT_UNDECIDED: "burns {{ $value | humanize }} times the sustainable rate if everything between the two "
    "bucket edges around the threshold was bad, and does not if it was good.",
}


def _group_text(counts: Counts) -> str:
    return "".join(f", {{{{ $labels.{label} }}}}" for label in counts.slo.group_by)


def _burn_text(counts: Counts, window: AlertWindow) -> str:
    """How fast, over which windows, how much is left and for how long at this pace."""
    whole = counts.slo.window
    left = _query(counts, names.ERROR_BUDGET_REMAINING, whole.text)
    lasts = (
        f"({left} > 0) / ignoring ({names.LABEL_WINDOW}) "
        f"{_query(counts, names.BURN_RATE, window.long)} * {whole.seconds}"
    )
    labels = [f"$labels.{label}" for label in counts.by]
    return (
        f"burned {{{{ $value | humanize }}}} times the sustainable rate over the last {window.long}, and still does "
        f"over the last {window.short} (limit {window.factor})."
        + _asked(left, labels, _LEFT)
        + _asked(lasts, labels * 2, "At this pace it lasts {{ . | first | value | humanizeDuration }}.")
    )


_LEFT = (
    "{{ $left := . | first | value }}{{ if gt $left 0.0 }}Of the budget {{ $left | humanizePercentage }} is left."
    "{{ else }}The budget is exhausted.{{ end }}"
)


def _asked(query: str, labels: Iterable[str], text: str) -> str:
    """Text with the result of a query, or nothing where it has none."""
    return f" {{{{ with printf `{query}` {' '.join(labels)} | query }}}}{text}{{{{ end }}}}"


def _query(counts: Counts, name: str, window: str) -> str:
    """A recorded series of the alert's own group, its label values to be filled in by printf."""
    fixed = counts.recorded(name, Matcher(names.LABEL_WINDOW, "=", window)).removesuffix("}")
    return f"last_over_time({fixed},{','.join(f'{label}=%q' for label in counts.by)}}}[{LOOK_BACK}])"


def _labels(rule: Rule) -> dict[str, str]:
    labels = rule["labels"]
    assert isinstance(labels, dict)
    return labels
