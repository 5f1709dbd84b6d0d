"""How boards get to Grafana: files, ConfigMaps, its API (a stub that answers as Grafana's API reference says)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from dashboards.boards import render
from dashboards.check import faults
from dashboards.links import of_service
from gpufleet.cli import main
from slo.model import Slo

SLOS = Path(__file__).parent / "slos.yaml"
Main = Callable[..., int]


class Grafana:
    """Folders and boards in memory; takes one token; may be told to answer otherwise."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.refuses: tuple[int, dict[str, str]] | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/sub/api/folders", self.listed)
        app.router.add_post("/sub/api/folders", self.made)
        app.router.add_post("/sub/api/dashboards/db", self.saved)
        return app

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != "Bearer glsa_secret":
            raise web.HTTPUnauthorized(text='{"message": "Invalid API key"}')

    async def listed(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response([{"uid": uid, "title": title} for uid, title in self.folders.items()])

    async def made(self, request: web.Request) -> web.Response:
        self._check(request)
        uid = f"uid{len(self.folders)}"
        self.folders[uid] = (await request.json())["title"]
        return web.json_response({"uid": uid})

    async def saved(self, request: web.Request) -> web.Response:
        self._check(request)
        if self.refuses:
            status, headers = self.refuses
            return web.json_response({"message": "no"}, status=status, headers=headers)
        body = await request.json()
        assert body["overwrite"] is True
        assert body["dashboard"]["id"] is None
        self.boards[body["dashboard"]["uid"]] = body
        return web.json_response({"url": f"/sub/d/{body['dashboard']['uid']}", "status": "success"})


@pytest.fixture
def grafana() -> Iterator[tuple[Grafana, str]]:
    stub, loop, runner = Grafana(), asyncio.new_event_loop(), None

    async def start() -> tuple[web.AppRunner, int]:
        runner = web.AppRunner(stub.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    runner, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield stub, f"http://127.0.0.1:{port}/sub"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def push(grafana: tuple[Grafana, str], tmp_path: Path) -> Main:
    token = tmp_path / "token"

    def run(*more: str, said: str = "glsa_secret\n") -> int:
        token.write_text(said)
        return main(
            ["dashboards", "push", "--slos", str(SLOS), "--grafana", grafana[1], "--token-file", str(token), *more]
        )

    return run


def test_pushed_boards_stand_in_one_folder_and_a_second_push_replaces_them(
    grafana: tuple[Grafana, str], push: Main, slos: list[Slo], capsys: pytest.CaptureFixture[str]
) -> None:
    stub, url = grafana
    assert push("--folder", "On the wall") == push("--folder", "On the wall") == 0
    assert list(stub.folders.values()) == ["On the wall"]
    assert stub.boards.keys() == render(slos).keys()
    assert {body["folderUid"] for body in stub.boards.values()} == set(stub.folders)
    said = capsys.readouterr()
    assert f"pushed {url}/d/gpufleet-fleet" in said.out
    assert "glsa_secret" not in said.out + said.err


@pytest.mark.parametrize(
    ("refuses", "said"),
    [((403, {}), "role Editor"), ((412, {}), "provisioned"), ((500, {}), "Grafana's log"),
     ((302, {"Location": "https://login.example"}), "https://login.example")],
)  # fmt: skip
def test_what_grafana_refuses_is_told_with_what_to_do(
    grafana: tuple[Grafana, str],
    push: Main,
    capsys: pytest.CaptureFixture[str],
    refuses: tuple[int, dict[str, str]],
    said: str,
) -> None:
    grafana[0].refuses = refuses
    assert push() == 1
    told = capsys.readouterr().err
    assert f"answered {refuses[0]}" in told
    assert said in told
    assert "glsa_secret" not in told


def test_a_wrong_token_or_address_is_told(push: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(said="other") == 1
    assert "401" in capsys.readouterr().err
    assert push(said="two words") == 1
    assert "not one token" in capsys.readouterr().err
    for url, said in (
        ("http://127.0.0.1:1", "no answer of a Grafana (Connection refused)"),
        ("grafana.example", "not an address"),
    ):
        token = ["--token-file", str(tmp_path / "token")]
        (tmp_path / "token").write_text("x")
        assert main(["dashboards", "push", "--slos", str(SLOS), "--grafana", url, *token]) == 1
        assert said in capsys.readouterr().err


def test_config_maps_hold_one_board_each_below_their_limit(tmp_path: Path, slos: list[Slo]) -> None:
    asked = ["dashboards", "write", "--slos", str(SLOS), "--out", str(tmp_path), "--format", "configmaps"]
    assert main([*asked, "--folder", "GPUs"]) == 0
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(tmp_path.iterdir())]
    assert [one["metadata"]["name"] for one in found] == sorted(render(slos))
    for one in found:
        assert one["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert one["metadata"]["annotations"] == {"grafana_folder": "GPUs"}
        ((name, text),) = one["data"].items()
        assert name == f"{one['metadata']['name']}.json"
        assert list(faults(json.loads(text))) == []
        assert len(text.encode()) < 256 * 1024


def test_a_provider_says_where_boards_lie_and_that_nobody_edits_them(tmp_path: Path) -> None:
    asked = ["dashboards", "write", "--slos", str(SLOS), "--out", str(tmp_path), "--format", "provisioned"]
    assert main([*asked, "--provisioned-path", "/boards"]) == 0
    ((provider,), version) = (
        yaml.safe_load((tmp_path / "provider.yaml").read_text())[key] for key in ("providers", "apiVersion")
    )
    assert version == 1
    assert provider["options"]["path"] == "/boards"
    assert provider["allowUiUpdates"] is False
    assert (tmp_path / "gpufleet-slo.json").is_file()


def test_a_service_has_a_board_of_its_own_where_asked_for(slos: list[Slo]) -> None:
    boards = render(slos, per_service=True)
    assert boards.keys() - render(slos).keys() == {"gpufleet-slo-chat", "gpufleet-slo-code"}
    board = boards["gpufleet-slo-code"]
    assert list(faults(board)) == []
    service = next(one for one in board["templating"]["list"] if one["name"] == "service")
    assert (service["type"], service["query"]) == ("constant", "code")
    assert "chat-ttft" not in json.dumps(board)


def test_uids_of_long_services_fit_into_grafana_and_differ() -> None:
    uids = {of_service("a-very-long-name-of-a-service-" + end) for end in ("one", "two")}
    assert len(uids) == 2
    assert all(len(uid) <= 40 for uid in uids)
