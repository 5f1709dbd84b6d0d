"""Settings → probes: those of engines that are given, and the maker of those of engines that are found.

Imports exporter.settings and exporter.sources. Part of the wiring: exporter.agent and exporter.finding import it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exporter.settings import EngineSettings, Settings
from exporter.settings_probe import ProbeSettings
from exporter.sources.engine import EngineSource
from exporter.sources.engine_page import base_url
from exporter.sources.probe import ProbeSource
from exporter.sources.probing import Make, nothing


def given(settings: Settings, engine: EngineSettings, source: EngineSource, *, node: str) -> ProbeSource | None:
    """The probe of an engine of the settings, which `source` reads; None where it is not to be probed."""
    if engine.probe is None:
        return None
    return _probe(settings, engine.probe, source, node=node, ca_file=engine.ca_file)


def of_found(
    settings: Settings, wanted: Callable[[], bool], *, node: str, ca_file: str = "", server_name: str = ""
) -> Make:
    """What makes the probe of an engine that was found. An engine that is given has the probe it is given, or none.

    Nothing is probed unless `wanted`: one page on demand asks nobody for tokens.
    """
    probe = settings.discovery.probe
    if probe is None:
        return nothing
    known = {base_url(engine.url) for engine in settings.engines}

    def make(source: EngineSource) -> ProbeSource | None:
        if not wanted() or base_url(source.url) in known:
            return None
        return _probe(settings, probe, source, node=node, ca_file=ca_file, server_name=server_name, when_collected=True)

    return make


def _probe(
    settings: Settings,
    probe: ProbeSettings,
    source: EngineSource,
    *,
    node: str,
    ca_file: str,
    server_name: str = "",
    when_collected: bool = False,
) -> ProbeSource:
    ca_file = probe.ca_file or ca_file
    return ProbeSource(
        source.url,
        node=node,
        beside=source,
        interval_seconds=probe.interval_seconds,
        model=probe.model,
        path=probe.path,
        max_tokens=probe.max_tokens,
        timeout_seconds=probe.timeout_seconds,
        token_file=Path(probe.token_file) if probe.token_file else None,
        ca_file=Path(ca_file) if ca_file else None,
        server_name=server_name,
        objectives=settings.objectives,
        when_collected=when_collected,
    )
