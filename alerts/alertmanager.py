"""Alertmanager's configuration for the alerts of these SLOs: routes, grouping, inhibition, hours. For 0.25 and newer.

Imports slo and the rest of alerts; receivers are in alerts.alertmanager_receivers, the operator's form of all of it in
alerts.alertmanager_operator. By default a page goes to PagerDuty, a ticket to a PagerDuty service of its own, info to
nobody; a file of alert settings names other receivers, and those of teams.

Decision (accepted). Context: alerts that join an open group do not page again, and Alertmanager makes the dedup key
from the group's route and labels. Decision: group by whatever deserves its own incident: alert, cluster, SLO and the
labels SLOs are grouped by, or the place for alerts on hardware; never by `slo`, which is "ttft" for every service.
Consequences: one incident for a burn seen over several windows. Editing the routes gives open incidents new keys:
resolve them first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerts import alertmanager_receivers, health
from alerts.rules import HEADER, dump
from alerts.settings import WATCHDOG, OfficeHours, Settings
from exporter.metrics.llm import TARGET_LABEL
from slo import names
from slo.model import Slo

NOBODY = "nobody"
OFFICE_HOURS = "office-hours"
PLACE = (names.LABEL_CLUSTER, "node", "gpu", TARGET_LABEL)
"""What keeps incidents of hardware and engines apart."""
ON_A_NODE = "(Gpu[A-Z]|Llm).+"
"""Alerts on the GPUs and engines of a node; those on the agent itself begin with Gpufleet."""
_HAS_SLO = f'{names.LABEL_ID}=~".+"'
_NO_SLO = f'{names.LABEL_ID}=""'

Document = dict[str, object]


def render(slos: Sequence[Slo], settings: Settings | None = None) -> str:
    """The configuration file."""
    return HEADER + dump(document(slos, settings))


def document(slos: Sequence[Slo], settings: Settings | None = None) -> Document:
    """The same as plain data. Alerts that no SLO has made, yet with our severities, take the same ways."""
    to = settings or Settings()
    same = equal_labels(slos)
    ways = list(_ways(to))
    quiet = f"{names.LABEL_SEVERITY}=~{_quoted(to.severity('info') + '|none')}"
    watchdog: list[Document] = []
    if WATCHDOG in to.receivers:
        watchdog.append({"receiver": WATCHDOG, "matchers": ['alertname="Watchdog"'], "repeat_interval": "5m"})
    found: Document = {
        "global": {"pagerduty_url": to.pagerduty_url},
        "route": {
            "receiver": "ticket",
            "group_by": ["alertname", *same],
            "group_wait": to.timing.group_wait,
            "group_interval": to.timing.group_interval,
            "repeat_interval": to.timing.repeat_interval,
            "routes": [
                *watchdog,
                {"receiver": NOBODY, "matchers": [quiet]},
                {"receiver": "ticket", "matchers": [_NO_SLO], "group_by": ["alertname", *PLACE], "routes": ways},
                *ways,
            ],
        },
        "inhibit_rules": inhibit_rules(same, to),
        "receivers": [*alertmanager_receivers.receivers(to), {"name": NOBODY}],
    }
    if to.office_hours is not None:
        found["time_intervals"] = [{"name": OFFICE_HOURS, "time_intervals": [_hours(to.office_hours)]}]
    return found


def equal_labels(slos: Sequence[Slo]) -> list[str]:
    """What tells one budget from another: cluster, SLO and every label that SLOs are grouped by."""
    return [names.LABEL_CLUSTER, names.LABEL_ID, *sorted({label for slo in slos for label in slo.group_by})]


def inhibit_rules(same: Sequence[str], settings: Settings) -> list[Document]:
    """A page silences the tickets of its budget; a node that is gone silences what is said of its GPUs and engines.

    Information is silent where nothing else fires: whoever routes it to people has it told beside other alerts alone.
    """
    page, ticket, info = (
        f"{names.LABEL_SEVERITY}={_quoted(settings.severity(one))}" for one in ("page", "ticket", "info")
    )
    gone = f"alertname=~{_quoted('|'.join(health.NODE_DOWN))}"
    return [
        {"source_matchers": [page, _HAS_SLO], "target_matchers": [ticket, _HAS_SLO], "equal": list(same)},
        {
            "source_matchers": [gone],
            "target_matchers": [f"alertname=~{_quoted(ON_A_NODE)}", 'node=~".+"'],
            "equal": [names.LABEL_CLUSTER, "node"],
        },
        {
            "source_matchers": [f"alertname={_quoted(health.INFO_INHIBITOR)}"],
            "target_matchers": [info],
            "equal": [names.LABEL_CLUSTER, "node"],
        },
    ]


def _ways(settings: Settings) -> Iterator[Document]:
    """Teams first, then everybody; of each pages, then tickets."""
    page, ticket = (f"{names.LABEL_SEVERITY}={_quoted(settings.severity(one))}" for one in ("page", "ticket"))
    for name, team in settings.teams.items():
        mine = f"{settings.team_label}={_quoted(name)}"
        if team.page:
            yield {"receiver": team.page, "matchers": [mine, page]}
        if team.ticket:
            yield {"receiver": team.ticket, "matchers": [mine, ticket], **_active(settings)}
    yield {"receiver": "page", "matchers": [page]}
    if settings.office_hours is not None:  # the root has no hours: what is no page needs a way of its own
        yield {"receiver": "ticket", **_active(settings)}


def _active(settings: Settings) -> Document:
    return {"active_time_intervals": [OFFICE_HOURS]} if settings.office_hours is not None else {}


def _hours(hours: OfficeHours) -> Document:
    spans = [dict(zip(("start_time", "end_time"), span.split("-"), strict=True)) for span in hours.times]
    found: Document = {"times": spans}
    if hours.weekdays:
        found["weekdays"] = list(hours.weekdays)
    if hours.time_zone != "UTC":
        found["location"] = hours.time_zone
    return found


def _quoted(text: str) -> str:
    """As Alertmanager's matchers write text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
