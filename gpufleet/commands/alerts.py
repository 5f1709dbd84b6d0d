"""`gpufleet alerts`: write rules, their tests and Alertmanager's routes from SLO files; check and test them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from alerts import (
    alertmanager,
    alertmanager_operator,
    check,
    formats,
    rules,
    selftest,
    selftest_vmalert,
    settings_file,
)
from alerts import settings as alert_settings
from alerts.links import Links
from exporter.model import InputError
from gpufleet.listen import http_url
from slo.spec import load

_EPILOG = """examples:
  gpufleet alerts write --slos slos/ --out alerts/     rules.yaml, alertmanager.yml, tests/
  gpufleet alerts write --slos slos/ --out alerts/ --format operator --settings alerts.yaml
  gpufleet alerts check alerts/                        promtool and amtool where they are; exit 1 on a fault
  gpufleet alerts test alerts/                         each alert fires when it should, and only then"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `write`, `check` and `test`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="alerts_command", metavar="command", required=True)
    writing = commands.add_parser(
        "write",
        help="write alert rules, their tests and Alertmanager's routes for SLO files",
        description="Writes rules, tests/ (promtool, vmalert-tool) and Alertmanager's routes: rules.yaml and "
        "alertmanager.yml for Prometheus and Thanos, and for vmalert, which needs its own; prometheusrule.yaml and "
        "alertmanagerconfig.yaml for the Prometheus operator; mimir.yaml for mimirtool.",
        epilog="example: gpufleet alerts write --slos slos/ --out alerts/",
    )
    writing.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
    writing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files go; made if missing")
    writing.add_argument("--format", choices=formats.FORMATS, default="prometheus", help="default: %(default)s")
    writing.add_argument(
        "--pack", action="store_true", help=f"several SLOs a group, up to {rules.MAX_RULES} rules, for Mimir's limits"
    )
    writing.add_argument(
        "--settings", type=Path, metavar="FILE", help="severities, receivers, teams, office hours as YAML"
    )
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
        metavar="URL",
        help=f"where runbooks are (default: {Links().runbooks})",
    )
    writing.add_argument("--board", type=http_url, metavar="URL", help=f"the SLO board (default: {Links().board})")
    writing.add_argument(
        "--page", type=http_url, metavar="URL", help=f"the SLO service's page (default: {Links().page})"
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
    settings = settings_file.load(args.settings) if args.settings else alert_settings.Settings()
    links = settings.links_to(runbooks=args.runbooks, board=args.board, page=args.page)
    late = args.format == "vmalert"
    found = rules.groups(slos, scrape_interval_seconds=args.scrape_interval, links=links, settings=settings, late=late)
    if args.pack:
        found = formats.pack(found)
    name, text = formats.render(args.format, found, settings)
    if args.format == "mimir" and (warning := formats.too_many(found, packed=args.pack)):
        print(warning, file=sys.stderr)
    routes = (
        {check.OPERATOR: alertmanager_operator.render(slos, settings)}
        if args.format == "operator"
        else {check.ALERTMANAGER: alertmanager.render(slos, settings)}
    )
    shapes = selftest.shapes_of(slos)
    proofs = (selftest_vmalert if late else selftest).files(shapes) | selftest.health_files()
    tests = {Path(check.TESTS, name): text for name, text in proofs.items()}
    texts = {name: text, **{Path(file): text for file, text in routes.items()}, **tests}
    out: Path = args.out
    try:
        generated = [*formats.FILES, Path(check.ALERTMANAGER), Path(check.OPERATOR)]
        old_files = [out / file for file in generated if (out / file).exists()]
        for old in [*old_files, *out.glob(f"{check.TESTS}/*.yaml")]:  # other forms; shapes that no SLO has any more
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
