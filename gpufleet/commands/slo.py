"""`gpufleet slo`: validate, show, compare and serve SLO files, ask a service for its budgets, keep its ledger."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.model import InputError
from gpufleet import budget_table, objectives, paging, slo_text, source_options
from gpufleet.commands import slo_backtest, slo_ledger, slo_report
from gpufleet.listen import Address, address, http_url
from slo import spec
from slo.model import Slo
from slo.sharding import Shard, parse_shard

_EPILOG = """examples:
  gpufleet slo validate slos/                                     exit 1 where a file is at fault
  gpufleet slo show slos/                                         buckets, windows, detection times
  gpufleet slo diff slos/ new/                                    which budgets and alerts change
  gpufleet slo serve --slos slos/ --agent http://node-1:9400      budgets, API and page
  gpufleet slo budget chat-ttft                                   what is left, from a running service
  gpufleet slo exclude --from 2026-11-20T12:00:00Z --to 2026-11-20T14:00:00Z --all --reason "new racks" --by ada
  gpufleet slo backtest --slos slos/ --from 2026-11-01 --to 2026-11-08 --windows own --windows sloth
  gpufleet slo report --slos slos/ --quarter 2026-Q3              budgets, incidents, spenders, hardware of a quarter
  gpufleet slo incident --slos slos/ --slo chat-ttft              a post-mortem draft of its last incident
  gpufleet slo export ledger-copy.sqlite                          a copy of the ledger; `slo import` takes it over"""
_PAGE = "http://127.0.0.1:9490"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add validate, show, serve, diff, budget, and those of the ledger."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="slo_command", metavar="command", required=True)

    def add(name: str, summary: str, example: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, epilog=f"example: gpufleet slo {example}")
        sub.set_defaults(run=run)
        return sub

    for name, summary, run in (
        ("validate", "check SLO files; say every fault as file:line: what, and what to do", _validate),
        ("show", "show what follows from SLO files: buckets, windows, factors, detection times", _show),
    ):
        sub = add(name, summary, f"{name} slos/", run)
        sub.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a directory of *.yaml files")
        if run is _show:
            sub.add_argument(
                "--agent-settings",
                action="store_true",
                help="print `objectives` for the settings of agents, which count probes and traces against them",
            )
    _configure_serve(
        add("serve", "keep budgets and serve API and page", "serve --slos slos/ --agent http://node-1:9400", _serve)
    )
    diff = add("diff", "show which budgets and alerts change between two sets of SLO files", "diff slos/ new/", _diff)
    for name in ("old", "new"):
        diff.add_argument(name, type=Path, metavar=name.upper(), help="a file, or a directory of *.yaml files")
    budget = add("budget", "print the budgets of a running service", f"budget --url {_PAGE} chat-ttft", _budget)
    budget.add_argument("--url", type=http_url, default=_PAGE, help="address of the service (default: %(default)s)")
    budget.add_argument("id", nargs="?", metavar="ID", help="one SLO, as <service>-<name>; all unless given")
    slo_ledger.configure(add)
    slo_report.configure(add)
    slo_backtest.configure(add)


def _configure_serve(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml), followed as they change"
    )
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--prometheus", type=http_url, metavar="URL", help=source_options.PROMETHEUS_HELP)
    source.add_argument(
        "--agent",
        type=source_options.agent_url,
        action="append",
        metavar="URL",
        help="an agent to scrape, or dns://name:port for all behind a name; may be given several times",
    )
    source_options.configure_access(sub)
    sub.add_argument("--data", type=Path, metavar="DIR", help="where the ledger lies (default: your state directory)")
    sub.add_argument(
        "--shard", type=_shard, default=Shard(), metavar="K/N", help="keep the SLOs of shard K (from 0) of N alone"
    )
    sub.add_argument(
        "--listen", type=address, default=Address("127.0.0.1", 9490), metavar="HOST:PORT", help="default: %(default)s"
    )
    sub.add_argument(
        "--web-config", type=Path, metavar="FILE", help="TLS and passwords, as Prometheus' exporters take them"
    )
    paging.configure(sub)


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _validate(args: argparse.Namespace) -> int:
    reports = spec.reports_of(args.paths)
    for report in reports:
        unsupported = f"{len(report.unsupported)} unsupported, " if report.unsupported else ""
        usable = _count(len(report.slos), "usable SLO")
        print(f"{report.path}: {usable}, {unsupported}{_count(len(report.problems), 'fault')}")
        for line in (*report.unsupported, *report.notes):
            print(f"  {line}")
        for problem in report.problems:
            print(problem, file=sys.stderr)
    return 1 if any(report.problems for report in reports) else 0


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _show(args: argparse.Namespace) -> int:
    if args.agent_settings:
        print(objectives.settings_text(spec.load(args.paths)), end="")
        return 0
    columns = shutil.get_terminal_size((slo_text.WIDTH, 24)).columns
    print(slo_text.show(spec.load(args.paths), max(slo_text.LEAST_WIDTH, min(slo_text.WIDTH, columns))))
    return 0


def _serve(args: argparse.Namespace) -> int:
    from gpufleet.following import SloFiles  # noqa: PLC0415 (validate and show need no server and no database)
    from gpufleet.serving import open_and_serve  # noqa: PLC0415 (the same)

    def read() -> list[Slo]:
        slos: list[Slo] = args.shard.of(spec.load([args.slos]))
        _tell_what_cannot_be_counted(slos, agents=bool(args.agent))
        return slos

    files = SloFiles(args.slos, read)
    print(f"{_count(len(files.slos), 'SLO')} from {args.slos}", flush=True)
    asyncio.run(
        open_and_serve(
            files,
            source_options.source_of(args, files.slos),
            data=args.data,
            listen=args.listen,
            paging=paging.paging_of(args),
            web_config=args.web_config,
        )
    )
    return 0


def _tell_what_cannot_be_counted(slos: Sequence[Slo], *, agents: bool) -> None:
    """Say what rules alone can count. Raises InputError where only Prometheus has the series."""
    own = [slo for slo in slos if slo.indicator is not None]
    if own and agents:
        raise InputError(
            "\n".join(
                f"{slo.location}: {slo.id} counts series of your own, which agents do not have: "
                "serve it with --prometheus, or move it to another directory"
                for slo in own
            )
        )
    for slo in own:
        if slo.indicator is not None and slo.indicator.rules_only:
            print(f"{slo.location}: {slo.id} is watched by rules alone: no budget of it is kept here", file=sys.stderr)


def _diff(args: argparse.Namespace) -> int:
    from gpufleet import slo_diff  # noqa: PLC0415 (only this command compares)

    print(slo_diff.diff(spec.load([args.old]), spec.load([args.new])))
    return 0


def _budget(args: argparse.Namespace) -> int:
    from gpufleet.slo_client import fetch  # noqa: PLC0415 (only this command asks a service)

    found = [one for one in asyncio.run(fetch(args.url)) if args.id in (None, one["id"])]
    if args.id is not None and not found:
        raise InputError(f"{args.url}: no SLO {args.id!r}: gpufleet slo budget --url {args.url} lists all")
    print("\n".join(budget_table.budgets(found)))
    return 0
