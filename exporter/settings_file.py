"""A file that is one YAML mapping of a known shape: settings, a web configuration. Every fault is told with its line.

Imports exporter.decode, exporter.yaml_lines and exporter.model. Faults of form (an unknown key, a number where a text
is wanted) are found together; what the types cannot say is asked for where the form is right, but for unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from exporter.decode import Problems, decode
from exporter.model import InputError
from exporter.yaml_lines import MAX_BYTES, Node, YamlFormatError, read

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_S = TypeVar("_S", bound=msgspec.Struct)
Faults = Iterable[tuple[str, str]]
"""(where, what is wrong and what to do); where is as `.engines[0].url`, or the name of a variable instead."""


class SettingsFile(NamedTuple, Generic[_S]):
    """A file as it was read."""

    path: Path
    settings: _S
    root: Node

    def line(self, steps: str) -> int:
        """The line of what is at a path like `.engines[0].url`, or of the nearest above it that is there."""
        return self.root.at(*(int(index) if index else name for name, index in _STEP.findall(steps))).line

    def where(self, steps: str) -> str:
        """`file:line` of the same; what is no such path is told as it is."""
        return f"{self.path}:{self.line(steps)}" if steps.startswith(".") else steps


def load(
    path: Path, kind: type[_S], hint: str, faults: Callable[[SettingsFile[_S]], Faults], *, secret: bool = False
) -> SettingsFile[_S]:
    """Read a file; an empty one is all defaults. Raises one InputError with a line for each fault.

    `hint` says how to write the file, `faults` what the types cannot say, and `secret` that no value is to be told.
    """
    problems = Problems(secret=secret)
    root = _root(path, hint, problems)
    settings = decode(kind, root, problems, "the file")
    found = SettingsFile(path, settings, root)
    told = [(line, f"{path}:{line}: {text}") for line, text in problems.found]
    if isinstance(settings, kind):
        told += [(found.line(steps), f"{found.where(steps)}: {text}") for steps, text in faults(found)]
    if told:
        raise InputError("\n".join(text for _, text in sorted(told, key=_line)))
    return found


def _root(path: Path, hint: str, problems: Problems) -> Node:
    try:
        with path.open("rb") as file:
            documents = read(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
    except YamlFormatError as error:
        raise InputError(f"{path}:{error.line}: {error.text}") from error
    for extra in documents[1:]:
        problems.add(extra.line, "a second document: write all in one")
    if not documents:
        return Node(1, {})
    if documents[0].mapping is None:
        raise InputError(f"{path}:{documents[0].line}: is not a mapping; {hint}")
    return documents[0]


def _line(problem: tuple[int, Any]) -> int:
    return problem[0]
