"""`gpufleet alerts`: write rules, their tests and Alertmanager's routes from SLO files; check and test them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from alerts import alertmanager, check, rules, selftest
from alerts.links import Links
from exporter.model import InputError
from gpufleet.listen import http_url
from slo.spec import load

_EPILOG = """examples:
  gpufleet alerts write --slos slos/ --out alerts/     rules.yaml, alertmanager.yml, tests/
  gpufleet alerts check alerts/                        promtool and amtool where they are; exit 1 on a fault
  gpufleet alerts test alerts/                         each alert fires when it should, and only then"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `write`, `check` and `test`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="alerts_command", metavar="command", required=True)
    writing = commands.add_parser(
        "write",
        help="write alert rules, their tests and Alertmanager's routes for SLO files",
        description="Writes rules.yaml (Prometheus), tests/ (promtool) and alertmanager.yml (PagerDuty).",
        epilog="example: gpufleet alerts write --slos slos/ --out alerts/",
    )
    writing.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
    writing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files go; made if missing")
    writing.add_argument("--format", choices=["prometheus"], default="prometheus", help="default: %(default)s")
    writing.add_argument(
        "--scrape-interval",
        type=_seconds,
        default=15,
        metavar="15s",
        help="how often Prometheus scrapes the agents (default: 15s)",
    )
    writing.add_argument(
        "--runbooks",
        type=http_url,
        default=Links().runbooks,
        metavar="URL",
        help="where runbooks are (default: %(default)s)",
    )
    writing.add_argument(
        "--board", type=http_url, default=Links().board, metavar="URL", help="the SLO board (default: %(default)s)"
    )
    writing.set_defaults(run=_write)
    for name, summary, run in (
        ("check", "check written rules and routes", _check),
        ("test", "run the promtool tests of written rules", _test),
    ):
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=f"example: gpufleet alerts {name} alerts/"
        )
        sub.add_argument("directory", type=Path, metavar="DIR", help="what `gpufleet alerts write` wrote")
        sub.set_defaults(run=run)


def _write(args: argparse.Namespace) -> int:
    slos = load([args.slos])
    links = Links(args.runbooks, args.board)
    tests = {Path(check.TESTS, name): text for name, text in selftest.files(slos).items()}
    texts = {
        Path(check.RULES): rules.render(slos, scrape_interval_seconds=args.scrape_interval, links=links),
        Path(check.ALERTMANAGER): alertmanager.render(slos),
        **tests,
    }
    out: Path = args.out
    try:
        for old in out.glob(f"{check.TESTS}/*.yaml"):  # of shapes that no SLO has any more
            if old.relative_to(out) not in texts and old.read_text(encoding="utf-8").startswith(rules.HEADER):
                old.unlink()
        for path, text in texts.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_text(text, encoding="utf-8")
            print(f"wrote {out / path}")
    except OSError as error:
        raise InputError(f"{out}: cannot write ({error.strerror}), choose another directory") from error
    return 0


def _check(args: argparse.Namespace) -> int:
    return _say(check.check(args.directory))


def _test(args: argparse.Namespace) -> int:
    return _say(check.test(args.directory))


def _say(report: check.Report) -> int:
    for line in report.ran:
        print(f"ran      {line}")
    for line in report.skipped:
        print(f"skipped  {line}")
    for fault in report.faults:
        print(fault, file=sys.stderr)
    return 1 if report.faults else 0


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,3})s", text, re.ASCII)
    if not match or int(match[1]) > 120:
        raise argparse.ArgumentTypeError(f"{text!r} is not a scrape interval: write 1s to 120s, like 15s")
    return int(match[1])
