"""`gpufleet slo backtest`: which alerts history would have fired, when, and what they cost, under several windows."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from exporter.model import InputError
from gpufleet import source_options
from gpufleet.commands.slo_ledger import Add, instant
from gpufleet.listen import http_url
from slo import spec
from slo.backtest import OWN, SLOTH, Outcome, conditions, count_past, outcome, reach
from slo.ledger_reader import LedgerReader
from slo.model import Slo

SETTLED_SECONDS = 120
"""A minute is whole once a scrape behind it was read."""


def configure(add: Add) -> None:
    """Add backtest."""
    sub = add(
        "backtest",
        "replay history: which alerts would have fired, when, and what they cost; windows side by side",
        "backtest --slos slos/ --from 2026-11-01 --to 2026-11-08 --windows own --windows sloth",
        _backtest,
    )
    sub.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
    source = sub.add_mutually_exclusive_group()
    source.add_argument(
        "--data", type=Path, metavar="DIR", help="where the ledger lies (default: your state directory)"
    )
    source.add_argument("--prometheus", type=http_url, metavar="URL", help=source_options.PROMETHEUS_HELP)
    source_options.configure_access(sub)
    sub.add_argument(
        "--from", dest="since", type=instant, required=True, metavar="TIME", help="a day, UTC, or 2026-11-01T12:00:00Z"
    )
    sub.add_argument(
        "--to", dest="until", type=instant, required=True, metavar="TIME", help="end of what is replayed, likewise"
    )
    sub.add_argument("--slo", metavar="ID", help="one SLO, as <service>-<name>; all unless given")
    sub.add_argument(
        "--windows",
        action="append",
        metavar="SET",
        help=f"{OWN} (the SLO's, the default), {SLOTH}, or a list like page:1h/5m:14.4,ticket:1d/2h:3; several compare",
    )
    sub.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def _backtest(args: argparse.Namespace) -> int:
    if args.until <= args.since:
        raise InputError("--to: must be later than --from")
    slos = [one for one in spec.load([args.slos]) if args.slo in (None, one.id)]
    if not slos:
        raise InputError(f"--slo {args.slo}: no such SLO in {args.slos}: gpufleet slo show {args.slos} lists all")
    names = list(dict.fromkeys(args.windows or [OWN]))
    try:
        sets = {one.id: {name: conditions(name, one) for name in names} for one in slos}
    except ValueError as error:
        raise InputError(f"--windows: {error}") from None
    since = {one.id: reach(one, [w for rows in sets[one.id].values() for w in rows], args.since) for one in slos}
    with _counted(args, slos, min(since.values())) as ledger:
        found = [
            outcome(
                ledger,
                one,
                group,
                since=args.since,
                until=args.until,
                name=name,
                windows=rows,
                simulated=ledger.simulated(one.id),
            )
            for one in slos
            for group in _groups(ledger, one, args)
            for name, rows in sets[one.id].items()
        ]
    if args.format == "json":
        print(json.dumps([_object(one, args.until) for one in found], indent=1))
    else:
        print("\n".join(_table(found, args.until)))
    return 0


@contextlib.contextmanager
def _counted(args: argparse.Namespace, slos: Sequence[Slo], since: float) -> Iterator[LedgerReader]:
    """The ledger that there is, or one made of what Prometheus has."""
    from gpufleet.data import LEDGER_FILE, data_directory, told  # noqa: PLC0415 (the others need no database)

    if args.prometheus is None:
        with told(), LedgerReader.reading(data_directory(args.data) / LEDGER_FILE) as ledger:
            yield ledger
        return
    with tempfile.TemporaryDirectory(prefix="gpufleet-backtest-") as folder:
        yield asyncio.run(_read(args, slos, since, Path(folder)))


async def _read(args: argparse.Namespace, slos: Sequence[Slo], since: float, folder: Path) -> LedgerReader:
    from slo.ledger import Ledger  # noqa: PLC0415
    from slo.sources.prometheus import PrometheusSource  # noqa: PLC0415

    source = source_options.source_of(args, slos)
    assert isinstance(source, PrometheusSource)
    begins = await source.earliest(since, args.until)
    since = args.until if begins is None else max(since, begins - 3600.0)  # it is told to the hour
    end = max(args.until, min(time.time(), args.until + SETTLED_SECONDS))
    past = source.past(slos, since, end)
    ledger = Ledger(folder / "ledger.sqlite")

    told = 0

    def tell(through: float) -> None:
        nonlocal told
        tenths = int(10 * (through - since) / max(1.0, args.until - since))
        if tenths > told:
            told = tenths
            print(f"{source.name}: read to {_time(through)}, {10 * tenths} %", file=sys.stderr)

    try:
        why = await count_past(slos, past, ledger, end, tell)
    finally:
        await past.close()
        await source.close()
    if why:
        raise InputError(f"{source.name}: {why}: read to {_time(past.through)} only; try again once it answers")
    return ledger


def _groups(ledger: LedgerReader, slo: Slo, args: argparse.Namespace) -> list[tuple[tuple[str, str], ...]]:
    """Those with counts. Says on stderr where there are none, or minutes are no longer kept."""
    groups = ledger.groups(slo.id)
    counted = [group for group in groups if ledger.began(slo.id, group) is not None]
    if not counted:
        print(f"{slo.location}: {slo.id} has no counts there: nothing is replayed", file=sys.stderr)
    for group in counted:
        kept = ledger.minutes_from(slo.id, group)
        if kept is not None and kept > args.since and (ledger.began(slo.id, group) or kept) < kept:
            print(
                f"{slo.location}: {slo.id} is kept by hours before {_time(kept)}: alerts are only near then",
                file=sys.stderr,
            )
    return counted


def _table(found: Sequence[Outcome], until: float) -> list[str]:
    lines = []
    for one in found:
        group = "".join(f" {key}={value}" for key, value in one.group)
        unseen = "" if one.unseen is None else f", {one.unseen:.1%} of what was bad while nothing fired"
        coverage = f"coverage {one.counts.coverage:.1%}{', simulated' if one.simulated else ''}"
        lines.append(
            f"{one.slo.id}{group}, windows {one.windows}: {_times(one, 'page', until)}, {_times(one, 'ticket', until)}"
            f"{unseen} ({coverage})"
        )
        for fired in one.fired:
            firing, window = fired.firing, fired.firing.window
            ended = "still firing" if firing.ended is None else f"for {_span(firing.ended - firing.began)}"
            lines.append(
                f"  {_time(firing.began)}  {window.severity:6} {window.long}/{window.short} over {window.factor}"
                f"  {ended}; spent {_share(fired.spent)}, left {_share(fired.left)}"
            )
    return lines


def _times(one: Outcome, severity: str, until: float) -> str:
    count = sum(fired.firing.window.severity == severity for fired in one.fired)
    told = f"{count} {severity}{'' if count == 1 else 's'}"
    return f"{told} ({_span(one.seconds(severity, until))})" if count else told


def _object(one: Outcome, until: float) -> dict[str, object]:
    return {
        "id": one.slo.id,
        "group": dict(one.group),
        "windows": one.windows,
        "coverage": round(one.counts.coverage, 9),
        "simulated": one.simulated,
        "page_seconds": one.seconds("page", until),
        "ticket_seconds": one.seconds("ticket", until),
        "unseen_ratio": one.unseen,
        "alerts": [
            {
                "severity": f.firing.window.severity,
                "long": f.firing.window.long,
                "short": f.firing.window.short,
                "factor": str(f.firing.window.factor),
                "began": _time(f.firing.began),
                "ended": None if f.firing.ended is None else _time(f.firing.ended),
                "error_budget_remaining": f.left,
                "error_budget_spent": f.spent,
            }
            for f in one.fired
        ],
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return " ".join(f"{n}{unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if n) or "0m"


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%} of the budget"
