"""Turns a YAML tree into msgspec structs and collects every problem with its line, not only the first.

Imports slo.spec.yaml_lines and msgspec. The structs are the one description of a format: their types check values here
and become its JSON Schema in slo.spec.schema.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from slo.spec.yaml_lines import Node

MISSING = object()
"""What `decode` returns where a problem was found; no value of any file."""

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


@dataclass(slots=True)
class Problems:
    """The problems of one file, as (line, what is wrong and what to do)."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """Note one."""
        self.found.append((line, text))


def suggest(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" where something known is near, else the list of what is known."""
    names = sorted(str(one) for one in known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def decode(kind: Any, node: Node, problems: Problems, name: str) -> Any:
    """A value of type `kind` (a Struct, dict, list, union or plain type) from a node, or MISSING.

    An unknown key is noted in `problems`, and the value is there all the same.

    Where a type admits text as well as numbers, the text as it was written is the value: 0.95 stays the decimal 0.95,
    and a label value 0 is "0". `name` is what messages call the node.
    """
    chosen = _choose(kind, node)
    origin = typing.get_origin(chosen)
    if isinstance(chosen, type) and issubclass(chosen, msgspec.Struct):
        return _struct(chosen, node, problems, name)
    if origin is dict and node.mapping is not None:
        item = typing.get_args(chosen)[1]
        read = {key: decode(item, e.node, problems, f"{name}.{key}") for key, e in node.mapping.items()}
        return MISSING if MISSING in read.values() else read
    if origin is list and node.items is not None:
        item = typing.get_args(chosen)[0]
        listed = [decode(item, one, problems, name) for one in node.items]
        return MISSING if any(one is MISSING for one in listed) else listed
    return _plain(chosen, node, problems, name)


def _choose(kind: Any, node: Node) -> Any:
    """The member of a union that fits the shape of the node; other types as they are."""
    if typing.get_origin(kind) is typing.Annotated:
        return _choose(typing.get_args(kind)[0], node)
    if not isinstance(kind, types.UnionType) and typing.get_origin(kind) is not typing.Union:
        return kind
    members = [m for m in typing.get_args(kind) if m is not msgspec.UnsetType]
    lists = [m for m in members if typing.get_origin(m) is list]
    maps = [m for m in members if typing.get_origin(m) is dict or _is_struct(m)]
    if node.items is not None and lists:
        return lists[0]
    if node.mapping is not None and maps:
        return maps[0]
    plain = [m for m in members if m not in lists and m not in maps]
    return typing.Union[tuple(plain)] if plain else members[0]  # noqa: UP007 (a union of members known only at run time)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct(kind: type[msgspec.Struct], node: Node, problems: Problems, name: str) -> Any:
    if node.mapping is None:
        problems.add(node.line, f"{name} must be a mapping of keys to values, not {_shown(node)}")
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


def _plain(kind: Any, node: Node, problems: Problems, name: str) -> Any:
    if not node.scalar:
        problems.add(node.line, f"{name} must be {_expected(kind)}, not {_shown(node)}")
        return MISSING
    try:
        value = msgspec.convert(node.value, kind)
    except msgspec.ValidationError:
        hint = f': write "{node.text}" in quotes' if _takes(kind, str) and node.value is not None else ""
        problems.add(node.line, f"{name} must be {_expected(kind)}, not {_shown(node)}{hint}")
        return MISSING
    return node.text if _takes(kind, str) and _takes(kind, float) else value


def _takes(kind: Any, wanted: type) -> bool:
    if typing.get_origin(kind) is typing.Annotated:
        return _takes(typing.get_args(kind)[0], wanted)
    return kind is wanted or (typing.get_origin(kind) is typing.Union and wanted in typing.get_args(kind))


def _expected(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Annotated:
        return _expected(typing.get_args(kind)[0])
    if typing.get_origin(kind) is list:
        return "a list, like [a, b]"
    if typing.get_origin(kind) is dict:
        return "a mapping of keys to values"
    members = typing.get_args(kind) or (kind,)
    if bool in members and str in members:
        return "a single value"
    return " or ".join(dict.fromkeys(_WORDS.get(m.__name__, m.__name__) for m in members))


def _shown(node: Node) -> str:
    if node.items is not None:
        return "a list"
    if node.mapping is not None:
        return "a mapping"
    return "empty" if node.value is None else node.text
