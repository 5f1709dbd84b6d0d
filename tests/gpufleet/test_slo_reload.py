"""`gpufleet slo serve` and `up` follow their SLO files: a ConfigMap's swapped link, faults, alerts that are told."""

from __future__ import annotations

import http.server
import json
import resource
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts import rules
from alerts.links import Links
from dashboards import boards
from gpufleet.data import LEDGER_FILE
from slo.ledger import Ledger
from slo.observed import Slice
from slo.spec import load
from tests.gpufleet.test_slo_serve import get
from tests.hostile.processes import Running, values

HEAD = "apiVersion: gpufleet/v1\nservice: chat\nslos:\n"
TTFT = "  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}\n"
UP = "  - {name: up, signal: availability, objective: 99.9%, window: 30d}\n"
PROBED = "  - {name: seen, signal: probe_ttft, threshold: 1s, objective: 95%, window: 30d}\n"
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


def serving(files: ConfigMap, tmp_path: Path, *more: str) -> Running:
    options = ("--agent", "http://127.0.0.1:9", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", *more)
    return Running("slo", "serve", "--slos", str(files.directory), *options, folder=tmp_path)


def slos_of(one: Running) -> dict[str, dict[str, Any]]:
    return {slo["id"]: slo for slo in json.loads(one.get("/api/v1/slos"))["slos"]}


def up_to_date(one: Running) -> bool:
    return values(one.get("/metrics"), "gpufleet_slo_files_up_to_date") == {"": 1}


def health(one: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(f"{one.url}/healthz")[1])
    return found


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
    with serving(files, tmp_path) as one:
        before = slos_of(one)
        assert "chat-up" in one.get("/rules.yaml")
        files.write(TTFT.replace("95%", "90%"), ITL)
        one.until(lambda: slos_of(one).keys() == {"chat-ttft", "chat-itl"})
        old, new = before["chat-ttft"], slos_of(one)["chat-ttft"]
        assert (new["objective"], new["revision"], new["total"]) == ("0.9", old["revision"], old["total"])
        assert new["error_budget_remaining"] == pytest.approx(1 - (1 - old["error_budget_remaining"]) / 2)
        assert get(f"{one.url}/api/v1/slos/chat-up")[0] == 404
        assert get(f"{one.url}/slo/chat-itl")[0] == 200
        slos, links = load([files.directory]), Links(runbooks=f"{one.url}/runbooks", page=one.url)
        assert one.get("/rules.yaml") == rules.render(slos, links=links)
        for uid, board in boards.render(slos, page_url=one.url).items():
            assert one.get(f"/dashboards/{uid}.json") == boards.to_text(board)
        notices = [notice["text"] for notice in health(one)["notices"]]
        assert notices == ["SLO files taken, 2 SLOs: added chat-itl; removed chat-up; edited chat-ttft"]

        files.write(TTFT.replace("500ms", "1s"), UP)  # counts something else; the other's rows were kept
        one.until(lambda: slos_of(one).keys() == {"chat-ttft", "chat-up"})
        back = slos_of(one)
        assert (back["chat-ttft"]["revision"], back["chat-ttft"]["total"]) == (2, 0)
        assert (back["chat-up"]["revision"], back["chat-up"]["total"]) == (1, before["chat-up"]["total"])


def test_faults_are_told_and_the_old_slos_stand_until_they_are_mended(files: ConfigMap, tmp_path: Path) -> None:
    files.write(TTFT, UP)
    with serving(files, tmp_path) as one:
        before = one.get("/rules.yaml")
        assert up_to_date(one)
        files.write(TTFT.replace("95%", "195%"), ITL.replace("50ms", "soon"))
        one.until(lambda: not up_to_date(one))
        faults = [line for line in one.said.splitlines() if line.startswith(f"{files.directory}/slos.yaml:")]
        assert [line.split(":")[1] for line in faults] == ["4", "5"]
        assert (slos_of(one).keys(), one.get("/rules.yaml")) == ({"chat-ttft", "chat-up"}, before)
        assert get(f"{one.url}/readyz")[0] == get(f"{one.url}/healthz")[0] == 200
        assert health(one)["slo_files_problem"].splitlines() == faults
        assert "They were changed and cannot be followed; those before stand." in one.get("/")

        files.write(TTFT, UP, ITL)
        one.process.send_signal(signal.SIGHUP)
        one.until(lambda: up_to_date(one))
        assert slos_of(one).keys() == {"chat-ttft", "chat-up", "chat-itl"}
        assert "They were changed" not in one.get("/")
        assert one.said.count("SLO files not taken, those before stand:") == 1

        for version in files.directory.iterdir():  # a volume that is gone
            version.rename(tmp_path / version.name)
        one.until(lambda: not up_to_date(one))
        assert slos_of(one).keys() == {"chat-ttft", "chat-up", "chat-itl"}


def test_a_disk_that_is_full_in_mid_change_leaves_the_old_slos_and_is_tried_again(
    files: ConfigMap, tmp_path: Path
) -> None:
    files.write(TTFT)
    with serving(files, tmp_path) as one:
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        files.write(TTFT, UP)
        one.process.send_signal(signal.SIGHUP)
        one.until(lambda: not up_to_date(one))
        assert str(tmp_path / "data" / LEDGER_FILE) in health(one)["slo_files_problem"]
        assert slos_of(one).keys() == {"chat-ttft"}
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        one.until(lambda: slos_of(one).keys() == {"chat-ttft", "chat-up"})
        assert up_to_date(one)


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
    with serving(files, tmp_path, "--alertmanager", manager.url) as one:
        one.until(lambda: manager.of("chat-ttft", firing=True) and manager.of("chat-itl", firing=True))
        before = manager.of("chat-ttft", firing=True)
        files.write(UP, TTFT.replace("95%", "95.5%"))
        one.process.send_signal(signal.SIGHUP)
        one.until(lambda: manager.of("chat-itl", firing=False))
        assert not manager.of("chat-itl", firing=True)
        after = manager.of("chat-ttft", firing=True)
        assert {key: a["startsAt"] for key, a in before.items()} == {key: a["startsAt"] for key, a in after.items()}
        assert slos_of(one)["chat-ttft"]["objective"] == "0.955"
        # One that has only begun has no data yet, and that is no news.
        assert not [alert for alert in manager.alerts.values() if alert["labels"]["alertname"] == "SloNoData"]


def test_up_follows_its_slos_and_so_do_the_agents_that_count_for_them(files: ConfigMap, tmp_path: Path) -> None:
    files.write(TTFT, PROBED)
    options = ("--simulate", "--listen", "127.0.0.1:0", "--slos", str(files.directory))
    with Running("up", *options, folder=tmp_path) as one:
        agents = [source["name"] for source in one.until(lambda: health(one)["sources"])]
        files.write(TTFT, PROBED.replace("name: seen", "name: later"))
        one.until(lambda: slos_of(one).keys() == {"chat-ttft", "chat-later"})
        for agent in agents:
            one.until(lambda at=agent: "chat-later" in (page := get(at)[1]) and "chat-seen" not in page)
        one.until(lambda: all(source["up"] for source in health(one)["sources"]))
