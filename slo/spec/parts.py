"""Composites find their parts once all files have been read: by id anywhere, by name in their own service.

Imports slo.model, slo.spec.report and the words of exporter.decode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exporter.decode import suggest
from slo.model import Part, Slo
from slo.spec.report import FileReport


def resolved(report: FileReport, known: Mapping[str, Slo]) -> FileReport:
    """A file's report with its composites made whole; one that cannot be is a problem. `known` are all SLOs by id."""
    if not any(slo.parts for slo in report.slos):
        return report
    slos: list[Slo] = []
    problems = list(report.problems)
    for slo in report.slos:
        try:
            slos.append(_whole(slo, known) if slo.parts else slo)
        except ValueError as error:
            problems.append(f"{slo.location}: of: {error}")
    return replace(report, slos=tuple(slos), problems=tuple(problems))


def _whole(slo: Slo, known: Mapping[str, Slo]) -> Slo:
    """Raises ValueError with what is wrong and what to do."""
    found = [replace(part, slo=part.slo or _of(slo, part, known)) for part in slo.parts]
    slos = [part.slo for part in found if part.slo is not None]
    if len({one.id for one in slos}) < len(slos):
        raise ValueError("one SLO stands twice, by its name and by its id: write it once, with a weight")
    if len({one.group_by for one in slos}) > 1:
        raise ValueError("its parts are grouped by different labels: give all the same group_by, or none")
    return replace(slo, parts=tuple(found), group_by=slos[0].group_by)


def _of(slo: Slo, part: Part, known: Mapping[str, Slo]) -> Slo:
    one = known.get(f"{slo.service}-{part.name}") or known.get(part.name)
    if one is None:
        near = [*known, *(k.removeprefix(f"{slo.service}-") for k in known if k.startswith(f"{slo.service}-"))]
        raise ValueError(f"no SLO {part.name!r} in the files given: {suggest(part.name, near)}")
    if one.parts:
        raise ValueError(f"{part.name!r} is a composite itself: name its parts")
    if one.indicator is not None and one.indicator.rules_only:
        raise ValueError(f"{part.name!r} is watched by rules alone, so the service cannot count it: leave it out")
    return one
