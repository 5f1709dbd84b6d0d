"""Embedded paging from the command line: options, who of several replicas tells, and the notifier with its targets.

Imports alerts and slo; shared by `slo serve` and `up`.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.registry import Collector

from alerts import settings as alert_settings
from alerts import settings_file
from alerts.notify.alertmanager import Alertmanager
from alerts.notify.hardware import Hardware, Watched
from alerts.notify.metrics import NotifierMetrics
from alerts.notify.notifier import Notifier
from alerts.notify.outbox import FILE, Outbox
from alerts.notify.pagerduty import PagerDuty
from alerts.notify.slo_alerts import SloAlerts
from exporter.model import InputError
from gpufleet.listen import http_url
from slo.ledger import Ledger
from slo.model import Slo
from slo.service import Service
from slo.sources.agents import AgentsSource
from slo.sources.base import Source

ALWAYS, ORDINAL_0 = "always", "ordinal-0"
_ORDINAL = re.compile(r".*-(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Paging:
    """What the command line says. Nobody is told where neither target is named."""

    alertmanagers: tuple[str, ...] = ()
    key_file: Path | None = None
    pagerduty_url: str | None = None
    notify: str = ALWAYS
    settings: alert_settings.Settings = field(default_factory=alert_settings.Settings)

    @property
    def wanted(self) -> bool:
        """Whether somebody is to be told."""
        return bool(self.alertmanagers or self.key_file)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("paging without Prometheus")
    group.add_argument(
        "--alertmanager",
        type=http_url,
        action="append",
        default=[],
        metavar="URL",
        help="an Alertmanager to tell of alerts; name each member of a cluster",
    )
    group.add_argument(
        "--pagerduty-key-file", type=Path, metavar="FILE", help="PagerDuty's routing key (Events v2), read each time"
    )
    group.add_argument(
        "--pagerduty-url", type=http_url, metavar="URL", help="the events' address (default: PagerDuty's own)"
    )
    group.add_argument(
        "--notify",
        choices=(ALWAYS, ORDINAL_0),
        default=ALWAYS,
        help="of several replicas let the one tell whose name ends in -0 ($POD_NAME, else the host's; default: always)",
    )
    group.add_argument(
        "--alert-settings", type=Path, metavar="FILE", help="severities, teams, cluster and links of alerts as YAML"
    )


def paging_of(args: argparse.Namespace) -> Paging:
    """What was said. Raises InputError where it cannot be followed."""
    settings = settings_file.load(args.alert_settings) if args.alert_settings else alert_settings.Settings()
    found = Paging(tuple(args.alertmanager), args.pagerduty_key_file, args.pagerduty_url, args.notify, settings)
    if found.key_file is not None:
        try:
            key = found.key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{found.key_file}: cannot be read ({error}): put PagerDuty's routing key there"
            ) from error
        if not key:
            raise InputError(f"{found.key_file}:1: empty: put PagerDuty's routing key there")
    return found


def tells(paging: Paging) -> bool:
    """Whether this replica is the one. Raises InputError where its name has no number."""
    if not paging.wanted or paging.notify == ALWAYS:
        return paging.wanted
    name = os.environ.get("POD_NAME") or socket.gethostname()
    match = _ORDINAL.fullmatch(name)
    if not match:
        raise InputError(f"--notify {ORDINAL_0}: {name!r} has no number at its end: set POD_NAME, or --notify {ALWAYS}")
    return int(match[1]) == 0


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells of alerts: `notifier` here, another replica where it is None but `wanted`, else nobody."""

    notifier: Notifier | None = None
    wanted: bool = False

    @property
    def collectors(self) -> list[Collector]:
        """What the service publishes of it."""
        return [NotifierMetrics(self.notifier)] if self.wanted else []

    @property
    def lines(self) -> list[str]:
        """The same for people."""
        if self.notifier is None:
            return ["alerts are told by replica 0, not by this one"] if self.wanted else []
        return [f"alerts are told to {target.name}" for target in self.notifier.targets]


@contextmanager
def service_of(
    slos: Sequence[Slo], source: Source, ledger: Ledger, paging: Paging, page_url: str, *, simulated: bool = False
) -> Iterator[tuple[Service, Teller]]:
    """A service, and who tells of its alerts. What is to be told lies beside the ledger."""
    if not tells(paging):
        yield Service(slos, source, ledger, simulated=simulated), Teller(wanted=paging.wanted)
        return
    settings = paging.settings
    links = settings.links_to(page=settings.links.page or page_url)  # one that people can open, if known
    hardware = None
    if isinstance(source, AgentsSource):  # of what a Prometheus scrapes, its own rules tell
        hardware = Hardware(links=links, settings=settings)
        source = Watched(source, hardware)
    service = Service(slos, source, ledger, simulated=simulated)
    with closing(Outbox(ledger.path.with_name(FILE))) as outbox:
        pagerduty = None
        if paging.key_file is not None:
            url = paging.pagerduty_url or settings.pagerduty_url
            pagerduty = PagerDuty(outbox, paging.key_file, url, settings, service.clock)
        notifier = Notifier(
            service,
            SloAlerts(service.slos, started=service.clock(), links=links, settings=settings, known=outbox.firing()),
            hardware,
            outbox,
            pagerduty=pagerduty,
            alertmanagers=[Alertmanager(url, links.page, settings, service.clock) for url in paging.alertmanagers],
        )
        yield service, Teller(notifier, wanted=True)
