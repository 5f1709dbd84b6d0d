"""Going to another version and back: no ledger is harmed, no names meet, and what the document says to do works."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gpufleet.cli import main
from slo.ledger_file import VERSION

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "tests" / "captures"
UPGRADE = (ROOT / "deploy" / "UPGRADE.md").read_text(encoding="utf-8")
SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
"""
SERVE = (sys.executable, "-m", "gpufleet", "slo", "serve", "--agent", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")


@pytest.fixture
def slos(tmp_path: Path) -> Path:
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "chat.yaml").write_text(SLOS)
    return tmp_path / "slos"


@contextlib.contextmanager
def serving(slos: Path, data: Path, *, end: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """A service that keeps its ledger in `data`; the URL of its page. SIGKILL leaves SQLite's log beside its file."""
    command = [*SERVE, "--slos", str(slos), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next((line.split()[-1] for line in process.stdout if line.startswith("page on ")), "")
            process.send_signal(end)
            assert process.wait(20) == (0 if end is signal.SIGTERM else -end)
        finally:
            process.kill()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_ledger_of_a_newer_version_is_refused_and_stays_as_it_is(slos: Path, tmp_path: Path):
    """What `helm rollback` meets: the service ends, says what to do, and the file is the same to the byte."""
    data = tmp_path / "data"
    with serving(slos, data):
        pass
    ledger = data / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    before = digest(ledger)
    for _ in range(2):  # a restart changes nothing
        done = subprocess.run(
            [*SERVE, "--slos", slos, "--data", data], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        [said] = done.stderr.splitlines()
        assert f"ledger.sqlite: ledger version {VERSION + 1}, this gpufleet reads {VERSION}: use the gpufleet" in said
        assert f"ledger.sqlite.v{VERSION}" in said
    assert digest(ledger) == before
    assert {path.name for path in data.iterdir()} == {"ledger.sqlite", "lock"}


@pytest.mark.parametrize(
    "command",
    [
        ("slo", "export", "copy.sqlite"),
        ("slo", "report", "--month", "2026-10"),
        ("slo", "exclude", "--list"),
        ("slo", "import", "copy.sqlite"),
    ],
    ids=lambda words: words[1],
)
def test_no_command_touches_a_newer_ledger(
    command: tuple[str, ...],
    slos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    ledger = tmp_path / "data" / "ledger.sqlite"
    ledger.parent.mkdir()
    shutil.copy(CAPTURES / "ledgers" / "v1.sqlite", ledger)
    shutil.copy(ledger, tmp_path / "copy.sqlite")
    for path in (ledger, tmp_path / "copy.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version={VERSION + 1}")
    before = digest(ledger)
    more = ["--slos", str(slos)] if command[1] == "report" else []
    assert main([*command, *more, "--data", str(ledger.parent)]) == 1
    assert re.search(r"version|is there already", capsys.readouterr().err)
    assert digest(ledger) == before


def test_going_back_over_a_rewritten_ledger_is_what_the_document_says(slos: Path, tmp_path: Path):
    """Its lines, run as they are, after a service that was killed: the older version's file is whole and in place."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(CAPTURES / "ledgers" / f"v{VERSION - 1}.sqlite", data / "ledger.sqlite")
    original = digest(data / "ledger.sqlite")
    with serving(slos, data, end=signal.SIGKILL) as url:
        urllib.request.urlopen(f"{url}/healthz", timeout=20).close()
    assert (data / "ledger.sqlite-wal").exists()
    [lines] = re.findall(r"^```\n(for log in .*?)^```", UPGRADE, re.MULTILINE | re.DOTALL)
    script = re.sub(r"\.v\d+", f".v{VERSION - 1}", lines)
    subprocess.run(["bash", "-euc", script], cwd=data, check=True)
    assert digest(data / "ledger.sqlite") == original
    assert version(data / "ledger.sqlite.newer") == VERSION
    assert {path.name for path in data.iterdir()} == {
        "ledger.sqlite",
        "ledger.sqlite.newer",
        "lock",
    }  # its log is in it


def test_moving_from_dcgm_exporter_each_difference_names_the_setting_that_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "160")  # wide enough that no word is broken
    saved = str(CAPTURES / "dcgm-exporter-t4.prom")
    settings = tmp_path / "agent.yaml"

    def compared(text: str) -> tuple[int, str]:
        settings.write_text(f"gpu: simulated\n{text}")
        return main(["compare", saved, "--config", str(settings)]), capsys.readouterr().out

    code, said = compared("")
    assert code == 1
    assert "hostname-upper" in said
    assert "profile: hostname-upper" in UPGRADE
    _, after = compared("profile: hostname-upper\n")
    assert "hostname-upper" not in after
    assert len(after.splitlines()) < len(said.splitlines())


@pytest.mark.parametrize("name", ["sloth/getting-started.yml", "pyrra/prometheus-http.yaml"])
def test_moving_from_sloth_or_pyrra_their_files_give_rules_whose_names_are_nobody_elses(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Both run beside each other while people compare."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(CAPTURES / "specs" / name, theirs)
    assert main(["slo", "validate", str(theirs)]) == 0
    assert "1 usable SLO, 0 faults" in capsys.readouterr().out
    assert main(["slo", "show", str(theirs)]) == 0
    assert main(["alerts", "write", "--slos", str(theirs), "--out", str(tmp_path / "rules")]) == 0
    groups = yaml.safe_load((tmp_path / "rules" / "rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [
        r["record"] for r in rules if "record" in r and not re.match(r"gpufleet(_slo)?:|gpufleet_slo", r["record"])
    ] == []
    shared = {"Watchdog", "InfoInhibitor"}  # known by these names to everybody's routes
    named = {rule["alert"] for rule in rules if "alert" in rule} - shared
    assert [alert for alert in named if not re.match(r"(Slo|Gpu|Llm|Gpufleet)[A-Z]", alert)] == []


def test_a_native_file_in_the_place_of_sloths_changes_no_budget_and_no_alert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    native = tmp_path / "native.yaml"
    counted = "http_request_duration_seconds_count"
    ratio = {
        "name": "requests-availability",
        "signal": "ratio",
        "bad": f'{counted}{{job="myservice",code=~"(5..|429)"}}',
        "total": f'{counted}{{job="myservice"}}',
        "objective": "99.9%",
        "window": "30d",
    }
    native.write_text(yaml.safe_dump({"apiVersion": "gpufleet/v1", "service": "myservice", "slos": [ratio]}))
    assert main(["slo", "diff", str(CAPTURES / "specs" / "sloth" / "getting-started.yml"), str(native)]) == 0
    changed = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert changed == {
        "page",
        "ticket",
        "description",
        "labels",
        "annotations",
    }  # words for people; no budget, no alert


def test_the_changelog_is_where_changed_names_are_announced():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "Metric names, recorded names, commands and the API are contracts" in changelog
    assert "[CHANGELOG.md](../CHANGELOG.md)" in UPGRADE
    assert json.dumps(VERSION) in re.findall(r"version (\d+), this gpufleet reads \d", UPGRADE)
