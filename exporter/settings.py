"""The agent's settings: a YAML file, read with the line of everything that is wrong in it.

Imports exporter.model, exporter.settings_{discovery,otlp,probe,traces}, yaml_limits, the engines' mappings and the
simulation's scenario. Whatever the file tells to be wrong is an InputError `file:line: what, what to do`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from exporter import settings_discovery, settings_otlp, settings_probe, settings_traces, yaml_limits
from exporter.engines import ENGINES, mapping
from exporter.engines.mapping import EngineMapping, FamilyMapping
from exporter.model import InputError
from exporter.objectives import Objective
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings, Pods, PodsSettings
from exporter.settings_otlp import OtlpSettings
from exporter.settings_probe import ProbeSettings
from exporter.settings_traces import TracesSettings
from exporter.simulation.world import Scenario

GpuMode = Literal["auto", "nvml", "simulated", "none"]
"""auto and nvml read the driver where there is one, and say so where there is none; none reads no GPU at all."""

DEFAULT_LISTEN = "127.0.0.1:9400"
SHORTEST_INTERVAL_SECONDS = 0.5
KNOWN_ENGINES = tuple(engine.kind for engine in ENGINES)
_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60)}
_DURATIONS = frozenset({"interval", "timeout", "threshold", "ttft", "tpot", "per_1k_prompt_tokens"})
"""Keys whose values are durations, wherever they stand."""
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")
_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


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

    `mappings` describe servers that have no reader of their own, see exporter.engines.mapping. `simulation` has fields
    of exporter.simulation.world.Scenario; its node is this one unless told otherwise.
    """

    node: str = ""
    listen: str = DEFAULT_LISTEN
    interval_seconds: float = msgspec.field(default=5.0, name="interval")
    gpu: GpuMode = "auto"
    engines: tuple[EngineSettings, ...] = ()
    objectives: tuple[Objective, ...] = ()
    mappings: tuple[EngineMapping, ...] = ()
    traces: TracesSettings | None = None
    otlp: OtlpSettings | None = None
    pods: Pods = "auto"
    discovery: DiscoverySettings = DiscoverySettings()
    simulation: dict[str, str | int | float | bool] = {}


_KINDS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    (r"\.engines\[\d+\]", EngineSettings),
    (r"\.engines\[\d+\]\.probe", ProbeSettings),
    (r"\.objectives\[\d+\]", Objective),
    (r"\.mappings\[\d+\]", EngineMapping),
    (r"\.mappings\[\d+\]\.families\[\d+\]", FamilyMapping),
    (r"\.traces", TracesSettings),
    (r"\.otlp", OtlpSettings),
    (r"\.pods", PodsSettings),
    (r"\.discovery", DiscoverySettings),
    (r"\.discovery\.kubernetes", KubernetesSettings),
)
"""Where which mapping stands."""


def load(path: Path) -> Settings:
    """The settings in the file at `path`. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8")
        yaml_limits.check(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; see --config") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; write the settings as YAML in UTF-8") from error
    except yaml_limits.TooLargeError as error:
        raise InputError(f"{path}:{error.line}: {error.text}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: is not YAML: {error.problem}; mend the syntax there") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}:1: is not YAML: {error}; mend the syntax") from error
    if root is None:
        return Settings()
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}:1: is not a mapping; write `key: value` lines, as in `gpu: auto`")
    for node in _repeated(root):
        raise InputError(f"{path}:{_line(node)}: `{node.value}` is given twice; keep one")
    try:
        settings = msgspec.convert(_timed(data, path, root), Settings)
    except msgspec.ValidationError as error:
        raise InputError(_told(path, root, str(error))) from error
    _check(settings, path, root)
    return settings


def _check(settings: Settings, path: Path, root: yaml.Node) -> None:
    """What the types cannot say."""
    if settings.interval_seconds < SHORTEST_INTERVAL_SECONDS:
        where = f"{path}:{_line(_find(root, '.interval'))}"
        raise InputError(f"{where}: `interval` is too short; write {SHORTEST_INTERVAL_SECONDS:g}s or more")
    for steps, problem in problems(settings):
        raise InputError(f"{path}:{_line(_find(root, steps))}: {problem}")
    for steps, problem in mapping.problems(settings.mappings, KNOWN_ENGINES):
        raise InputError(f"{path}:{_line(_find(root, steps))}: {problem}")
    kinds = get_type_hints(Scenario)
    for key, value in settings.simulation.items():
        where = f"{path}:{_line(_find(root, f'.simulation.{key}'))}"
        if key not in kinds:
            raise InputError(f"{where}: unknown key `{key}` in simulation; known keys: {', '.join(kinds)}")
        try:
            msgspec.convert(value, kinds[key])
        except msgspec.ValidationError as error:
            raise InputError(f"{where}: simulation.{key}: {error}; give one") from error
    seen: set[str] = set()
    for place, engine in enumerate(settings.engines):
        where = f"{path}:{_line(_find(root, f'.engines[{place}].url'))}"
        problem = url_problem(engine.url)
        if problem:
            raise InputError(f"{where}: {problem}")
        if engine.url.rstrip("/") in seen:
            raise InputError(f"{where}: {engine.url} is listed twice; keep one")
        seen.add(engine.url.rstrip("/"))


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong beyond the types: where, as `.objectives[0].id`, and what, with what to do."""
    yield from settings_probe.problems([engine.probe for engine in settings.engines], settings.objectives)
    yield from settings_traces.problems(settings.traces, settings.listen)
    yield from settings_otlp.problems(settings.otlp)
    yield from settings_discovery.problems(settings.pods, settings.discovery)
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
            timed[key] = _seconds(key, value, f"{path}:{_line(_find(root, f'{steps}.{key}'))}")
        else:
            timed[key] = _timed(value, path, root, f"{steps}.{key}")
    return timed


def _seconds(key: str, value: object, where: str) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InputError(f"{where}: `{key}: {value}` is not a duration; write a number and ms, s or m, as in 5s")
    return float(Decimal(match[1]) * _UNITS[match[2]])


def _told(path: Path, root: yaml.Node, message: str) -> str:
    """msgspec's message with the file and line of what it is about."""
    match = _PATH.search(message)
    text = message[: match.start()] if match else message
    steps = match[1] if match else ""
    unknown = re.search(r"unknown field `(.+)`", text)
    node = _find(root, steps, key=unknown[1] if unknown else None)
    place = steps.lstrip(".") or "the file"
    if unknown:
        allowed = next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, steps)), Settings)
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(allowed))
        return f"{path}:{_line(node)}: unknown key `{unknown[1]}` in {place}; known keys: {keys}"
    return f"{path}:{_line(node)}: {place}: {text[0].lower()}{text[1:]}; give it as the README's table of settings says"


def _find(root: yaml.Node, steps: str, key: str | None = None) -> yaml.Node:
    """The node at a path like `.engines[0].url`, or of the key `key` in the mapping there; as far as the path leads."""
    node = root
    for name, index in _STEP.findall(steps):
        if index and isinstance(node, yaml.SequenceNode):
            node = node.value[int(index)]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for name_node, value in node.value if name_node.value == name), node)
    if key is not None and isinstance(node, yaml.MappingNode):
        return next((name_node for name_node, _ in node.value if name_node.value == key), node)
    return node


def _repeated(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Keys that stand twice in one mapping."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
