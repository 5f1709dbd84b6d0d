"""A report on a period in words: sections, tables, what to know when reading them. Pure; imports slo.report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slo.page.text import count, listed, percent, promise
from slo.report.budgets import Gap, PeriodBudget
from slo.report.document import Block, Chart, Document, Heading, Items, Table, Text
from slo.report.gather import Report
from slo.report.suspects import LOOK, REPLACE
from slo.report.telling_hardware import hardware, spenders
from slo.report.words import (
    SIMULATED,
    alert_of,
    bad_of,
    between,
    definition_words,
    lasted,
    name_of,
    short,
    span,
)
from slo.signals import unit_of

MOST_GAPS = 30


def tell(report: Report) -> Document:
    """The whole report."""
    period = report.period
    so_far = f" so far, to {period.at(report.through)}" if report.so_far and report.budgets else ""
    document = Document(f"Error budgets: {period.title}{so_far}", SIMULATED if report.simulated else "")
    zone = period.zone.key
    document.add(Text(f"Times are {zone}. Every figure is counted in the ledger; none is a sample."))
    document.add(Heading("In short"), Items(list(_in_short(report))))
    document.add(Heading("Budgets"), *_budgets(report))
    document.add(Heading("Incidents and what they cost"), *_incidents(report))
    document.add(Heading("Hardware"), *hardware(report))
    document.add(Heading("Who spent beyond their traffic"), *spenders(report))
    document.add(Heading("Maintenance that was left out"), *_exclusions(report))
    document.add(Heading("What was not watched"), *_gaps(report))
    document.add(Heading("Definitions that changed"), *_revisions(report))
    document.add(Heading("How to read this"), Items(list(_notes(report))))
    return document


def _in_short(report: Report) -> Iterator[str]:
    over = [one for one in report.budgets if one.remaining is not None and one.remaining <= 0]
    number = len(report.budgets)
    if over:
        which = listed(f"{name_of(one.slo, one.group)} ({percent(one.spent)} of it)" for one in over)
        yield f"{len(over)} of {_numbered(number, 'budget')} spent in full: {which}."
    elif number:
        worst = report.budgets[0]
        left = f"{name_of(worst.slo, worst.group)}, {between(*_bounds(worst))}"
        yield f"None of {_numbered(number, 'budget')} was spent in full. Least is left of {left}."
    if report.costs:
        most = report.costs[0]
        yield (
            f"{len(report.costs)} {_plural(len(report.costs), 'incident')} with an alert. The costliest took "
            f"{percent(most.share)} of the budget of {name_of(most.incident.slo, most.incident.group)}."
        )
    else:
        since = f" since {report.period.at(report.replayed_from)}" if report.replayed_from > report.period.since else ""
        yield f"No alert fired{since}."
    gravest = [_numbered(sum(one.verdict == verdict for one in report.suspects), "GPU") for verdict in (REPLACE, LOOK)]
    yield f"Hardware: {gravest[0]} to replace, {gravest[1]} to look at."
    least = min((one for one in report.budgets), key=lambda one: one.watched, default=None)
    if least is not None:
        yield (
            f"Least watched: {name_of(least.slo, least.group)}, {percent(least.watched, 2)} of the time."
            if least.watched < 1
            else "Every minute was watched."
        )
    for title, some in (("Nothing was counted of", report.uncounted), ("The file says otherwise than what the ledger "
                        "counts (serve it first)", report.edited)):  # fmt: skip
        if some:
            yield f"{title}: {listed(slo.id for slo in some)}."


def _budgets(report: Report) -> Iterator[Block]:
    rows: list[Sequence[str | Chart]] = []
    for one in report.budgets:
        worst = one.worst_day
        rows.append((
            name_of(one.slo, one.group) + (" (simulated)" if one.simulated else ""),
            promise(one.slo),
            between(*_bounds(one)),
            Chart(one.line, _chart_words(one, report)),
            bad_of(one.slo, one.counts),
            count(one.allowed),
            f"{worst.day.day} {worst.day:%b}, {percent(worst.spent)}" if worst is not None else "none",
            percent(one.watched, 2),
        ))  # fmt: skip
    columns = ("SLO", "objective", "budget left", "over the period", "bad", "allowed", "worst day", "watched")
    yield Table("Budgets of the period, least left first", columns, rows, frozenset({2, 5, 7}))
    late = [one for one in report.budgets if one.began is not None]
    if late:
        yield Items(
            [f"{name_of(one.slo, one.group)} is counted since {report.period.at(one.began or 0)}." for one in late]
        )


def _chart_words(one: PeriodBudget, report: Report) -> str:
    if not one.line:
        return "nothing was counted"
    least = min(left for _, left in one.line)
    at = report.period.at(one.line[-1][0])
    return f"Budget left: 100 % at the start, {percent(one.line[-1][1])} on {at}, {percent(least)} at the least"


def _bounds(one: PeriodBudget) -> tuple[float | None, float | None]:
    return one.remaining_bounds or (None, None)


def _incidents(report: Report) -> Iterator[Block]:
    if report.replayed_from > report.period.since:
        yield Text(
            f"Before {report.period.at(report.replayed_from)} the ledger keeps hours, not minutes, of some SLO: "
            "what alerts fired on it then is not known any more."
        )
    if not report.costs:
        yield Text("No alert fired." if report.replayed_from <= report.period.since else "Since then no alert fired.")
        return
    zone = report.period.zone
    rows, words = [], []
    for cost in sorted(report.costs, key=lambda one: (one.incident.began, one.incident.slo.id)):
        incident = cost.incident
        name, first = name_of(incident.slo, incident.group), incident.alerts[0]
        when = span(incident.began, incident.ended, zone) + ("" if incident.over else ", goes on")
        rows.append((
            name,
            when,
            lasted(incident.seconds),
            alert_of(first.window),
            lasted(first.began - incident.began),
            percent(cost.share_at_detection),
            f"{count(cost.bad)} {unit_of(incident.slo)}",
            percent(cost.share),
            str(len(incident.alerts)),
        ))  # fmt: skip
        if cost.who is not None:
            words.append(f"{name}, {short(incident.began, zone)}: {cost.who.verdict.text}")
    columns = ("SLO", "burned", "for", "first alert", "after", "spent by then", "bad", "cost", "alerts")
    yield Table(
        "Incidents in order of time; what was spent and the cost are of the period's budget",
        columns,
        rows,
        frozenset({5, 6, 7, 8}),
    )
    yield Heading("Who spent, and what was seen at the same time", 3)
    yield Items(words)


def _exclusions(report: Report) -> Iterator[Block]:
    if not report.exclusions:
        yield Text("Nothing was excluded.")
        return
    zone = report.period.zone
    rows = []
    for one, budgets in report.exclusions:
        bad = [held for held in budgets if held.bad > 0]
        worth = [f"{percent(held.share)} of {name_of(held.budget.slo, held.budget.group)}" for held in bad]
        what = _some(worth, 3) if worth else "nothing was bad" if budgets else "nothing was counted"
        if one.undone is not None:
            what = f"taken back {short(one.undone, zone)} by {one.undone_by}"
        when = span(one.since, one.until, zone)
        rows.append((one.slo_id or "all SLOs", when, one.reason, one.author, short(one.made, zone), what))
    columns = ("of", "time", "why", "by", "entered", "bad in it, of the period's budget")
    yield Table("Spans that count for no budget", columns, rows)


def _gaps(report: Report) -> Iterator[Block]:
    spans: dict[Gap, list[str]] = {}
    for one in report.budgets:
        for gap in one.gaps:
            spans.setdefault(gap, []).append(name_of(one.slo, one.group))
    if not spans:
        yield Text("No stretch of five minutes or more went unwatched.")
        return
    zone, number = report.period.zone, len(report.budgets)
    rows = [
        (span(*gap, zone), lasted(gap.until - gap.since),
         f"all {number}" if len(names) == number and number > 1 else _some(names))
        for gap, names in sorted(spans.items(), key=lambda one: one[0])
    ]  # fmt: skip
    yield Text("They lower coverage and spend nothing: what happened in them is not known.")
    yield Table("Stretches without any count", ("time", "for", "SLOs"), rows[:MOST_GAPS])
    if len(rows) > MOST_GAPS:
        yield Text(f"{len(rows) - MOST_GAPS} more are not listed.")


def _revisions(report: Report) -> Iterator[Block]:
    if not report.revisions:
        yield Text("None: what each SLO counts stayed the same.")
        return
    period = report.period
    yield Text("Counts of different definitions are never mixed: the budgets above are those of the present one.")
    rows = [
        (slo_id, str(one.number), f"{period.at(one.first or 0)} to {period.at(one.end or 0)}",
         "present" if one.active else "earlier", definition_words(one.definition))
        for slo_id, some in report.revisions.items()
        for one in some
    ]  # fmt: skip
    yield Table("Revisions", ("SLO", "revision", "counted", "state", "counts"), rows, frozenset({1}))


def _notes(report: Report) -> Iterator[str]:
    yield (
        "Budget left: 100 % untouched, 0 % spent, below 0 overspent. A budget of requests is a share of those that "
        "came in the period, one of minutes a share of all its minutes. It is the period's own: the service's page "
        "shows the SLO's window, which ends now."
    )
    if any(one.remaining_bounds and one.remaining_bounds[0] != one.remaining_bounds[1] for one in report.budgets):
        yield "Two figures are bounds: the threshold lies between two buckets, and the truth between them."
    yield (
        "An incident is where the budget burned faster than allowed, around an alert; it begins with the first bad "
        "minute and ends with the last. Alerts are replayed over the ledger's minutes; rules in Prometheus differ by "
        "five minutes at most."
    )
    yield (
        "What was seen on hardware and engines at the same time is a coincidence until somebody has looked. A GPU is "
        "to be replaced when its row remap failed, or when a fatal XID that a reset should cure, or the loss of the "
        "GPU, came back after an hour or more; run the vendor's field diagnostic first."
    )
    yield "The GPUs of one replica spend together: what each is listed with is its replica's."


def _plural(number: int, thing: str) -> str:
    return thing if number == 1 else f"{thing}s"


def _numbered(number: int, thing: str) -> str:
    return f"{number or 'no'} {_plural(number, thing)}"


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
