"""Turns a YAML tree into msgspec structs and collects every problem with its line, not only the first.

Imports exporter.yaml_lines and msgspec. The structs are the one description of a format: their types check values here
and, for SLO files, become the JSON Schema too. Settings, SLO files and web configurations are all read here.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from exporter.yaml_lines import Node

MISSING = object()
"""What `decode` returns where a problem was found; no value of any file."""

Seconds = Annotated[float, msgspec.Meta(extra={"is": "a duration"})]
"""A number of seconds that is written as a duration: 500ms, 5s, 1.5m."""

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60)}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)", re.ASCII)
_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    object: "a single value",
}


@dataclass(slots=True)
class Problems:
    """The problems of one file, as (line, what is wrong and what to do).

    `secret`: the file may hold passwords, so what stands in a wrong place is told by its type alone.
    """

    found: list[tuple[int, str]] = field(default_factory=list)
    secret: bool = False

    def add(self, line: int, text: str) -> None:
        """Note one."""
        self.found.append((line, text))

    def shown(self, node: Node) -> str:
        """What stands there, in a few words."""
        if node.items is not None:
            return "a list"
        if node.mapping is not None:
            return "a mapping"
        if node.value is None:
            return "empty"
        return _WORDS[type(node.value)] if self.secret else node.text


def suggest(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" where something known is near, else the list of what is known."""
    names = sorted(str(one) for one in known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def seconds(text: str) -> float | None:
    """A duration in seconds, exactly as it was written; None where it is none."""
    match = _DURATION.fullmatch(text)
    return float(Decimal(match[1]) * _UNITS[match[2]]) if match else None


def _units(kind: Any) -> Sequence[str]:
    return tuple(_said_about(kind).get("units", ()))


def is_seconds(kind: Any) -> bool:
    """Whether a type is Seconds, or may be none of them."""
    return "is" in _said_about(kind)


def no_duration(name: str, text: str) -> str:
    """What to say of a text that is none."""
    return f"`{name}: {text}` is not a duration; write a number and ms, s or m, as in 5s"


def with_unit(*units: str) -> dict[str, Sequence[str]]:
    """For `msgspec.Meta(extra=…)` of a text that is a number and a unit: what a number alone may have meant."""
    return {"units": units}


def decode(kind: Any, node: Node, problems: Problems, name: str) -> Any:
    """A value of type `kind` (a Struct, dict, list, tuple, union or plain type) from a node, or MISSING.

    An unknown key is noted in `problems`, and the value is there all the same.

    Where a type admits text as well as numbers, the text as it was written is the value: 0.95 stays the decimal 0.95,
    and a label value 0 is "0". `name` is what messages call the node.
    """
    if is_seconds(kind):
        return _seconds(node, problems, name)
    chosen = _choose(kind, node)
    origin = typing.get_origin(chosen)
    if isinstance(chosen, type) and issubclass(chosen, msgspec.Struct):
        return _struct(chosen, node, problems, name)
    if origin is dict and node.mapping is not None:
        item = typing.get_args(chosen)[1]
        read = {key: decode(item, e.node, problems, f"{name}.{key}") for key, e in node.mapping.items()}
        return MISSING if any(one is MISSING for one in read.values()) else read
    if origin in _LISTS and node.items is not None:
        item = typing.get_args(chosen)[0]
        listed = [decode(item, one, problems, name) for one in node.items]
        return MISSING if any(one is MISSING for one in listed) else origin(listed)
    return _plain(kind, chosen, node, problems, name)


_LISTS = (list, tuple)


def _choose(kind: Any, node: Node) -> Any:
    """The member of a union that fits the shape of the node; other types as they are."""
    members = _members(kind)
    fits = members
    if node.items is not None:
        fits = [m for m in members if typing.get_origin(m) in _LISTS]
    elif node.mapping is not None:
        fits = [m for m in members if typing.get_origin(m) is dict or _is_struct(m)]
    else:
        plain = [m for m in members if typing.get_origin(m) not in (*_LISTS, dict) and not _is_struct(m)]
        empty = plain == [types.NoneType] and node.value is not None  # an optional mapping that is none
        fits = [] if empty else plain
    if not fits:
        return members[0]
    return fits[0] if len(fits) == 1 else typing.Union[tuple(fits)]  # noqa: UP007 (members known only at run time)


def _members(kind: Any) -> list[Any]:
    """The types of a union, without what is said about them; UNSET is nothing that a file can say."""
    if typing.get_origin(kind) is Annotated:
        return _members(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return [one for m in typing.get_args(kind) if m is not msgspec.UnsetType for one in _members(m)]
    return [kind]


def _said_about(kind: Any) -> dict[Any, Any]:
    """What the Annotated of a type, or of a member of the union that it is, say beyond msgspec's own."""
    said: dict[Any, Any] = {}
    for inner in typing.get_args(kind) if typing.get_origin(kind) in (Annotated, typing.Union, types.UnionType) else ():
        said |= (inner.extra or {}) if isinstance(inner, msgspec.Meta) else _said_about(inner)
    return said


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct(kind: type[msgspec.Struct], node: Node, problems: Problems, name: str) -> Any:
    if node.mapping is None:
        problems.add(node.line, f"{name} must be a mapping of keys to values, not {problems.shown(node)}")
        return MISSING
    fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    whole = True
    for key, entry in node.mapping.items():
        if key not in fields:
            problems.add(entry.line, f"unknown key {key!r} in {name}: {suggest(key, fields)}")
            continue  # the rest can still be checked
        value = decode(fields[key].type, entry.node, problems, key)
        whole = whole and value is not MISSING
        values[fields[key].name] = value
    for key, one in fields.items():
        if one.required and key not in node.mapping:
            problems.add(node.line, f"{name} has no {key!r}: add it")
            whole = False
    return kind(**values) if whole else MISSING


def _plain(kind: Any, chosen: Any, node: Node, problems: Problems, name: str) -> Any:
    """`chosen` is what the node could be of `kind`."""
    try:
        value = msgspec.convert(node.value, chosen) if node.scalar else MISSING
    except msgspec.ValidationError:
        value = MISSING
    if value is MISSING:
        what = f"{problems.shown(node)}{_hint(kind, node, problems)}"
        problems.add(node.line, f"{name} must be {_expected(kind)}, not {what}")
        return MISSING
    members = _members(chosen)
    return node.text if str in members and float in members else value


def _hint(kind: Any, node: Node, problems: Problems) -> str:
    """How to write the same as text, where text is wanted."""
    if str not in _members(kind) or not node.scalar or node.value is None:
        return ""
    units = _units(kind)
    if units and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return f": write {' or '.join(f'{node.text}{unit}' for unit in units)}"
    return ": write it in quotes" if problems.secret else f': write "{node.text}" in quotes'


def _seconds(node: Node, problems: Problems, name: str) -> Any:
    found = seconds(node.text) if isinstance(node.value, str) else None
    if found is None:
        problems.add(node.line, no_duration(name, problems.shown(node)))
        return MISSING
    return found


def _expected(kind: Any) -> str:
    members = [one for one in _members(kind) if one is not types.NoneType]
    if _units(kind):
        members = ["a number with its unit" if one is str else one for one in members]
    words = [f"one of {_choices(one)}" for one in members if typing.get_origin(one) is Literal]
    if bool in members and str in members:
        words.append("a single value")
    else:
        words += [_WORDS.get(one, one) for one in members if one in _WORDS or isinstance(one, str)]
    if any(typing.get_origin(one) in _LISTS for one in members):
        words.append("a list, like [a, b]" if len(members) == 1 else "a list")
    if any(typing.get_origin(one) is dict or _is_struct(one) for one in members):
        words.append("a mapping of keys to values")
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _choices(kind: Any) -> str:
    return ", ".join(str(one) for one in typing.get_args(kind) if one != "")
