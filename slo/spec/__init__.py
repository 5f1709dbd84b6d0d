"""Reads SLO files of every supported format into checked SLOs. The only way in for what users write.

Imports slo.model and its own modules. Every problem of every file is found before any is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.model import InputError
from slo.model import Slo
from slo.spec import check, native
from slo.spec.decode import Problems
from slo.spec.yaml_lines import MAX_BYTES, Node, YamlFormatError, read

EXAMPLE = (
    "{apiVersion: gpufleet/v1, service: chat, slos: "
    "[{name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}]}"
)
"""A whole file on one line, for messages that are one line."""
_WRITE = f"write one like {EXAMPLE}"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file gave: its usable SLOs, and its problems as `file:line: what is wrong, what to do`."""

    path: Path
    slos: tuple[Slo, ...]
    problems: tuple[str, ...]


def load(paths: Sequence[Path]) -> list[Slo]:
    """All SLOs of files and directories (*.yaml, *.yml), in order. Raises one InputError with every problem."""
    reports = reports_of(paths)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        raise InputError("\n".join(problems))
    return [slo for report in reports for slo in report.slos]


def reports_of(paths: Sequence[Path]) -> list[FileReport]:
    """The same file by file. Raises InputError only where a path itself is at fault."""
    reports = [_report(path) for path in _files(paths)]
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
        checked.append(FileReport(report.path, tuple(usable), tuple(problems)))
    return checked


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            inside = _inside(path) if path.is_dir() else [path]
            if not path.exists():
                raise InputError(f"{path}: no such file or directory: name a file or a directory of *.yaml files")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
        if not inside:
            raise InputError(f"{path}: no *.yaml or *.yml file here: {_WRITE}")
        for one in inside:
            found.setdefault(one.resolve(), one)
    return list(found.values())


def _inside(directory: Path) -> list[Path]:
    """Its YAML files by name. Not its directories and hidden files: a mounted ConfigMap has its own of both."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and not path.is_dir()
    )


def _report(path: Path) -> FileReport:
    problems = Problems()
    slos: list[Slo] = []
    try:
        with path.open("rb") as file:
            documents = read(file.read(MAX_BYTES + 1))
        if not documents:
            problems.add(1, f"the file is empty: {_WRITE}")
        for document in documents:
            slos += _document(str(path), document, problems)
    except YamlFormatError as problem:
        problems.add(problem.line, problem.text)
    except OSError as error:
        problems.add(1, f"cannot be read ({error.strerror}): check its permissions")
    told = tuple(f"{path}:{line}: {text}" for line, text in sorted(problems.found, key=lambda found: found[0]))
    return FileReport(path, tuple(slos), told)


def _document(file: str, document: Node, problems: Problems) -> list[Slo]:
    """One document, read by the format that its apiVersion names."""
    if document.mapping is None:
        problems.add(document.line, f"not an SLO file: {_WRITE}")
        return []
    if "apiVersion" not in document.mapping:
        problems.add(document.line, f"the document has no apiVersion: add apiVersion: {native.API_VERSION}")
        return []
    version = document.at("apiVersion")
    if version.value != native.API_VERSION:
        problems.add(version.line, f"apiVersion {version.text!r} is not supported: write {native.API_VERSION}")
        return []
    return check.slos_of(file, document, problems)
