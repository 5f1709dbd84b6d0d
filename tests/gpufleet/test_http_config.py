"""How a source is asked: files of Prometheus' HTTP client configuration, TLS, logins, tokens, tenants; real sockets."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from exporter.metrics.agent import SNAPSHOT_AGE
from exporter.model import InputError
from gpufleet import http_config
from gpufleet.cli import main
from slo.observed import Missed, Scrape
from slo.sources.access import Access
from slo.sources.agents import AgentsSource
from slo.sources.prometheus import PrometheusSource
from tests.certificates import Authority

PAGE = f'{SNAPSHOT_AGE.name}{{node="n1"}} 0.5\n'
EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}
MakeSource = Callable[[str, Access], AgentsSource | PrometheusSource]
MAKERS: dict[str, MakeSource] = {
    "agents": lambda url, access: AgentsSource([url], access=access),
    "prometheus": lambda url, access: PrometheusSource(url, [], access),
}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def asked(
    make: MakeSource, access: Callable[[], Access], context: ssl.SSLContext | None = None, times: int = 1
) -> tuple[list[web.BaseRequest], list[Scrape | Missed]]:
    """Poll a real server `times` times: the last request of each poll, and what the last one gave."""
    seen: list[web.BaseRequest] = []
    polls: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        return web.Response(text=PAGE) if request.path == "/metrics" else web.json_response(EMPTY)

    async def run() -> list[Scrape | Missed]:
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        source = make(f"{'http' if context is None else 'https'}://127.0.0.1:{port}", access())
        try:
            for _ in range(times):
                found = await source.poll()
                polls.extend(seen[-1:])
        finally:
            await source.close()
            await runner.cleanup()
        return found

    return polls, asyncio.run(run())


def config(folder: Path, text: str) -> Path:
    """A file."""
    path = folder / "http.yml"
    path.write_text(text)
    return path


@both
def test_a_login_a_tenant_and_headers_go_with_every_request(make: MakeSource, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "team").write_text("search\n")
    path = config(
        tmp_path,
        "basic_auth: {username: ada, password_file: password}\n"
        "http_headers: {X-Team: {files: [team]}, X-Kind: {values: [slo]}, X-Key: {secrets: [k3y]}}\n",
    )
    [request], _ = asked(make, lambda: http_config.load(path, "team-a"))
    wanted = {"Authorization": "Basic YWRhOnMzY3JldA==", "X-Scope-OrgID": "team-a", "X-Team": "search"}
    assert {name: request.headers[name] for name in wanted} == wanted
    assert (request.headers["X-Kind"], request.headers["X-Key"]) == ("slo", "k3y")


@both
def test_a_token_that_is_renewed_is_used_from_the_next_request_on(make: MakeSource, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    access = http_config.load(config(tmp_path, "authorization: {credentials_file: token}\n"))

    class Renewing:
        def options(self, own):
            found = access.options(own)
            token.write_text("two")
            return found

    requests, _ = asked(make, Renewing, times=2)
    assert [one.headers["Authorization"] for one in requests] == ["Bearer one", "Bearer two"]


@both
def test_a_client_certificate_opens_a_server_that_asks_for_one(make: MakeSource, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(*authority.issue("server"))
    authority.issue("client")
    path = config(tmp_path, "tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}\n")
    requests, found = asked(make, lambda: http_config.load(path), server)
    assert len(requests) == 1
    assert not any(isinstance(one, Missed) for one in found)


@both
@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("{}", "its certificate is not one that is trusted here for that name"),
        ("{ca_file: ca.pem, server_name: other}", "its certificate is not one that is trusted here for that name"),
    ],
)
def test_a_server_that_is_not_who_it_should_be_is_not_asked(
    make: MakeSource, tls: str, told: str, tmp_path: Path
) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*Authority(tmp_path).issue("server"))
    path = config(tmp_path, f"tls_config: {tls}\n")
    requests, found = asked(make, lambda: http_config.load(path), server)
    assert requests == []
    assert [one.reason for one in found if isinstance(one, Missed)] == [told]


@both
def test_a_secret_that_is_gone_is_told_by_its_files_name_alone(make: MakeSource, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("v3ry-s3cret")
    access = http_config.load(config(tmp_path, "authorization: {credentials_file: token}\n"))
    secret.unlink()
    requests, found = asked(make, lambda: access)
    assert requests == []
    assert [one.reason for one in found if isinstance(one, Missed)] == [
        f"{secret}: cannot be read: No such file or directory"
    ]
    assert "s3cret" not in repr(access)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("basic_auth: {username: a, password: b}\nauthorization: {credentials: c}\n", "2: stands beside basic_auth"),
        ("basic_auth:\n  username: a\n", "2: give either password or password_file"),
        ("\nauthorization:\n  type: Basic\n  credentials: c\n", "3: a login belongs into basic_auth"),
        ("tls_config:\n  cert_file: x\n", "2: cert_file and key_file go together"),
        ("http_headers:\n  Host: {values: [a]}\n", "2: the header `Host` cannot be set here"),
        ("http_headers:\n  X-A: {values: [a, b]}\n", "2: give one value"),
        ('http_headers:\n  X-A: {values: ["a\\nb"]}\n', "2: has a line break"),
        ("oauth2: {client_id: x}\n", "1: "),
        ("tls_config: {ca_file: nowhere.pem}\n", "nowhere.pem: cannot be read"),
        ("tls_config: {ca_file: http.yml}\n", "cannot be used for TLS"),
    ],
)
def test_faults_name_file_and_line(text: str, told: str, tmp_path: Path) -> None:
    path = config(tmp_path, text)
    with pytest.raises(InputError) as fault:
        http_config.load(path)
    assert told in str(fault.value)
    assert str(tmp_path) in str(fault.value)


@pytest.mark.parametrize("url", ["dns://agents", "dns+https://:9400", "dns://a b:9400", "ftp://a:1"])
def test_what_is_no_name_of_agents_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["slo", "serve", "--slos", ".", "--agent", url])
    assert ended.value.code == 2
    assert "write " in capsys.readouterr().err
