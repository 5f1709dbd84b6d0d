"""Hardware and spenders in words, for the report on a period. Pure; imports slo.report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slo.page.text import listed, percent
from slo.report.document import Block, Heading, Items, Table, Text
from slo.report.gather import Report
from slo.report.spenders import BY, TopSpender
from slo.report.suspects import LOOK, REPLACE, Suspect
from slo.report.words import gpu_of, name_of, short

MOST_SPENDERS = 10
_TITLES = {"node": "By node", "gpu": "By GPU", "model": "By model"}
_WHO = {"node": "Nodes", "gpu": "GPUs", "model": "Models"}


def hardware(report: Report) -> Iterator[Block]:
    """GPUs to replace and to look at, with the evidence."""
    if not report.suspects:
        yield Text("Nothing was seen on any GPU that asks for a person.")
        return
    for title, verdict in (("To replace", REPLACE), ("To look at", LOOK)):
        some = [one for one in report.suspects if one.verdict == verdict]
        if some:
            yield Heading(title, 3)
            columns = ("GPU", "evidence", "first", "last", "what to do", "spent beyond its traffic")
            yield Table(
                f"GPUs {title[0].lower()}{title[1:]}, with the evidence", columns, list(_findings(some, report))
            )
            yield Items([f"{gpu_of(one.gpu)}: {one.gpu.uuid}{f', {one.model}' if one.model else ''}" for one in some])


def _findings(some: Sequence[Suspect], report: Report) -> Iterator[Sequence[str]]:
    zone = report.period.zone
    for one in some:
        for at, finding in enumerate(one.findings):
            first, last = short(finding.first, zone), short(finding.last, zone)
            yield gpu_of(one.gpu), finding.text, first, last, finding.action, _spent(one.spent) if at == 0 else ""


def _spent(one: TopSpender | None) -> str:
    if one is None:
        return "nothing that stands out"
    parts = listed(f"{percent(part.share)} of {name_of(part.budget.slo, part.budget.group)}" for part in one.parts)
    return f"{parts}{f', with {one.shared - 1} more of its replica' if one.shared > 1 else ''}"


def spenders(report: Report) -> Iterator[Block]:
    """Who spent beyond their traffic, by node, GPU and model."""
    if not any(report.spenders.values()):
        yield Text("Nobody stands out: what was bad is spread as the traffic is.")
        return
    yield Text(
        "Bad events beyond one's own traffic at the error rate of the rest, as a share of each SLO's budget, summed "
        "over SLOs: 100 % is one whole budget. What chance may give is left out."
    )
    for by in BY:
        some = report.spenders[by]
        if some:
            rows = [
                (gpu_of(one.gpu) if one.gpu is not None else one.key, percent(one.spent), _spent(one))
                for one in some[:MOST_SPENDERS]
            ]
            yield Heading(_TITLES[by], 3)
            yield Table(
                f"{_WHO[by]} that spent most beyond their traffic",
                (by.upper() if by == "gpu" else by, "budgets spent", "of"),
                rows,
                frozenset({1}),
            )
            if len(some) > MOST_SPENDERS:
                yield Text(f"{len(some) - MOST_SPENDERS} more spent less.")
