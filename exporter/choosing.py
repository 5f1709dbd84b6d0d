"""Which families an agent shows: dcgm-exporter's counters file, and patterns in the settings. Pure but for the file.

Imports exporter.naming, exporter.metrics and exporter.model.

Status: accepted. Context: dcgm-exporter takes a CSV of `field, type, help`, in which a field that it does not know is
fatal. Decision: such a file chooses among the DCGM_ families alone; `gpu_`, `llm_` and `gpufleet_` families are not
dcgm-exporter's and stay, unless patterns choose otherwise. Types and help texts are the catalogue's, whatever the file
says, since they are part of a public contract. Fields that DCGM may have and we have not are told at the start, each
with its line, and do not keep the agent from running: a node without a page is worse. DCGM's some thousand names are
not kept here, so a misspelt field of the right form is told in the same way, with the name that was likely meant.
What is of no such form is an error. Patterns are shell patterns over the names of families, of the catalogue or of a
profile; one that fits no family is an error. The page's age always stays: it alone tells that a page is old.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import msgspec

from exporter.metrics import CATALOGUE, agent, gpu, health
from exporter.model import InputError, Reading, Snapshot
from exporter.naming import FAMILY_OF, names_of

MOST_BYTES = 1 << 20
_FIELD = re.compile(r"(?:DCGM_(?:FI|EXP)_[A-Z0-9_]+|dcgm_[a-z0-9_]+)")
_TYPES = ("gauge", "counter", "histogram", "summary", "label")
_DCGM = "DCGM_"
_DRIVER_VERSION = ("DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION")
"""The one field that is a label here too, always."""
_INSTEAD = {
    "DCGM_EXP_CLOCK_EVENTS_COUNT": gpu.CLOCK_EVENTS.name,
    "DCGM_EXP_GPU_HEALTH_STATUS": health.HEALTH.name,
}
"""What dcgm-exporter makes itself under a name that is not used here, and what comes next to it."""


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Shell patterns over the names of families; what is excluded is not shown, whatever includes it."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Counters(NamedTuple):
    """A counters file: the DCGM_ families that it chooses, and what was left out of it, each line with its reason."""

    families: frozenset[str]
    left_out: tuple[str, ...]


def read_counters(path: Path) -> Counters:
    """Read a counters file. Raises InputError."""
    hint = "give a file as dcgm-exporter's etc/default-counters.csv"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}:1: is larger than {MOST_BYTES >> 20} MiB; {hint}")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; {hint}") from error
    families: set[str] = set()
    left_out: list[str] = []
    for number, field, kind in _rows(lines, path):
        family = FAMILY_OF.get(field)
        if kind == "label":
            if field not in _DRIVER_VERSION:
                left_out.append(f"{path}:{number}: {field} is no label here")
        elif family is not None and family.name.startswith(_DCGM):
            families.add(family.name)
        else:
            left_out.append(f"{path}:{number}: {field} is not given here{instead(field)}")
    if not families:
        raise InputError(f"{path}:1: chooses no figure that is given here; {hint}")
    return Counters(frozenset(families), tuple(left_out))


def instead(field: str) -> str:
    """A hint, from a semicolon on, at what comes next to a field that is not given here; empty where nothing does."""
    if field in _INSTEAD:
        return f"; see {_INSTEAD[field]} instead"
    near = difflib.get_close_matches(field, [name for name in FAMILY_OF if name.startswith(_DCGM)], 1, 0.9)
    return f"; was {near[0]} meant?" if near else ""


def problems(metrics: MetricsSettings) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.metrics.include[0]`."""
    for key, patterns in (("include", metrics.include), ("exclude", metrics.exclude)):
        for place, pattern in enumerate(patterns):
            where = f".metrics.{key}[{place}]"
            fitting = _fitting(pattern)
            if fitting == {agent.SNAPSHOT_AGE.name} and key == "exclude":
                yield where, f"{pattern} always stays, it alone tells that a page is old; remove this"
            elif not fitting:
                near = difflib.get_close_matches(pattern, FAMILY_OF, n=1, cutoff=0.6)
                hint = f"was {near[0]} meant?" if near else "names are as on the page, as in DCGM_FI_PROF_*"
                yield where, f"no family is called `{pattern}`; {hint}"
    if not chosen_names(metrics, None):
        yield ".metrics", "nothing is left to be shown; exclude less"


def chosen_names(metrics: MetricsSettings, counters: Counters | None) -> frozenset[str]:
    """Names, in the catalogue, of the families that are shown."""
    names = set(CATALOGUE)
    if counters is not None:
        names -= {name for name in CATALOGUE if name.startswith(_DCGM)} - counters.families
    if metrics.include:
        names &= set().union(*map(_fitting, metrics.include))
    return frozenset(names.difference(*map(_fitting, metrics.exclude)))


class Choice:
    """Takes the readings of the chosen families out of snapshots."""

    def __init__(self, metrics: MetricsSettings, counters: Counters | None) -> None:
        self._names = chosen_names(metrics, counters)
        self._all = self._names >= frozenset(CATALOGUE)

    def of(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what is chosen alone: families, and what is missing of them."""
        if self._all:
            return snapshot
        return dataclasses.replace(snapshot, readings=tuple(self._chosen(snapshot.readings)))

    def _chosen(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        names, missing = self._names, health.READING_MISSING.name
        for reading in readings:
            series = reading.series
            if series.family.name not in names:
                continue
            if series.family.name == missing and dict(series.labels)["family"] not in names:
                continue
            yield reading


def _fitting(pattern: str) -> set[str]:
    """Names, in the catalogue, of the families that a pattern fits under any of their names."""
    return {name for name, family in CATALOGUE.items() if any(fnmatchcase(one, pattern) for one in names_of(family))}


def _rows(lines: list[str], path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, field and type of each row, as Go's reader of CSV and dcgm-exporter take them."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        try:
            row = [cell.strip() for cell in next(csv.reader([line], strict=True, skipinitialspace=True))]
        except csv.Error as error:
            raise InputError(f"{where}: is not CSV: {error}; write `field, type, help`") from error
        if len(row) != 3:
            raise InputError(f"{where}: has {len(row)} parts, not 3; write `field, type, help`, with commas in quotes")
        field, kind, _ = row
        if _FIELD.fullmatch(field) is None:
            raise InputError(f"{where}: `{field}` is no field of DCGM; write one as in {gpu.GPU_TEMP}")
        if kind not in _TYPES:
            raise InputError(f"{where}: `{kind}` is no type of a metric; write one of {', '.join(_TYPES)}")
        yield number, field, kind
