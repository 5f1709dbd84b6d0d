"""The alerts of SLOs as the service's statuses have them: the conditions of alerts.alerting, without a Prometheus.

Imports slo and alerts. Labels and annotations are those of the rules, so that Alertmanager routes, groups and inhibits
them alike. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from alerts.alerting import DESCRIPTIONS, NO_DATA_FOR, REMEMBERED, SUMMARIES
from alerts.links import Links
from alerts.notify.culprit import data_of
from alerts.notify.model import Condition, Key
from alerts.recording import constant_labels, describe
from alerts.settings import Settings
from exporter.model import SIMULATED_LABEL
from slo import names
from slo.burn import exhausted
from slo.model import Alerting, Group, Slo
from slo.objects import rfc3339
from slo.periods import span_of
from slo.status import AlertStatus, SloStatus
from slo.windows import parse_threshold

NO_DATA_SECONDS = float(parse_threshold(NO_DATA_FOR))
REMEMBERED_SECONDS = float(parse_threshold(REMEMBERED))
SETTLING_SECONDS = 180.0
"""Counts of the last minutes are still coming in: until then nothing is missing."""


class SloAlerts:
    """Evaluates statuses. `started` is when the service did: what was not counted before then is no news.

    It is where it was told already: `known` are the alerts that fired before a restart.
    """

    def __init__(
        self, slos: Mapping[str, Slo], *, started: float, links: Links, settings: Settings, known: Iterable[Key] = ()
    ) -> None:
        self._slos = slos
        self._since: Mapping[str, float] = dict.fromkeys(slos, started)
        self._known = frozenset(known)
        self._links = links
        self._settings = settings

    def follow(self, slos: Mapping[str, Slo], since: Mapping[str, float]) -> None:
        """Go on with these SLOs; `since` is when each began to be counted as it is."""
        self._slos, self._since = slos, since

    def conditions(self, statuses: Sequence[SloStatus], now: float) -> list[Condition]:
        """What holds."""
        of: dict[str, list[SloStatus]] = {slo_id: [] for slo_id in self._slos}
        for status in statuses:
            of[status.slo.id].append(status)
        found: list[Condition] = []
        for slo_id, own in of.items():
            for status in own:
                found += self._of_status(status)
            if not self._slos[slo_id].ticket.disabled:
                found += self._no_data(self._slos[slo_id], own, now)
        return found

    def _of_status(self, status: SloStatus) -> Iterator[Condition]:
        slo = status.slo
        for alert in status.alerts:
            if alert.state == "firing":
                page = alert.window.severity == "page"
                name, said = (names.ALERT_BURN_PAGE, slo.page) if page else (names.ALERT_BURN_TICKET, slo.ticket)
                since = status.until if alert.since is None else alert.since
                window = {names.LABEL_WINDOW: alert.window.long}
                yield self._condition(
                    status, name, severity=alert.window.severity, since=since, said=said,
                    text=_burn_text(status, alert), labels=window, burn_rate=alert.long_burn, ends=_ends(status, alert),
                )  # fmt: skip
        bounds = status.budget.remaining_bounds
        spent = exhausted(slo, status.counts, span_of(slo.window, status.until).seconds)
        if bounds is not None and spent and not slo.ticket.disabled:
            text = f"{1 - bounds[1]:.4g} times the error budget is spent."
            window = {names.LABEL_WINDOW: slo.window.text}
            since = status.budget.exhausted_at or status.until
            yield self._condition(
                status, names.ALERT_EXHAUSTED, severity="ticket", since=since, said=slo.ticket, text=text, labels=window
            )
        states = {alert.state for alert in status.alerts}
        if "undecided" in states and "firing" not in states:
            text = "burns too fast if everything between the two bucket edges around the threshold was bad, and does "
            text += "not if it was good."
            yield self._condition(
                status, names.ALERT_UNDECIDED, severity="info", since=status.until, said=Alerting(), text=text
            )

    def _no_data(self, slo: Slo, statuses: Sequence[SloStatus], now: float) -> Iterator[Condition]:
        """Groups that were watched and are not; the whole SLO where none has been for long, or ever."""
        began = self._since[slo.id]
        known = [(status.group, status.watched_through) for status in statuses if status.watched_through is not None]
        remembered = [(group, through) for group, through in known if now - through < REMEMBERED_SECONDS]
        if not slo.group_by or not remembered:
            remembered = [((), max((through for _, through in known), default=began))]
        for group, through in remembered:
            since = max(through, began)
            found = self._made(
                slo, group, names.ALERT_NO_DATA, severity="ticket", since=since, said=slo.ticket,
                text=DESCRIPTIONS[names.ALERT_NO_DATA],
                simulated=any(status.simulated for status in statuses), for_seconds=NO_DATA_SECONDS,
            )  # fmt: skip
            if now - since >= SETTLING_SECONDS or (found.key in self._known and now - through >= SETTLING_SECONDS):
                yield found

    def _condition(
        self, status: SloStatus, name: str, *,
        severity: str, since: float, said: Alerting, text: str,
        labels: Mapping[str, str] | None = None, burn_rate: float | None = None, ends: float | None = None,
    ) -> Condition:  # fmt: skip
        left = status.budget.remaining
        told = {
            "burn_rate": "" if burn_rate is None else f"{burn_rate:.4g}",
            "error_budget_remaining": "" if left is None else f"{left:.1%}",
            "exhausted_at": rfc3339(ends or status.budget.exhausted_at) or "",
        }
        culprit = status.culprit
        if culprit is not None:
            told["culprit"] = culprit.verdict.text
        return self._made(
            status.slo, status.group, name, severity=severity, since=since, said=said, text=text, labels=labels,
            told={key: value for key, value in told.items() if value},
            simulated=status.simulated, culprit=data_of(culprit) if culprit is not None else {},
        )  # fmt: skip

    def _made(
        self, slo: Slo, group: Group, name: str, *,
        severity: str, since: float, said: Alerting, text: str, simulated: bool,
        labels: Mapping[str, str] | None = None, told: Mapping[str, str] | None = None,
        for_seconds: float = 0, culprit: Mapping[str, object] | None = None,
    ) -> Condition:  # fmt: skip
        settings, links = self._settings, self._links
        where = "".join(f", {value}" for _, value in group)
        place = {names.LABEL_CLUSTER: settings.cluster} if settings.cluster else {}
        if simulated:
            place[SIMULATED_LABEL] = "true"
        return Condition(
            severity,
            {
                **settings.labels, **slo.labels, **({"owner": slo.owner} if slo.owner else {}), **said.labels,
                **dict(group), **place, **(labels or {}), **constant_labels(slo),
                names.LABEL_SEVERITY: settings.severity(severity), "alertname": name,
            },
            {
                "summary": f"{slo.id}: {SUMMARIES[name]}",
                "description": f"{'Simulated, no real hardware. ' if simulated else ''}{describe(slo)}{where}: {text}",
                "runbook_url": links.runbook(name),
                "dashboard_url": links.board_of(slo),
                "page_url": links.page_of(slo, {label: quote(value, safe="") for label, value in group}),
                **(told or {}),
                **slo.annotations,
            },
            since,
            for_seconds,
            culprit=culprit or {},
        )  # fmt: skip


def _burn_text(status: SloStatus, alert: AlertStatus) -> str:
    """How fast, over which windows, how much is left and for how long at this pace."""
    window, left = alert.window, status.budget.remaining
    text = (
        f"burned {alert.long_burn:.4g} times the sustainable rate over the last {window.long}, and still does "
        f"over the last {window.short} (limit {window.factor})."
    )
    if left is None:
        return text
    if left <= 0:
        return f"{text} The budget is exhausted."
    ends = _ends(status, alert)
    lasts = "" if ends is None else f" At this pace it lasts {_lasting(ends - status.until)}."
    return f"{text} Of the budget {left:.1%} is left.{lasts}"


def _ends(status: SloStatus, alert: AlertStatus) -> float | None:
    """When the budget ends at the pace of the alert's long window; None where it has ended, or nothing is known."""
    left, pace = status.budget.remaining, status.burn_rates.get(alert.window.long)
    if left is None or left <= 0 or not pace:
        return None
    return status.until + left / pace * status.slo.window.seconds


def _lasting(seconds: float) -> str:
    days, minutes = divmod(round(seconds / 60), 24 * 60)
    hours, minutes = divmod(minutes, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m"
