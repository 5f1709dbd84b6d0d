"""`gpufleet dashboards`: write the boards of a directory of SLO files, put them into a Grafana, and check boards."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from dashboards.boards import NO_PRICES, PAGE_URL, render
from dashboards.check import check
from dashboards.delivery import FOLDER, PROVISIONED_PATH, Form, files
from dashboards.normalise import Json
from dashboards.prices import load_prices
from exporter.model import InputError
from gpufleet.grafana import push, read_token
from slo.spec import load

_EPILOG = """examples:
  gpufleet dashboards write --slos slos/ --out boards/     one JSON file a board, named by its uid
  gpufleet dashboards write --slos slos/ --out boards/ --format configmaps
  gpufleet dashboards push --slos slos/ --grafana https://grafana.example --token-file token
  gpufleet dashboards check boards/                        hold them against the rules; exit 1 where one fails"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `write`, `push` and `check`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="dashboards_command", metavar="command", required=True)
    writing = commands.add_parser(
        "write",
        help="write Grafana dashboards for SLO files",
        description="Writes one file a board: JSON; JSON with a provider for Grafana's provisioning; or ConfigMaps for "
        "the sidecar of Grafana's Helm chart.",
        epilog="example: gpufleet dashboards write --slos slos/ --out boards/ --format configmaps",
    )
    _what(writing)
    writing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the boards go; made if missing")
    writing.add_argument(
        "--format", choices=[*Form], type=Form, default=Form.JSON, help="how they are written (default: %(default)s)"
    )
    writing.add_argument(
        "--provisioned-path",
        default=PROVISIONED_PATH,
        metavar="DIR",
        help="with --format provisioned, where Grafana finds the boards (default: %(default)s)",
    )
    writing.set_defaults(run=_write)
    pushing = commands.add_parser(
        "push",
        help="put the dashboards of SLO files into a Grafana",
        description="Puts the boards into a folder of a Grafana by its API, in place of those of the same uid.",
        epilog="example: gpufleet dashboards push --slos slos/ --grafana https://grafana.example --token-file token",
    )
    _what(pushing)
    pushing.add_argument("--grafana", required=True, metavar="URL", help="address of Grafana")
    pushing.add_argument(
        "--token-file", type=Path, required=True, metavar="FILE", help="token of a service account with role Editor"
    )
    pushing.set_defaults(run=_push)
    checking = commands.add_parser(
        "check",
        help="check Grafana dashboards",
        description="Checks every *.json below DIR; says `file: panel: what, and what to do` and exits 1 on a fault.",
        epilog="example: gpufleet dashboards check boards/",
    )
    checking.add_argument("directory", type=Path, metavar="DIR")
    checking.set_defaults(run=_check)


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
    parser.add_argument(
        "--page-url",
        default=PAGE_URL,
        metavar="URL",
        help="address of the SLO service, for links (default: %(default)s)",
    )
    parser.add_argument(
        "--gpu-prices",
        type=Path,
        metavar="FILE",
        help="YAML with `currency: USD` and `gpu_hour: {<modelName>: 2.50}`, for the cost board; none by default",
    )
    parser.add_argument("--per-service", action="store_true", help="a copy of the SLO board for each service, too")
    parser.add_argument("--folder", default=FOLDER, help="Grafana's folder for the boards (default: %(default)s)")


def _boards(args: argparse.Namespace) -> dict[str, Json]:
    prices = load_prices(args.gpu_prices) if args.gpu_prices else NO_PRICES
    page = args.page_url.rstrip("/")
    return render(load([args.slos]), page_url=page, prices=prices, per_service=args.per_service)


def _write(args: argparse.Namespace) -> int:
    texts = files(_boards(args), args.format, folder=args.folder, path=args.provisioned_path)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = args.out / name
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    except OSError as error:
        raise InputError(f"{args.out}: cannot write ({error.strerror}), choose another directory") from error
    return 0


def _push(args: argparse.Namespace) -> int:
    token = read_token(args.token_file)
    for url in asyncio.run(push(_boards(args), grafana=args.grafana, token=token, folder=args.folder)):
        print(f"pushed {url}")
    return 0


def _check(args: argparse.Namespace) -> int:
    found = check(args.directory)
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{args.directory}: no faults")
    return 1 if found else 0
