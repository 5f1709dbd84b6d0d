"""Checks a directory that `gpufleet alerts write` made, with promtool and amtool where they are, and tests it.

Imports alerts. Without promtool rules are still read by a parser of our own dependencies, and held to the names that
exist; what could not be run is said. What vmalert-tool can show is in the head of alerts.selftest_vmalert.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from alerts import formats
from alerts.expressions import reads
from alerts.promql import KNOWN
from alerts.rules import dump
from exporter.model import InputError
from slo.names import INFO, LABEL_ID
from slo.signals import GENERIC

ALERTMANAGER = "alertmanager.yml"
OPERATOR = "alertmanagerconfig.yaml"
TESTS = "tests"
VMALERT_SHOWS = "vmalert-tool unittest (what holds for half an hour; not the tile, resets, long windows)"


@dataclass(frozen=True, slots=True)
class Report:
    """`faults` as `file: what`; `ran` and `skipped` say what was held against what."""

    faults: tuple[str, ...]
    ran: tuple[str, ...]
    skipped: tuple[str, ...]


_OURS = "gpufleet_slo:"


def check(directory: Path) -> Report:
    """Rules and routes. Raises InputError where the directory has no rules."""
    rules = next((path for name in formats.FILES if (path := directory / name).exists()), directory / formats.RULES)
    faults, ran, skipped = list(_own(rules)), [f"{rules}: PromQL and names"], []
    with tempfile.TemporaryDirectory() as folder:
        plain = rules
        if not faults and rules.name != formats.RULES.name:  # the tools read Prometheus' form alone
            plain = Path(folder, rules.name)
            groups = formats.read_groups(rules.read_text(encoding="utf-8"))
            plain.write_text(dump({"groups": groups}), encoding="utf-8")
        for tool, arguments, path, of in (
            ("promtool", ("check", "rules", "--lint=all", "--lint-fatal"), plain, rules),
            ("vmalert", ("-dryRun", "-loggerLevel=ERROR", "-rule"), plain, rules),
            ("amtool", ("check-config",), directory / ALERTMANAGER, directory / ALERTMANAGER),
        ):
            if not path.exists():
                continue
            said = _run(tool, arguments, path)
            if said is None:
                skipped.append(f"{of}: {tool} is not on this machine")
            else:
                ran.append(f"{of}: {tool} {arguments[0].lstrip('-')}")
                faults += said
    return Report(tuple(faults), tuple(ran), tuple(skipped))


def test(directory: Path) -> Report:
    """The tests, by promtool and vmalert-tool. Raises InputError where there are none, or no promtool."""
    tests = sorted((directory / TESTS).glob("*.test.yaml"))
    if not tests:
        raise InputError(f"{directory / TESTS}: no tests, run `gpufleet alerts write` first")
    if shutil.which("promtool") is None:
        raise InputError("promtool: not on this machine, install Prometheus' tools (Debian: prometheus)")
    again = sorted((directory / TESTS).glob("*.vmalert.yaml"))
    skipped = [] if shutil.which("vmalert-tool") else [f"{path}: vmalert-tool is not on this machine" for path in again]
    runs: list[tuple[str, str, tuple[str, ...], Path]]
    runs = [("promtool", "promtool test", ("test", "rules"), path) for path in tests]
    if not skipped:
        runs += [("vmalert-tool", VMALERT_SHOWS, ("unittest", "-loggerLevel=ERROR", "-files"), path) for path in again]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for said in pool.map(lambda run: _run(run[0], run[2], run[3]) or [], runs) for fault in said]
    return Report(tuple(faults), tuple(f"{path}: {shows}" for _, shows, _, path in runs), tuple(skipped))


def _own(rules: Path) -> Iterator[str]:
    try:
        groups = formats.read_groups(rules.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{rules}: cannot read ({error.strerror}), run `gpufleet alerts write` first") from error
    except UnicodeDecodeError:
        yield f"{rules}: not UTF-8 text, write it again with `gpufleet alerts write`"
        return
    except yaml.YAMLError as error:
        yield f"{rules}: not YAML: {' '.join(str(error).split())}"
        return
    except ValueError as error:
        yield f"{rules}: {error}, write it again with `gpufleet alerts write`"
        return
    try:
        found = [(group["name"], rule) for group in groups for rule in group["rules"]]
        ids = [rule.get("labels", {}).get(LABEL_ID) for _, rule in found]
        expressions = [(name, rule.get("alert") or rule["record"], str(rule["expr"])) for name, rule in found]
        generic = {
            rule["labels"][LABEL_ID]
            for _, rule in found
            if rule.get("record") == INFO and rule["labels"].get("signal") in GENERIC
        }
    except (TypeError, KeyError, AttributeError):
        yield f"{rules}: not a rule file, write it again with `gpufleet alerts write`"
        return
    for slo_id, (group, rule, expr) in zip(ids, expressions, strict=True):
        try:
            unknown = {read.name for read in reads(expr)} - KNOWN
            if slo_id in generic:  # series of its author's own; those that we record are still ours
                unknown = {name for name in unknown if name.startswith(_OURS)}
        except ValueError as error:
            yield f"{rules}: {group}: {rule}: not PromQL: {error}"
            continue
        if unknown:
            yield f"{rules}: {group}: {rule}: reads {', '.join(sorted(unknown))}, which nothing emits or records"


def _run(tool: str, arguments: Sequence[str], path: Path) -> list[str] | None:
    """The tool's complaints; None where it is not there. The program is the one that stands first on PATH."""
    program = shutil.which(tool)
    if program is None:
        return None
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [program, *arguments, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [f"{tool}: {line.strip()}" for line in lines]
