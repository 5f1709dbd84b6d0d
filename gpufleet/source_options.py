"""Where counts come from, as options of commands: a Prometheus-compatible API, or agents, and how to ask them.

Imports gpufleet.http_config and slo.sources; shared by `slo serve` and `slo backtest`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from exporter.listen import shown
from gpufleet import http_config
from gpufleet.listen import http_url
from slo.model import Slo
from slo.sources.agents import AgentsSource
from slo.sources.dns import SCHEMES
from slo.sources.prometheus import PrometheusSource

PROMETHEUS_HELP = "a Prometheus-compatible API to ask (Prometheus, Thanos, Mimir, VictoriaMetrics)"


def configure_access(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to ask."""
    group = parser.add_argument_group("how to ask")
    group.add_argument(
        "--http-config",
        type=Path,
        metavar="FILE",
        help="TLS, login, token and headers, as promtool's --http.config.file takes them",
    )
    group.add_argument("--tenant", type=_tenant, metavar="ID", help="ask for this tenant's series (X-Scope-OrgID)")


def source_of(args: argparse.Namespace, slos: Sequence[Slo]) -> PrometheusSource | AgentsSource:
    """The source that --prometheus or --agent names. Raises InputError for what the files hold."""
    access = http_config.load(args.http_config, args.tenant)
    return (
        PrometheusSource(args.prometheus, slos, access) if args.prometheus else AgentsSource(args.agent, access=access)
    )


def agent_url(text: str) -> str:
    """Read the URL of an agent, or dns://name:port for all agents behind a name; for argparse."""
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        return http_url(text)
    try:
        http_url(f"http://{rest}")
        if urlsplit(text).port is None:
            raise argparse.ArgumentTypeError
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is no name of agents: write {scheme}://name:9400") from None
    return text.rstrip("/")


def _tenant(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no tenant: write its name, as team-a (several: team-a|team-b)")
    return text
