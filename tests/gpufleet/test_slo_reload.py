"""`gpufleet slo serve` and `up` follow their SLO files: a ConfigMap's swapped link, faults, alerts that are told."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts import rules
from alerts.links import Links
from gpufleet.data import LEDGER_FILE
from slo.ledger import Ledger
from slo.observed import Slice
from slo.spec import load
from tests.gpufleet.test_slo_serve import get

HEAD = "apiVersion: gpufleet/v1\nservice: chat\nslos:\n"
TTFT = "  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}\n"
UP = "  - {name: up, signal: availability, objective: 99.9%, window: 30d}\n"
ITL = "  - {name: itl, signal: itl, threshold: 50ms, objective: 95%, window: 30d}\n"


class ConfigMap:
    """A mounted one: files are links through ..data, which is swapped at one stroke."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0

    def write(self, *slos: str) -> None:
        self._number += 1
        version = self.directory / f"..{self._number}"
        version.mkdir(parents=True)
        (version / "slos.yaml").write_text(HEAD + "".join(slos))
        (self.directory / "..fresh").symlink_to(version.name)
        (self.directory / "..fresh").rename(self.directory / "..data")
        if self._number == 1:
            (self.directory / "slos.yaml").symlink_to("..data/slos.yaml")


@pytest.fixture
def files(tmp_path: Path) -> ConfigMap:
    return ConfigMap(tmp_path / "slos")


@contextmanager
def running(*command: str, log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL of its page; what it logs goes into a file."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpufleet", *command], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        found = (re.match(r"(?:page on)?\s*(http://127\.0\.0\.1:\d+)", line) for line in process.stdout)
        url = next((match[1] for match in found if match), "")
        yield process, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serving(files: ConfigMap, tmp_path: Path, *more: str):
    options = ("--agent", "http://127.0.0.1:9", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", *more)
    return running("slo", "serve", "--slos", str(files.directory), *options, log=tmp_path / "log")


def until(condition: Callable[[], Any], what: str) -> Any:
    """What a condition gives once it holds."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"in a minute not: {what}")


def slos_of(url: str) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in json.loads(get(f"{url}/api/v1/slos")[1])["slos"]}


def metric(url: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", get(f"{url}/metrics")[1], re.MULTILINE)
    assert found
    return float(found[1])


def fill(files: ConfigMap, tmp_path: Path, *, bad: float) -> None:
    """A ledger with ten days that end now, each minute of the last with so many of 100 requests bad."""
    slos = load([files.directory])
    now = int(time.time()) // 60 * 60
    (tmp_path / "data").mkdir()
    ledger = Ledger(tmp_path / "data" / LEDGER_FILE)
    revisions = ledger.register(slos)
    for slo in slos:
        for day in range(10, 0, -1):
            good = 100.0 - (bad if day == 1 else 0)
            since = now - 86400 * day
            ledger.append(
                Slice(slo.id, revisions[slo.id], (), at, good, good, 100.0, 60.0)
                for at in range(since, since + 86400, 60)
            )
    ledger.close()


def test_a_swapped_configmap_is_followed_and_rules_and_boards_with_it(files: ConfigMap, tmp_path: Path) -> None:
    files.write(TTFT, UP)
    fill(files, tmp_path, bad=1)
    with serving(files, tmp_path) as (_, url):
        before = slos_of(url)
        assert get(f"{url}/rules.yaml")[0] == 200
        files.write(TTFT.replace("95%", "90%"), ITL)
        after = until(lambda: (found := slos_of(url)).keys() == {"chat-ttft", "chat-itl"} and found, "other SLOs")
        old, new = before["chat-ttft"], after["chat-ttft"]
        assert (new["objective"], new["revision"], new["total"]) == ("0.9", old["revision"], old["total"])
        assert new["error_budget_remaining"] == pytest.approx(1 - (1 - old["error_budget_remaining"]) / 2)
        assert get(f"{url}/api/v1/slos/chat-up")[0] == 404
        assert get(f"{url}/slo/chat-itl")[0] == 200
        links = Links(runbooks=f"{url}/runbooks", page=url)
        assert get(f"{url}/rules.yaml") == (200, rules.render(load([files.directory]), links=links))
        notices = [one["text"] for one in json.loads(get(f"{url}/healthz")[1])["notices"]]
        assert notices == ["SLO files taken, 2 SLOs: added chat-itl; removed chat-up; edited chat-ttft"]

        files.write(TTFT.replace("500ms", "1s"), UP)  # counts something else; the other's rows were kept
        back = until(lambda: (found := slos_of(url)).keys() == {"chat-ttft", "chat-up"} and found, "SLOs again")
        assert (back["chat-ttft"]["revision"], back["chat-ttft"]["total"]) == (2, 0)
        assert (back["chat-up"]["revision"], back["chat-up"]["total"]) == (1, before["chat-up"]["total"])


def test_faults_are_told_and_the_old_slos_stand_until_they_are_mended(files: ConfigMap, tmp_path: Path) -> None:
    files.write(TTFT, UP)
    with serving(files, tmp_path) as (process, url):
        before = get(f"{url}/rules.yaml")
        assert metric(url, "gpufleet_slo_files_up_to_date") == 1
        files.write(TTFT.replace("95%", "195%"), ITL.replace("50ms", "soon"))
        until(lambda: metric(url, "gpufleet_slo_files_up_to_date") == 0, "said in a metric")
        log = (tmp_path / "log").read_text()
        faults = [line for line in log.splitlines() if line.startswith(f"{files.directory}/slos.yaml:")]
        assert [line.split(":")[1] for line in faults] == ["4", "5"]
        assert "SLO files not taken, those before stand:" in log
        assert (slos_of(url).keys(), get(f"{url}/rules.yaml")) == ({"chat-ttft", "chat-up"}, before)
        assert get(f"{url}/readyz")[0] == get(f"{url}/healthz")[0] == 200
        assert json.loads(get(f"{url}/healthz")[1])["slo_files_problem"].splitlines() == faults
        assert "They were changed and cannot be followed; those before stand." in get(f"{url}/")[1]

        process.send_signal(signal.SIGHUP)  # asked for again: the same faults, said once
        files.write(TTFT, UP, ITL)
        process.send_signal(signal.SIGHUP)
        until(lambda: metric(url, "gpufleet_slo_files_up_to_date") == 1, "mended")
        assert slos_of(url).keys() == {"chat-ttft", "chat-up", "chat-itl"}
        assert "They were changed" not in get(f"{url}/")[1]
        assert (tmp_path / "log").read_text().count("not taken") == 1

        for one in files.directory.iterdir():  # a volume that is gone
            one.rename(tmp_path / one.name)
        until(lambda: metric(url, "gpufleet_slo_files_up_to_date") == 0, "gone")
        assert slos_of(url).keys() == {"chat-ttft", "chat-up", "chat-itl"}


class Alertmanager:
    """Takes alerts as Alertmanager's API does, and keeps the last word on each."""

    def __init__(self) -> None:
        self.alerts: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        manager = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                for one in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
                    manager.alerts[tuple(sorted(one["labels"].items()))] = one
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, slo_id: str, *, firing: bool) -> dict[tuple[tuple[str, str], ...], dict[str, Any]]:
        now = datetime.now(UTC)
        return {
            key: one
            for key, one in self.alerts.items()
            if one["labels"].get("slo_id") == slo_id
            and one["labels"]["alertname"] == "SloErrorBudgetBurn"
            and (datetime.fromisoformat(one["endsAt"]) > now) is firing
        }


@pytest.fixture
def manager() -> Iterator[Alertmanager]:
    one = Alertmanager()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_alerts_of_slos_that_go_end_and_those_that_stay_go_on(
    files: ConfigMap, tmp_path: Path, manager: Alertmanager
) -> None:
    files.write(TTFT, ITL)
    fill(files, tmp_path, bad=90)
    with serving(files, tmp_path, "--alertmanager", manager.url) as (process, url):
        until(lambda: manager.of("chat-ttft", firing=True) and manager.of("chat-itl", firing=True), "both fire")
        before = manager.of("chat-ttft", firing=True)
        files.write(UP, TTFT.replace("95%", "95.5%"))
        process.send_signal(signal.SIGHUP)
        until(lambda: manager.of("chat-itl", firing=False), "the one that went is over")
        assert not manager.of("chat-itl", firing=True)
        after = manager.of("chat-ttft", firing=True)
        assert {key: one["startsAt"] for key, one in before.items()} == {k: v["startsAt"] for k, v in after.items()}
        assert slos_of(url)["chat-ttft"]["objective"] == "0.955"
        # One that has only begun has no data yet, and that is no news.
        assert not [one for one in manager.alerts.values() if one["labels"]["alertname"] == "SloNoData"]


def test_a_disk_that_is_full_in_mid_change_leaves_the_old_slos_and_is_tried_again(
    files: ConfigMap, tmp_path: Path
) -> None:
    files.write(TTFT)
    with serving(files, tmp_path) as (process, url):
        lock = Ledger(tmp_path / "data" / LEDGER_FILE)  # somebody holds the file: as good as a disk that takes nothing
        lock._db.execute("BEGIN IMMEDIATE")
        files.write(TTFT, UP)
        process.send_signal(signal.SIGHUP)
        until(lambda: metric(url, "gpufleet_slo_files_up_to_date") == 0, "said")
        assert "database is locked" in json.loads(get(f"{url}/healthz")[1])["slo_files_problem"]
        assert slos_of(url).keys() == {"chat-ttft"}
        lock._db.execute("ROLLBACK")
        lock.close()
        until(lambda: slos_of(url).keys() == {"chat-ttft", "chat-up"}, "taken once it can be")
        assert metric(url, "gpufleet_slo_files_up_to_date") == 1


PROBED = "  - {name: seen, signal: probe_ttft, threshold: 1s, objective: 95%, window: 30d}\n"


def test_up_follows_its_slos_and_so_do_the_agents_that_count_for_them(files: ConfigMap, tmp_path: Path) -> None:
    files.write(TTFT, PROBED)
    options = ("--simulate", "--listen", "127.0.0.1:0", "--slos", str(files.directory), "--for", "120s")
    with running("up", *options, log=tmp_path / "log") as (_, url):
        agents = [one["name"] for one in until(lambda: json.loads(get(f"{url}/healthz")[1])["sources"], "agents")]
        files.write(TTFT, PROBED.replace("name: seen", "name: later"))
        until(lambda: slos_of(url).keys() == {"chat-ttft", "chat-later"}, "other SLOs")
        for agent in agents:
            until(lambda: 'objective="chat-later"' in (page := get(agent)[1]) and "chat-seen" not in page, agent)  # noqa: B023
        until(lambda: all(one["up"] for one in json.loads(get(f"{url}/healthz")[1])["sources"]), "sources answer")
