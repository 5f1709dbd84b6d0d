"""The embedded way from end to end: what holds, how long it has, who is told. `step()` by hand, or `run()` for ever.

Imports alerts.notify's modules and slo.service. Alerts are judged each time the service has new statuses and every few
seconds between; what is to be told is on disk before it is sent.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol

import aiohttp

from alerts.alertmanager import equal_labels
from alerts.notify.alertmanager import Alertmanager
from alerts.notify.hardware import Hardware
from alerts.notify.incidents import Incidents
from alerts.notify.model import Alert
from alerts.notify.outbox import Outbox
from alerts.notify.pagerduty import PagerDuty, body_of
from alerts.notify.slo_alerts import SloAlerts
from alerts.notify.tracker import Tracker
from alerts.settings import Timing
from slo.service import Service

log = logging.getLogger(__name__)

STEP_SECONDS = 1.0


class Target(Protocol):
    """Somebody who is told."""

    sent: dict[str, int]
    problem: str

    @property
    def name(self) -> str:
        """For people."""

    async def deliver(self, session: aiohttp.ClientSession) -> None:
        """Send what is due. Never raises for what the outside world does."""


class Notifier:
    """One service's alerts to its targets. `hardware` is None where no agent's page is read here.

    `pagerduty` shares its outbox. The service's clock is the one that counts.
    """

    def __init__(
        self,
        service: Service,
        slo_alerts: SloAlerts,
        hardware: Hardware | None,
        outbox: Outbox,
        *,
        pagerduty: PagerDuty | None = None,
        alertmanagers: Sequence[Alertmanager] = (),
    ) -> None:
        self._service = service
        self._slo_alerts = slo_alerts
        self._hardware = hardware
        self.outbox = outbox
        self.pagerduty = pagerduty
        self.alertmanagers = tuple(alertmanagers)
        self.alerts: tuple[Alert, ...] = ()
        """Pending and firing, as last judged."""
        self.problem = ""
        """Why the outbox could not be written, while it cannot."""
        self._clock: Callable[[], float] = service.clock
        self._slos = service.slos
        self._tracker = Tracker(outbox.firing())
        self._written = dict(outbox.firing())
        self._incidents = Incidents(
            equal_labels(list(service.slos.values())),
            outbox.incidents(),
            address_of=pagerduty.address_of if pagerduty else lambda _condition: "",
            timing=pagerduty.settings.timing if pagerduty else Timing(),
        )

    @property
    def targets(self) -> list[Target]:
        """Whom it tells."""
        return [*([self.pagerduty] if self.pagerduty else []), *self.alertmanagers]

    async def run(self) -> None:
        """Until cancelled. What is due is sent before it ends, if there is an answer at once."""
        async with aiohttp.ClientSession() as session:
            while True:
                await self.step(session)
                await asyncio.sleep(STEP_SECONDS)

    async def step(self, session: aiohttp.ClientSession) -> None:
        """Judge, note and tell, once."""
        if not self._service.ready:  # a ledger not yet read knows of no alert
            return
        if self._service.slos is not self._slos:
            self._slos = self._service.slos
            self._slo_alerts.follow(self._slos, self._service.since)
            self._incidents.follow(equal_labels(list(self._slos.values())))
        now = self._clock()
        conditions = self._slo_alerts.conditions(self._service.statuses(), now)
        if self._hardware is not None:
            conditions += self._hardware.conditions(now)
        self.alerts = self._tracker.update(conditions, now)
        await asyncio.to_thread(self._note, now)
        for manager in self.alertmanagers:
            manager.update(self.alerts)
        await asyncio.gather(*(target.deliver(session) for target in self.targets))

    def _note(self, now: float) -> None:
        """Incidents that begin and end, with the letters that tell it; nothing where nothing changed."""
        incidents, events = self._incidents.update(self.alerts, now) if self.pagerduty else ({}, [])
        firing = self._tracker.firing
        if not events and incidents == self._incidents.open and firing == self._written:
            return
        try:
            self.outbox.write(incidents, [(e.key, body_of(e), e.address) for e in events], firing, now)
        except sqlite3.Error as error:  # judged again with the next step
            if str(error) != self.problem:
                log.error("%s: %s: what is to be told cannot be noted, trying again", self.outbox.path, error)
            self.problem = str(error)
            return
        self.problem, self._written = "", firing
        self._incidents.accept(incidents)
