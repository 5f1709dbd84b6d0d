"""Tells on the console when an alert of the service begins or ends to fire, and who spent. Imports slo.service."""

from __future__ import annotations

import asyncio

from gpufleet.console import Console
from slo.model import Group
from slo.service import Service
from slo.status import AlertStatus, SloStatus

_LOOK_SECONDS = 1.0
_Key = tuple[str, Group, str, str]


async def tell(service: Service, console: Console) -> None:
    """Until cancelled: one line for each alert that changes its state."""
    firing: dict[_Key, SloStatus] = {}
    seen = 0
    while True:
        if service.number != seen:
            seen = service.number
            now = {_key(status, one): status for status in service.statuses() for one in status.alerts if _fires(one)}
            for key in now.keys() - firing.keys():
                console.event(began(now[key], key[2], key[3]), good=False)
            for key in firing.keys() - now.keys():
                console.event(f"{key[2]} over: {key[0]} {_group(key[1])}".rstrip(), good=True)
            firing = now
        await asyncio.sleep(_LOOK_SECONDS)


def began(status: SloStatus, severity: str, long: str) -> str:
    """ "page: chat-ttft burns its budget 21 times too fast over 1h; most of it spent by …" """
    alert = next(a for a in status.alerts if (a.window.severity, a.window.long) == (severity, long))
    burn = f"{alert.long_burn:.1f} times too fast over {long}" if alert.long_burn is not None else "too fast"
    left = "" if status.budget.remaining is None else f", {status.budget.remaining:.0%} left"
    text = f"{severity}: {status.slo.id} {_group(status.group)}".rstrip() + f" burns its budget {burn}{left}"
    return f"{text}. {status.culprit.verdict.text}" if status.culprit else text


def _fires(alert: AlertStatus) -> bool:
    return alert.state == "firing"


def _key(status: SloStatus, alert: AlertStatus) -> _Key:
    return (status.slo.id, status.group, alert.window.severity, alert.window.long)


def _group(group: Group) -> str:
    return ", ".join(f"{name}={value}" for name, value in group)
