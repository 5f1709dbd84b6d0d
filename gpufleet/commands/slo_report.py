"""`gpufleet slo report` and `slo incident`: what people read of a ledger afterwards. They read its file alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from exporter.model import InputError
from gpufleet.commands.slo_ledger import Add

if TYPE_CHECKING:
    from slo.incident import Incident
    from slo.ledger_reader import LedgerReader
    from slo.model import Slo
    from slo.report.period import Period

T = TypeVar("T")


def configure(add: Add) -> None:
    """Add report and incident."""
    report = add(
        "report",
        "a month, a quarter or any span in figures: budgets, incidents and their cost, spenders, hardware",
        "report --slos slos/ --month 2026-10 --time-zone Europe/Berlin --format html --out october.html",
        _report,
    )
    which = report.add_mutually_exclusive_group()
    which.add_argument("--month", metavar="YYYY-MM", help="a calendar month (default: the present one, so far)")
    which.add_argument("--quarter", metavar="YYYY-QN", help="a quarter, as 2026-Q3")
    incident = add(
        "incident",
        "draft a blameless post-mortem of one incident, as Markdown",
        "incident --slos slos/ --slo chat-ttft --latest --out postmortem.md",
        _incident,
    )
    incident.add_argument("--slo", required=True, metavar="ID", help="which SLO burned, as <service>-<name>")
    incident.add_argument("--latest", action="store_true", help="the last one that an alert fired on (the default)")
    for sub in (report, incident):
        sub.add_argument("--from", dest="since", metavar="TIME", help="a day, or a time as 2026-11-20T12:00:00Z")
        sub.add_argument("--to", dest="until", metavar="TIME", help="its end, likewise (default: the end of the data)")
        sub.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
        sub.add_argument(
            "--data", type=Path, metavar="DIR", help="where the ledger lies (default: your state directory)"
        )
        sub.add_argument("--time-zone", default="UTC", metavar="NAME", help="as Europe/Berlin (default: %(default)s)")
        sub.add_argument("--out", type=Path, metavar="FILE", help="write there, not to the terminal")
    report.add_argument("--format", choices=("md", "html"), default="md", help="default: %(default)s")


def _report(args: argparse.Namespace) -> int:
    from gpufleet.data import LEDGER_FILE, data_directory, told  # noqa: PLC0415 (the others need no database)
    from slo import spec  # noqa: PLC0415
    from slo.ledger_reader import LedgerReader  # noqa: PLC0415
    from slo.report import gather, html, telling  # noqa: PLC0415

    slos = spec.load([args.slos])
    path = (args.data or data_directory(None)) / LEDGER_FILE  # one that is named is not made
    with told(), LedgerReader.reading(path) as ledger:
        period = _period(args, ledger, slos)
        found = gather.gather(ledger, slos, period)
        if not found.budgets:
            raise InputError(f"{path}: nothing was counted in {period.title}: {_extent(ledger, slos)}")
    document = telling.tell(found)
    _write(html.page(document) if args.format == "html" else document.markdown(), args.out)
    return 0


def _incident(args: argparse.Namespace) -> int:
    from gpufleet.data import LEDGER_FILE, data_directory, told  # noqa: PLC0415
    from slo import spec  # noqa: PLC0415
    from slo.ledger_reader import LedgerReader  # noqa: PLC0415
    from slo.periods import zone  # noqa: PLC0415
    from slo.report import findings, postmortem  # noqa: PLC0415
    from slo.report.budgets import counted_as  # noqa: PLC0415

    if args.latest and (args.since or args.until):
        raise InputError("--latest: give it, or --from and --to")
    slos = {slo.id: slo for slo in spec.load([args.slos])}
    slo = slos.get(args.slo)
    if slo is None:
        raise InputError(f"--slo {args.slo}: {args.slos} has no such SLO; it has {', '.join(slos) or 'none'}")
    where = _checked("--time-zone", lambda: zone(args.time_zone))
    path = (args.data or data_directory(None)) / LEDGER_FILE  # one that is named is not made
    with told(), LedgerReader.reading(path) as ledger:
        if not counted_as(ledger, slo):
            raise InputError(
                f"{slo.location}: {slo.id} is not what {path} counts: serve it first, or name its old file"
            )
        chosen, others = _choose(args, ledger, slo)
        found = findings.find(ledger, chosen, others)
    _write(postmortem.draft(found, where).markdown(), args.out)
    return 0


def _period(args: argparse.Namespace, ledger: LedgerReader, slos: list[Slo]) -> Period:
    from slo.report import period  # noqa: PLC0415

    if args.month is not None or args.quarter is not None:
        if args.since or args.until:
            raise InputError("--from, --to: give them, or --month, or --quarter")
        if args.month is not None:
            return _checked("--month", lambda: period.month(args.month, args.time_zone))
        return _checked("--quarter", lambda: period.quarter(args.quarter, args.time_zone))
    end = max((through for slo in slos if (through := ledger.data_through(slo.id)) is not None), default=None)
    if end is None:
        raise InputError(f"{ledger.path}: nothing was counted of these SLOs: {_extent(ledger, slos)}")
    if args.since is None:
        if args.until is not None:
            raise InputError("--to: give --from as well")
        return _checked("--time-zone", lambda: period.month_of(end - 1, args.time_zone))
    return _span(args, end)


def _span(args: argparse.Namespace, end: float) -> Period:
    from slo.report import period  # noqa: PLC0415

    since = _checked("--from", lambda: period.parse_moment(args.since, args.time_zone))
    until = end
    if args.until is not None:
        until = _checked("--to", lambda: period.parse_moment(args.until, args.time_zone))
    return _checked("--to", lambda: period.between(since, until, args.time_zone))


def _choose(args: argparse.Namespace, ledger: LedgerReader, slo: Slo) -> tuple[Incident, list[Incident]]:
    """The incident that is asked for, and those of other groups at the same time."""
    from slo import incident  # noqa: PLC0415
    from slo.report.gather import replayable_from  # noqa: PLC0415

    end = ledger.data_through(slo.id)
    if end is None:
        raise InputError(f"{ledger.path}: nothing was counted of {slo.id}: {_extent(ledger, [slo])}")
    if args.until is not None and args.since is None:
        raise InputError("--to: give --from as well")
    span = _span(args, end) if args.since is not None else None
    found: list[Incident] = []
    for group in ledger.groups(slo.id):
        kept = replayable_from(ledger, slo, group)
        since = kept if span is None else max(kept, span.since)
        several = incident.incidents(ledger, slo, group, since=since, until=end)
        if span is not None:
            until = min(end, span.until)
            within = [one for one in several if one.began < until]
            whole = incident.together(ledger, within, until=end) or incident.burned(
                ledger, slo, group, since=since, until=until, through=end
            )
            several = [whole] if whole is not None else []
        found += several
    if not found:
        if span is not None:
            raise InputError(f"{slo.id}: its budget burned nowhere faster than allowed in {span.title}")
        raise InputError(f"{slo.id}: no alert fired that the ledger knows of: name a span with --from and --to")
    if span is None:
        chosen = max(found, key=lambda one: (one.ended, one.counts.bad))
    else:
        chosen = max(found, key=lambda one: (one.share(one.counts.bad) or 0.0, one.counts.bad))
    others = [
        one for one in found if one.group != chosen.group and one.began < chosen.ended and one.ended > chosen.began
    ]
    return chosen, others


def _extent(ledger: LedgerReader, slos: list[Slo]) -> str:
    """From when to when the ledger has counts of the SLOs, and what to do."""
    from slo.report.period import UTC_ZONE, moment_text  # noqa: PLC0415

    begun = [b for slo in slos for group in ledger.groups(slo.id) if (b := ledger.began(slo.id, group)) is not None]
    ends = [e for slo in slos if (e := ledger.data_through(slo.id)) is not None]
    if not begun or not ends:
        return "serve them first, or name the --data that their ledger lies in"
    return f"it has {moment_text(min(begun), UTC_ZONE)} to {moment_text(max(ends), UTC_ZONE)}: name a span in it"


def _checked(flag: str, make: Callable[[], T]) -> T:
    """What `make` gives, its ValueError as the input's fault."""
    try:
        return make()
    except ValueError as error:
        raise InputError(f"{'--time-zone' if 'time zone' in str(error) else flag}: {error}") from None


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}): choose another with --out") from error
    print(f"wrote {out}")
