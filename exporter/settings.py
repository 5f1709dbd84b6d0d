"""The agent's settings: a YAML file, read with the line of everything that is wrong in it.

Imports exporter.model, exporter.yaml_lines, exporter.settings_{discovery,otlp,probe,traces}, the engines' mappings
and the simulation's scenario. Whatever the file tells to be wrong is an InputError `file:line: what, what to do`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from exporter import (
    choosing,
    settings_attribution,
    settings_discovery,
    settings_environment,
    settings_gpu,
    settings_otlp,
    settings_probe,
    settings_traces,
    yaml_lines,
)
from exporter.choosing import MetricsSettings
from exporter.engines import ENGINES, mapping
from exporter.engines.mapping import EngineMapping, FamilyMapping
from exporter.model import InputError
from exporter.naming import ProfileName
from exporter.objectives import Objective
from exporter.settings_attribution import DcgmSettings, JobsSettings
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings, Pods, PodsSettings
from exporter.settings_otlp import OtlpSettings
from exporter.settings_probe import ProbeSettings
from exporter.settings_traces import TracesSettings
from exporter.simulation.world import Scenario
from exporter.yaml_lines import line_of

GpuMode = Literal["auto", "nvml", "simulated", "none"]
"""auto and nvml read the driver where there is one, and say so where there is none; none reads no GPU at all."""

DEFAULT_LISTEN = "127.0.0.1:9400"
KNOWN_ENGINES = tuple(engine.kind for engine in ENGINES)
_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60)}
_DURATIONS = frozenset({"interval", "timeout", "threshold", "ttft", "tpot", "per_1k_prompt_tokens"})
"""Keys whose values are durations, wherever they stand."""
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")


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
    interval_seconds: float = msgspec.field(default=5.0, name="interval")
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
    simulation: dict[str, str | int | float | bool] = {}


_KINDS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    (r"\.engines\[\d+\]", EngineSettings),
    (r"\.engines\[\d+\]\.probe", ProbeSettings),
    (r"\.objectives\[\d+\]", Objective),
    (r"\.mappings\[\d+\]", EngineMapping),
    (r"\.mappings\[\d+\]\.families\[\d+\]", FamilyMapping),
    (r"\.metrics", MetricsSettings),
    (r"\.traces", TracesSettings),
    (r"\.otlp", OtlpSettings),
    (r"\.pods", PodsSettings),
    (r"\.jobs", JobsSettings),
    (r"\.dcgm", DcgmSettings),
    (r"\.discovery", DiscoverySettings),
    (r"\.discovery\.kubernetes", KubernetesSettings),
    (r"\.discovery\.probe", ProbeSettings),
)
"""Where which mapping stands."""


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the file at `path`, if any, under those of the environment. Raises InputError."""
    settings, root = Settings(), None
    if path is not None:
        data, root = yaml_lines.read(path, "see --config; write `key: value` lines, as in `gpu: auto`")
    if path is not None and root is not None:
        try:
            settings = msgspec.convert(_timed(data, path, root), Settings)
        except msgspec.ValidationError as error:
            hint = "give it as the README's table of settings says"
            raise InputError(yaml_lines.told(path, root, str(error), _kind, hint)) from error
    settings, origins = settings_environment.overlay(settings, environment or {}, _seconds, _DURATIONS)

    def where(steps: str) -> str:
        variable = next((name for place, name in origins.items() if place.startswith(steps)), None)
        if variable is not None or path is None or root is None:
            return variable or "settings"
        return f"{path}:{line_of(root, steps)}"

    _check(settings, where)
    return settings


def _kind(steps: str) -> type[msgspec.Struct]:
    return next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, steps)), Settings)


def _check(settings: Settings, where_is: Callable[[str], str]) -> None:
    """What the types cannot say."""
    for steps, problem in problems(settings):
        raise InputError(f"{where_is(steps)}: {problem}")
    for steps, problem in mapping.problems(settings.mappings, KNOWN_ENGINES):
        raise InputError(f"{where_is(steps)}: {problem}")
    kinds = get_type_hints(Scenario)
    for key, value in settings.simulation.items():
        where = where_is(f".simulation.{key}")
        if key not in kinds:
            raise InputError(f"{where}: unknown key `{key}` in simulation; known keys: {', '.join(kinds)}")
        try:
            msgspec.convert(value, kinds[key])
        except msgspec.ValidationError as error:
            raise InputError(f"{where}: simulation.{key}: {error}; give one") from error
    seen: set[str] = set()
    for place, engine in enumerate(settings.engines):
        where = where_is(f".engines[{place}].url")
        problem = url_problem(engine.url)
        if problem:
            raise InputError(f"{where}: {problem}")
        if engine.url.rstrip("/") in seen:
            raise InputError(f"{where}: {engine.url} is listed twice; keep one")
        seen.add(engine.url.rstrip("/"))


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
    for place, engine in enumerate(settings.engines):
        if engine.ca_file and not engine.url.startswith("https:"):
            yield f".engines[{place}].ca_file", "ca_file is of no use without TLS; write the url with https"


def url_problem(url: str) -> str:
    """What is wrong with an engine's URL; empty when nothing is."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good else f"`{url}` is not the URL of an engine; write it as in http://127.0.0.1:8000"


def _timed(data: object, path: Path, root: yaml.Node, steps: str = "") -> object:
    """The data with its durations in seconds."""
    if isinstance(data, list):
        return [_timed(value, path, root, f"{steps}[{place}]") for place, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    timed: dict[object, object] = {}
    for key, value in data.items():
        if key in _DURATIONS:
            timed[key] = _seconds(key, value, f"{path}:{line_of(root, f'{steps}.{key}')}")
        else:
            timed[key] = _timed(value, path, root, f"{steps}.{key}")
    return timed


def _seconds(key: str, value: object, where: str) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InputError(f"{where}: `{key}: {value}` is not a duration; write a number and ms, s or m, as in 5s")
    return float(Decimal(match[1]) * _UNITS[match[2]])
