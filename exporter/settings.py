"""The agent's settings: a YAML file, read with the line of everything that is wrong in it.

Imports exporter.model, exporter.settings_file, exporter.settings_{discovery,otlp,probe,traces}, the engines' mappings
and the simulation's scenario. All that is wrong is one InputError, a line each: `file:line: what, what to do`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec

from exporter import (
    choosing,
    settings_attribution,
    settings_discovery,
    settings_environment,
    settings_file,
    settings_gpu,
    settings_otlp,
    settings_probe,
    settings_traces,
)
from exporter.choosing import MetricsSettings
from exporter.decode import Seconds, suggest
from exporter.engines import ENGINES, mapping
from exporter.engines.mapping import EngineMapping
from exporter.listen import shown
from exporter.model import InputError
from exporter.naming import ProfileName
from exporter.objectives import Objective
from exporter.settings_attribution import DcgmSettings, JobsSettings
from exporter.settings_discovery import DiscoverySettings, Pods
from exporter.settings_otlp import OtlpSettings
from exporter.settings_probe import ProbeSettings
from exporter.settings_traces import TracesSettings
from exporter.simulation.world import Scenario

GpuMode = Literal["auto", "nvml", "simulated", "none"]
"""auto and nvml read the driver where there is one, and say so where there is none; none reads no GPU at all."""

DEFAULT_LISTEN = "127.0.0.1:9400"
_HINT = "see --config; write `key: value` lines, as in `gpu: auto`"
KNOWN_ENGINES = tuple(engine.kind for engine in ENGINES)


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One inference engine: its base URL, the GPUs it runs on, by UUID or index, where known, and its probe if any.

    `token_file` and `ca_file` are for its metrics page; empty means none, and the CAs of this machine.
    """

    url: str
    gpus: tuple[str | int, ...] = ()
    token_file: str = ""
    ca_file: str = ""
    probe: ProbeSettings | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an agent does. `node` empty means the NODE_NAME variable, else the host's name.

    `gpus_expected` None means those on the PCI bus, `state` empty the usual folder (exporter.sources.gpu_state).
    `mappings` describe servers that have no reader of their own, see exporter.engines.mapping. `simulation` has fields
    of exporter.simulation.world.Scenario; its node is this one unless told otherwise.
    """

    node: str = ""
    listen: str = DEFAULT_LISTEN
    web_config: str = ""
    interval_seconds: Seconds = msgspec.field(default=5.0, name="interval")
    gpu: GpuMode = "auto"
    gpus_expected: int | None = None
    kernel_log: bool = False
    state: str = ""
    engines: tuple[EngineSettings, ...] = ()
    objectives: tuple[Objective, ...] = ()
    mappings: tuple[EngineMapping, ...] = ()
    traces: TracesSettings | None = None
    otlp: OtlpSettings | None = None
    labels: dict[str, str] = {}
    pods: Pods = "auto"
    jobs: JobsSettings | None = None
    dcgm: DcgmSettings | None = None
    discovery: DiscoverySettings = DiscoverySettings()
    profile: ProfileName = "legacy"
    counters: str = ""
    metrics: MetricsSettings = MetricsSettings()
    simulation: dict[str, object] = {}


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the file at `path`, if any, under those of the environment. Raises InputError."""
    environment = environment or {}
    if path is None:
        settings, origins = settings_environment.overlay(Settings(), environment)
        faults = [f"{place}: {problem}" for place, problem in _told(settings, origins)]
        if faults:
            raise InputError("\n".join(faults))
        return settings
    file = settings_file.load(
        path, Settings, _HINT, lambda file: _told(*settings_environment.overlay(file.settings, environment))
    )
    return settings_environment.overlay(file.settings, environment)[0]


def _told(settings: Settings, origins: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Its problems; where is the variable that a value came from, where it came from one."""
    for steps, problem in problems(settings):
        yield next((name for place, name in origins.items() if place.startswith(steps)), steps), problem


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong beyond the types: where, as `.objectives[0].id`, and what, with what to do."""
    yield from settings_gpu.problems(
        settings.listen,
        settings.interval_seconds,
        settings.state,
        settings.gpus_expected,
        simulated_log=settings.kernel_log and settings.gpu == "simulated",
    )
    yield from settings_probe.problems(
        [engine.probe for engine in settings.engines], settings.discovery.probe, settings.objectives
    )
    yield from choosing.problems(settings.metrics)
    yield from settings_traces.problems(settings.traces, settings.listen)
    yield from settings_otlp.problems(settings.otlp)
    yield from settings_discovery.problems(settings.pods, settings.discovery)
    yield from settings_attribution.problems(settings.labels, settings.pods, settings.dcgm, settings.jobs, settings.gpu)
    yield from mapping.problems(settings.mappings, KNOWN_ENGINES)
    yield from _of_engines(settings.engines)
    yield from _of_simulation(settings.simulation)


def _of_engines(engines: Sequence[EngineSettings]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for place, engine in enumerate(engines):
        problem = url_problem(engine.url)
        if not problem and engine.url.rstrip("/") in seen:
            problem = f"{engine.url} is listed twice; keep one"
        if problem:
            yield f".engines[{place}].url", problem
        elif engine.ca_file and not engine.url.startswith("https:"):
            yield f".engines[{place}].ca_file", "ca_file is of no use without TLS; write the url with https"
        seen.add(engine.url.rstrip("/"))


def _of_simulation(simulation: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    kinds = get_type_hints(Scenario)
    for key, value in simulation.items():
        if key not in kinds:
            yield f".simulation.{key}", f"unknown key {key!r} in simulation: {suggest(key, kinds)}"
            continue
        try:
            msgspec.convert(value, kinds[key])
        except msgspec.ValidationError as error:
            yield f".simulation.{key}", f"simulation.{key}: {error}; give one"


def url_problem(url: str) -> str:
    """What is wrong with an engine's URL; empty when nothing is."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good else f"`{shown(url)}` is not the URL of an engine; write it as in http://127.0.0.1:8000"
