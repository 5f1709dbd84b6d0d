"""`gpufleet slo exclude`, `export` and `import`: what people do to a ledger. They read and write its file directly."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Protocol

from exporter.model import InputError


class Add(Protocol):
    """Adds a command: its name, what it does, an example, what runs it."""

    def __call__(
        self, name: str, summary: str, example: str, run: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        """The command's parser."""


def configure(add: Add) -> None:
    """Add exclude, export and import."""
    exclude = add(
        "exclude",
        "leave a span of time out of budgets; reversible, and every row is kept",
        "exclude --from 2026-11-20T12:00:00Z --to 2026-11-20T14:00:00Z --slo chat-ttft --reason 'new racks' --by ada",
        _exclude,
    )
    exclude.add_argument(
        "--from", dest="since", type=instant, metavar="TIME", help="a day, UTC, or 2026-11-20T12:00:00Z"
    )
    exclude.add_argument("--to", dest="until", type=instant, metavar="TIME", help="its end; rounded to five minutes")
    which = exclude.add_mutually_exclusive_group()
    which.add_argument("--slo", metavar="ID", help="one SLO, as <service>-<name>")
    which.add_argument("--all", action="store_true", help="all SLOs, later ones too")
    exclude.add_argument("--reason", metavar="TEXT", help="why; reports show it")
    exclude.add_argument("--by", metavar="NAME", help="who says so")
    exclude.add_argument("--undo", type=int, metavar="NUMBER", help="take one back (with --by)")
    exclude.add_argument("--list", action="store_true", help="show all, those that were undone too")
    export = add("export", "copy the ledger, also while it is in use", "export ledger-copy.sqlite", _export)
    export.add_argument("file", type=Path, metavar="FILE", help="a new file, an SQLite database")
    take = add("import", "take a copy over into a ledger that nothing serves", "import ledger-copy.sqlite", _import)
    take.add_argument("file", type=Path, metavar="FILE", help="what `slo export` wrote")
    for one in (exclude, export, take):
        one.add_argument("--data", type=Path, metavar="DIR", help="where it lies (default: your state directory)")


def instant(text: str) -> float:
    """Read a time in RFC 3339, or a day, which begins at midnight UTC; for argparse."""
    with contextlib.suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), clock(), UTC).timestamp()
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write it as 2026-11-20T12:00:00Z, or a day as 2026-11-20"
        ) from None
    if when.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone: end it with Z, or with an offset like +01:00")
    return when.timestamp()


def _exclude(args: argparse.Namespace) -> int:
    from gpufleet.data import LEDGER_FILE, data_directory, told  # noqa: PLC0415 (the others need no database)
    from slo import exclusions  # noqa: PLC0415
    from slo.ledger_file import existing  # noqa: PLC0415

    new = args.since is not None or args.until is not None
    if new + (args.undo is not None) + args.list != 1:
        raise InputError("exclude: give --from and --to, or --undo NUMBER, or --list")
    with told(), existing(data_directory(args.data) / LEDGER_FILE) as db:
        if args.list:
            for one in exclusions.read(db):
                print(_line(one))
        elif args.undo is not None:
            _needs(args, "by")
            found = exclusions.undo(db, args.undo, author=args.by, now=time.time())
            if found is None:
                raise InputError(f"--undo {args.undo}: no exclusion of that number holds: --list shows them")
            print(_line(found))
        else:
            _needs(args, "since", "until", "reason", "by")
            if args.until <= args.since:
                raise InputError("--to: must be later than --from")
            if not (args.slo or args.all):
                raise InputError("exclude: say which SLO with --slo ID, or --all")
            known = exclusions.slo_ids(db)
            if args.slo and args.slo not in known:
                raise InputError(f"--slo {args.slo}: the ledger knows no such SLO; it has {', '.join(known) or 'none'}")
            span = (args.since, args.until, args.slo)
            print(_line(exclusions.add(db, *span, reason=args.reason, author=args.by, now=time.time())))
    return 0


def _needs(args: argparse.Namespace, *names: str) -> None:
    flags = {"since": "--from", "until": "--to", "reason": "--reason", "by": "--by"}
    missing = [flags[name] for name in names if not getattr(args, name)]
    if missing:
        raise InputError(f"exclude: {' and '.join(missing)} is missing: every row says what, why and who")


def _line(one: object) -> str:
    from slo.exclusions import Exclusion  # noqa: PLC0415 (imported by then)

    assert isinstance(one, Exclusion)
    undone = f"; undone {_text(one.undone)} by {one.undone_by}" if one.undone is not None else ""
    which = one.slo_id or "all SLOs"
    return f"{one.number}: {which}, {_text(one.since)} to {_text(one.until)}: {one.reason} ({one.author}){undone}"


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _export(args: argparse.Namespace) -> int:
    from gpufleet.data import LEDGER_FILE, data_directory, told  # noqa: PLC0415
    from slo import archive  # noqa: PLC0415

    with told():
        archive.export(data_directory(args.data) / LEDGER_FILE, args.file)
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB")
    return 0


def _import(args: argparse.Namespace) -> int:
    from gpufleet.data import LEDGER_FILE, data_directory, locked, told  # noqa: PLC0415
    from slo import archive  # noqa: PLC0415

    data = data_directory(args.data)
    with told(), locked(data):
        done = archive.restore(data / LEDGER_FILE, args.file)
    known = f", {done.known_minutes} were there already" if done.known_minutes else ""
    print(f"{args.file}: {done.minutes} minutes of {done.groups} SLOs and groups taken over{known}")
    return 0
