"""Reads SLO files of every supported format into checked SLOs. The only way in for what users write.

Imports slo.model and its own modules. Every problem of every file is found before any is told.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.model import InputError
from exporter.yaml_lines import MAX_BYTES, Node, YamlFormatError, read
from slo.model import Slo
from slo.spec import check, native, openslo, parts, pyrra, sloth
from slo.spec.foreign import Cursor, RefusedError, Told
from slo.spec.report import FileReport

_LOG = logging.getLogger(__name__)
EXAMPLE = (
    "{apiVersion: gpufleet/v1, service: chat, slos: "
    "[{name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}]}"
)
"""A whole file on one line, for messages that are one line."""
_WRITE = f"write one like {EXAMPLE}"


def load(paths: Sequence[Path]) -> list[Slo]:
    """All SLOs of files and directories (*.yaml, *.yml), in order. Raises one InputError with every problem.

    SLOs of other formats that are not supported are logged as warnings.
    """
    reports = reports_of(paths)
    for report in reports:
        for line in report.unsupported:
            _LOG.warning("%s", line)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        raise InputError("\n".join(problems))
    return [slo for report in reports for slo in report.slos]


def reports_of(paths: Sequence[Path]) -> list[FileReport]:
    """The same file by file. Raises InputError only where a path itself is at fault."""
    read_files = [_read(path) for path in _files(paths)]
    objects = openslo.Objects()
    for one in read_files:
        objects.learn(one.documents)
    reports = [_report(one, objects) for one in read_files]
    first: dict[str, Slo] = {}
    checked: list[FileReport] = []
    for report in reports:
        problems = list(report.problems)
        usable: list[Slo] = []
        for slo in report.slos:
            other = first.setdefault(slo.id, slo)
            if other is slo:
                usable.append(slo)
            else:
                problems.append(f"{slo.location}: id {slo.id!r} is taken by {other.location}: change service or name")
        checked.append(replace(report, slos=tuple(usable), problems=tuple(problems)))
    return [parts.resolved(report, first) for report in checked]


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            inside = yaml_files(path) if path.is_dir() else [path]
            if not path.exists():
                raise InputError(f"{path}: no such file or directory: name a file or a directory of *.yaml files")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
        if not inside:
            raise InputError(f"{path}: no *.yaml or *.yml file here: {_WRITE}")
        for one in inside:
            if path.is_dir() and one.exists() and not one.is_file():  # a pipe or a device would be read for ever
                raise InputError(f"{one}: is no file: remove it from {path}")
            found.setdefault(Path(os.path.realpath(one)), one)  # links may go in circles: told where they are opened
    return list(found.values())


def yaml_files(directory: Path) -> list[Path]:
    """A directory's YAML files by name. Not directories and hidden files: a mounted ConfigMap has its own of both."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and not path.is_dir()
    )


@dataclass(slots=True)
class _Read:
    """One file as read: its documents, and what was wrong with reading it."""

    path: Path
    documents: list[Node] = field(default_factory=list)
    told: Told = field(default_factory=Told)


def _read(path: Path) -> _Read:
    one = _Read(path)
    try:
        with path.open("rb") as file:
            documents = read(file.read(MAX_BYTES + 1))
        if not documents:
            one.told.problems.add(1, f"the file is empty: {_WRITE}")
        # OpenSLO's own files are often one list of objects.
        one.documents = [item for node in documents for item in (node.items or [node])]
    except YamlFormatError as problem:
        one.told.problems.add(problem.line, problem.text)
    except OSError as error:
        one.told.problems.add(1, f"cannot be read ({error.strerror}): check its permissions")
    return one


def _report(one: _Read, objects: openslo.Objects) -> FileReport:
    slos = [slo for document in one.documents for slo in _document(str(one.path), document, one.told, objects)]

    def told(lines: Sequence[tuple[int, str]]) -> tuple[str, ...]:
        unique = dict.fromkeys(sorted(lines, key=lambda found: found[0]))
        return tuple(f"{one.path}:{line}: {text}" for line, text in unique)

    return FileReport(
        one.path, tuple(slos), told(one.told.problems.found), told(one.told.unsupported), told(one.told.notes)
    )


def _document(file: str, document: Node, told: Told, objects: openslo.Objects) -> list[Slo]:
    """One document, read by the format that it names."""
    problems = told.problems
    if document.mapping is None:
        problems.add(document.line, f"not an SLO file: {_WRITE}")
        return []
    readers: dict[object, Callable[[Cursor], list[Slo]]] = {
        sloth.VERSION: lambda cursor: sloth.slos_of(file, cursor),
        sloth.API_VERSION: lambda cursor: sloth.slos_of(file, cursor),
        openslo.API_VERSION: lambda cursor: openslo.slos_of(file, cursor, objects),
        pyrra.API_VERSION: lambda cursor: pyrra.slos_of(file, cursor),
    }
    named = "apiVersion" if "apiVersion" in document.mapping else "version"
    version = document.at(named)
    if named not in document.mapping:
        problems.add(document.line, f"the document has no apiVersion: add apiVersion: {native.API_VERSION}")
    elif version.value == native.API_VERSION:
        return check.slos_of(file, document, problems)
    elif version.scalar and version.value in readers:
        return _foreign(document, told, readers[version.value])
    else:
        known = ", ".join((native.API_VERSION, *(str(other) for other in readers)))
        problems.add(version.line, f"{named} {version.text!r} is not supported: known are {known}")
    return []


def _foreign(document: Node, told: Told, slos_of: Callable[[Cursor], list[Slo]]) -> list[Slo]:
    """The SLOs of a document of another format; what its reader did not take is noted."""
    cursor = Cursor(document, "", told)
    try:
        slos = slos_of(cursor)
    except RefusedError:
        return []
    for line, path in cursor.unread():
        told.note(line, f"{path} is not used")
    return slos
