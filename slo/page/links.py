"""Addresses of the page's own views, and of runbooks. Imports slo.status and slo.names."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from slo import names
from slo.model import Group, Slo
from slo.status import SloStatus

_ALERTS = {
    "paging": names.ALERT_BURN_PAGE,
    "ticket": names.ALERT_BURN_TICKET,
    "exhausted": names.ALERT_EXHAUSTED,
    "undecided": names.ALERT_UNDECIDED,
    "nodata": names.ALERT_NO_DATA,
}


def slo_url(slo: Slo, group: Group, **more: str) -> str:
    """The page of one SLO, or one group of it."""
    query = urlencode({**{f"group.{label}": value for label, value in group}, **more})
    return f"/slo/{quote(slo.id, safe='')}" + (f"?{query}" if query else "")


def hardware_url(kind: str, key: str, window: str = "") -> str:
    """The page of one GPU (by UUID) or node (by name)."""
    return f"/{kind}/{quote(key, safe='')}" + (f"?{urlencode({'window': window})}" if window else "")


def runbook_url(status: SloStatus, runbooks: str) -> str:
    """The runbook for the state that an SLO is in: its author's own, else ours below `runbooks`. Empty where none."""
    own = status.slo.annotations.get("runbook_url", "")
    if urlsplit(own).scheme in ("http", "https"):  # nothing else that a file says becomes a link
        return own
    alert = _ALERTS.get(status.state, "")
    return f"{runbooks}/{alert}.md" if runbooks and alert else ""
