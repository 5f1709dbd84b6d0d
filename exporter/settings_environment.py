"""Settings from environment variables: GPUFLEET_<KEY> for every scalar setting, GPUFLEET_<SECTION>_<KEY> below one.

Imports exporter.decode and exporter.model. The variables are made from the settings' own fields, so a new setting has
one at once. A variable stands over the file, the command line over both; an empty one is none. Lists and mappings have
no variables.
Variables that a Kubernetes service of that name brings (GPUFLEET_SERVICE_HOST, GPUFLEET_PORT, …) are nobody's mistake.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from exporter.decode import is_seconds, no_duration, seconds
from exporter.model import InputError

PREFIX = "GPUFLEET_"
_OF_KUBERNETES = re.compile(
    r"GPUFLEET_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(?:TCP|UDP|SCTP)\w*)"
)
_SCALARS = (str, int, float, bool)
_S = TypeVar("_S", bound=msgspec.Struct)


class Variable(NamedTuple):
    """One scalar setting: its variable, where it stands as `.otlp.endpoint`, its key and what its values are."""

    name: str
    steps: str
    key: str
    kind: Any


def variables(kind: type[msgspec.Struct], name: str = PREFIX, steps: str = "") -> Iterator[Variable]:
    """The variables of all scalar settings of a struct and the structs in it."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        own, own_steps = name + field.encode_name.upper(), f"{steps}.{field.encode_name}"
        scalars = [one for one in _alternatives(hints[field.name]) if _is_scalar(one)]
        if scalars:
            yield Variable(own, own_steps, field.encode_name, Union[tuple(scalars)])  # noqa: UP007 (made at run time)
        inner = _struct_of(hints[field.name])
        if inner is not None:
            yield from variables(inner, f"{own}_", own_steps)


def overlay(settings: _S, environment: Mapping[str, str]) -> tuple[_S, dict[str, str]]:
    """The settings with the variables put over them, and which variable stands where. Raises InputError for all."""
    origins: dict[str, str] = {}
    values: dict[str, object] = {}
    faults: list[str] = []
    for name, steps, key, kind in variables(type(settings)):
        text = environment.get(name, "")
        if not text:
            continue
        origins[steps] = name
        try:
            values[steps] = seconds(text) if is_seconds(kind) else msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{name}: `{text}`: {_said(error)}; give it as in the settings file")
        else:
            if values[steps] is None:
                faults.append(f"{name}: {no_duration(key, text)}")
    if faults:
        raise InputError("\n".join(faults))
    return _put(settings, type(settings), "", values, origins), origins


def unknown(kind: type[msgspec.Struct], environment: Mapping[str, str]) -> Iterator[str]:
    """What to say of each variable that looks like a setting and is none."""
    known = [one.name for one in variables(kind)]
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        yield f"{name}: no setting has this variable{f'; was {near[0]} meant?' if near else '; remove it'}"


def _put(settings: Any, kind: type[_S], steps: str, values: Mapping[str, object], origins: Mapping[str, str]) -> _S:
    """The struct with the values that stand at and below `steps`."""
    changed: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        own = f"{steps}.{field.encode_name}"
        if own in values:
            changed[field.name] = values[own]
        inner = _struct_of(hints[field.name])
        if inner is not None and any(one.startswith(f"{own}.") for one in values):
            changed[field.name] = _put(getattr(settings, field.name, None), inner, own, values, origins)
    if isinstance(settings, kind):
        return msgspec.structs.replace(settings, **changed) if changed else settings
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in changed:
            given = next(name for place, name in origins.items() if place.startswith(f"{steps}."))
            section = steps.lstrip(".")
            needed = f"{PREFIX}{steps.lstrip('.').replace('.', '_')}_{field.encode_name}".upper()
            raise InputError(f"{given}: {section} has no {field.encode_name}; set {needed} too")
    return kind(**changed)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_scalar(kind: Any) -> bool:
    return kind in _SCALARS or get_origin(kind) is Literal or is_seconds(kind)


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    for one in _alternatives(kind):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _said(error: Exception) -> str:
    text = str(error)
    return f"{text[0].lower()}{text[1:]}"
