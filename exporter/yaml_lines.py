"""Files of settings in YAML, read so that every fault names its line. Imports exporter.model and yaml_limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from exporter import yaml_limits
from exporter.model import InputError

_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def read(path: Path, hint: str) -> tuple[Any, yaml.MappingNode | None]:
    """A file's data and its nodes; no nodes where it is empty. Raises InputError; `hint` says how to write the file."""
    try:
        text = path.read_text(encoding="utf-8")
        yaml_limits.check(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
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
        return {}, None
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}:1: is not a mapping; {hint}")
    for node in _repeated(root):
        raise InputError(f"{path}:{_line(node)}: `{node.value}` is given twice; keep one")
    return data, root


def told(path: Path, root: yaml.Node, message: str, kind: Callable[[str], type[msgspec.Struct]], hint: str) -> str:
    """msgspec's message with the file and line of what it is about; `kind` is what stands at a path."""
    match = _PATH.search(message)
    text = message[: match.start()] if match else message
    steps = match[1] if match else ""
    unknown = re.search(r"unknown field `(.+)`", text)
    line = line_of(root, steps, key=unknown[1] if unknown else None)
    place = steps.lstrip(".") or "the file"
    if unknown:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(kind(steps)))
        return f"{path}:{line}: unknown key `{unknown[1]}` in {place}; known keys: {keys}"
    return f"{path}:{line}: {place}: {text[0].lower()}{text[1:]}; {hint}"


def line_of(root: yaml.Node, steps: str, key: str | None = None) -> int:
    """The line of what is at a path like `.engines[0].url`, or of the key `key` in the mapping there.

    It goes as far as the path leads.
    """
    node = root
    for name, index in _STEP.findall(steps):
        if index and isinstance(node, yaml.SequenceNode):
            node = node.value[int(index)]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for name_node, value in node.value if name_node.value == name), node)
    if key is not None and isinstance(node, yaml.MappingNode):
        node = next((name_node for name_node, _ in node.value if name_node.value == key), node)
    return _line(node)


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
