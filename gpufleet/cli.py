"""The `gpufleet` command: parses arguments, runs one command, turns faults of input into exit codes.

Exit codes: 0 done, 1 the input is at fault (said on stderr as `file:line: what, and what to do`), 2 usage. A command is
one module under gpufleet/commands with `configure(parser)`, imported only when named, so the agent loads no boards.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, cast

from exporter.model import InputError
from gpufleet import __version__

COMMANDS = {
    "up": "agent and SLO service on this machine, one command, no other server",
    "agent": "the node agent: GPU and engine metrics for Prometheus and OTLP",
    "compare": "what would change if this agent replaced a running dcgm-exporter",
    "slo": "validate, show and serve SLOs",
    "alerts": "write, check and test the alert rules",
    "dashboards": "write and check the Grafana dashboards",
    "doctor": "what this machine has, what is missing, what to do",
}

_BEYOND_THE_AGENT = frozenset(
    {
        *("slo", "alerts", "dashboards", "grafanalib", "jinja2", "prometheus_client", "promql_parser", "re2"),
        *("tzdata", "xstatic"),
    }
)
"""Modules that an install of the node agent alone does not have: its image has not, nor has a plain `pip install`."""


class _Help(argparse.HelpFormatter):
    """Wraps a text of one paragraph, but never an example: it is there to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text and not text.startswith("example: "):
            return super()._fill_text(text, width, indent)
        return "\n".join(indent + line for line in text.splitlines())


class _Parser(argparse.ArgumentParser):
    """Says with each fault of usage where help is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})

    def error(self, message: str) -> NoReturn:
        """Usage, what is wrong, and where help is."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help says more\n")


class Command(Protocol):
    """A module under gpufleet/commands."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add arguments, sub-commands and an epilog with an example; set `run` (args → exit code) as a default."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with `run` of the command they name. Raises SystemExit: 0 after --help, 2 for wrong usage."""
    parser = _Parser(
        prog="gpufleet",
        description="Says which GPU, node, pod and model spent the error budget, and why.",
        epilog="examples:\n"
        "  gpufleet up                  what is on this machine, on http://127.0.0.1:9490\n"
        "  gpufleet slo --help          the same for every command",
    )
    parser.add_argument("--version", action="version", version=f"gpufleet {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, summary in COMMANDS.items():
        sub = subparsers.add_parser(name, help=summary, description=summary)
        if argv and argv[0] == name:
            cast(Command, importlib.import_module(f"gpufleet.commands.{name}")).configure(sub)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        subparsers.choices[args.command].error(f"unknown: {' '.join(unknown)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        args = parse(words)
        return cast(int, args.run(args))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in _BEYOND_THE_AGENT:
            raise
        print(
            f"gpufleet {words[0]}: only the node agent is installed here (no module {module}): "
            "pip install 'gpufleet[slo]', or use the image of the SLO service",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `| head`: nothing is left to say and nobody to say it to.
        sys.stderr.close()
        return 0
