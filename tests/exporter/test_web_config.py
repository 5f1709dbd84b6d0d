"""TLS, client certificates, passwords and headers as Prometheus' exporters are told of them, over real connections."""

import asyncio
import base64
import contextlib
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from exporter import web_config, web_gate, web_passwords
from exporter.exposition import Page
from exporter.model import InputError
from exporter.server import Server
from exporter.sources.traces import TracesSource
from exporter.web_gate import WebGate
from exporter.web_passwords import BusyError, Passwords
from tests.certificates import Authority

BODY = b"# TYPE x gauge\nx 1\n"
PASSWORD = "päss:wörd"
HASH = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$gpufleetgpufleetgpufle").decode()
"""With a fixed salt, since it stands in the names of tests, which every worker must find alike."""
USERS = f"basic_auth_users:\n  ann: {HASH}\n"
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
MUTUAL = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_gate, "CHECK_SECONDS", 0.02)


class Site:
    """A server behind a gate, and the certificates it may use."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.path = folder / "web.yml"
        self.ca = Authority(folder, "ca")
        self.clients = Authority(folder, "clients")
        self.ca.issue("server")
        self.clients.issue("client", "scraper.example", "::1")
        self.write(text)
        self.url = ""

    def write(self, text: str, name: str = "web.yml") -> None:
        fresh = self.folder / "fresh"
        fresh.write_text(text)
        fresh.replace(self.folder / name)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[WebGate]:
        gate = WebGate(self.path)
        page = Page(BODY, "age ", 0.0)
        server = Server("127.0.0.1:0", lambda: page, interval_seconds=5, gate=gate)
        await server.start()
        self.url = server.url
        try:
            yield gate
        finally:
            await server.stop()

    def context(self, client: str = "", ca: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca or self.ca.file)
        if client:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return context

    async def get(
        self, path: str = "/metrics", *, auth: tuple[str, str] | None = None, **tls: Any
    ) -> tuple[int, bytes, Any]:
        """Over a connection of its own."""
        ssl_context: Any = self.context(**tls) if self.url.startswith("https") else True
        pair = base64.b64encode(":".join(auth or ()).encode()).decode()
        headers = {"Authorization": f"Basic {pair}"} if auth else {}
        connector = aiohttp.TCPConnector(ssl=ssl_context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(self.url + path, headers=headers) as response,
        ):
            return response.status, await response.read(), response.headers

    async def until(self, gate: WebGate, wanted: Callable[[str], bool]) -> str:
        """Until the gate's health is as wanted; its reason."""
        async with asyncio.timeout(30):
            while True:
                reason = (await gate.collect()).health.reason
                if wanted(reason):
                    return reason
                await asyncio.sleep(0.01)


def run(folder: Path, text: str, body: Callable[[Site, WebGate], Any]) -> None:
    async def whole() -> None:
        site = Site(folder, text)
        async with site.serving() as gate:
            await body(site, gate)

    asyncio.run(whole())


def test_an_empty_file_lets_everybody_in(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert site.url.startswith("http://")
        assert (await site.get())[0] == 200

    run(tmp_path, "# nothing\n", body)


def test_tls_alone(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        status, text, _ = await site.get()
        assert (status, text[: len(BODY)]) == (200, BODY)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await site.get(ca=site.clients.file)
        with pytest.raises(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(site.url.replace("https", "http") + "/metrics"):
                pass

    run(tmp_path, TLS, body)


def test_only_clients_with_a_certificate_of_the_ca_come_in(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert (await site.get(client="client"))[0] == 200
        for stranger in ("", "server"):
            with pytest.raises(aiohttp.ClientError):
                await site.get(client=stranger)

    run(tmp_path, MUTUAL, body)


def test_a_certificate_that_need_not_be_there_is_checked_where_it_is(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert (await site.get())[0] == 200
        assert (await site.get(client="client"))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await site.get(client="server")

    run(tmp_path, MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"), body)


@pytest.mark.parametrize(
    ("names", "status"), [("[scraper.example]", 200), ("['::1']", 200), ("[other, scraper]", 403)], ids=str
)
def test_a_client_must_have_an_allowed_name(names: str, status: int, tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        for path in ("/metrics", "/healthz"):
            assert (await site.get(path, client="client"))[0] in (status, 503)
        assert (await site.get(client="client"))[0] == status

    run(tmp_path, f"{MUTUAL}  client_allowed_sans: {names}\n", body)


def test_users_need_their_password_and_probes_do_not(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert (await site.get(auth=("ann", PASSWORD)))[0] == 200
        for wrong in (None, ("ann", "other"), ("bob", PASSWORD), ("ann", ""), ("", PASSWORD), ("ann", "x" * 100)):
            status, text, headers = await site.get(auth=wrong)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="gpufleet", charset="UTF-8"')
            assert BODY not in text
        assert (await site.get("/"))[0] == 401
        assert (await site.get("/nowhere"))[0] == 401
        assert (await site.get("/readyz"))[0] == 200
        assert (await site.get("/healthz"))[0] == 503  # the page of this test is old

    run(tmp_path, USERS, body)


@pytest.mark.parametrize("header", ["Basic !", "Basic " + base64.b64encode(b"\xff:x").decode(), "Bearer x", "Basic"])
def test_garbled_credentials_are_none(header: str, tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        sent = {"Authorization": header}
        async with aiohttp.ClientSession() as session, session.get(f"{site.url}/metrics", headers=sent) as response:
            assert response.status == 401

    run(tmp_path, USERS, body)


def test_a_hash_is_computed_once_for_a_scraper_and_for_all_who_ask_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checked = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *pair: checked.append(pair) or real(*pair))

    async def body(site: Site, _gate: WebGate) -> None:
        answers = await asyncio.gather(*(site.get(auth=("ann", PASSWORD)) for _ in range(20)))
        assert {status for status, _, _ in answers} == {200}
        assert len(checked) == 1
        assert (await site.get(auth=("ann", "other")))[0] == 401
        assert (await site.get(auth=("ann", "other")))[0] == 401
        assert len(checked) == 3

    run(tmp_path, USERS, body)


def test_while_strangers_try_passwords_those_who_are_known_come_in(monkeypatch: pytest.MonkeyPatch):
    async def whole() -> None:
        passwords = Passwords()
        users = {"ann": HASH}
        assert await passwords.right(users, "ann", PASSWORD)
        started, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def slow(_hashed: str, _password: str) -> bool:
            loop.call_soon_threadsafe(started.set)
            return bool(go_on.wait(30)) and False

        monkeypatch.setattr(web_passwords, "_matches", slow)
        tries = [asyncio.create_task(passwords.right(users, "bob", str(n))) for n in range(web_passwords.AT_ONCE)]
        await started.wait()
        with pytest.raises(BusyError):
            await passwords.right(users, "bob", "one more")
        assert await passwords.right(users, "ann", PASSWORD)
        go_on.set()
        assert await asyncio.gather(*tries) == [False] * web_passwords.AT_ONCE
        passwords.close()

    asyncio.run(whole())


def test_passwords_are_told_apart_by_no_more_than_bcrypt_reads():
    async def whole() -> None:
        long = "a" * 72
        users = {"ann": bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")}
        passwords = Passwords()
        assert await passwords.right(users, "ann", long + "more")
        assert not await passwords.right(users, "ann", long[:-1])
        assert not await passwords.right({"ann": "$2y$04$" + "." * 53}, "ann", long)
        passwords.close()

    asyncio.run(whole())


def test_headers_are_on_every_answer(tmp_path: Path):
    text = "http_server_config:\n  http2: false\n  headers: {X-Frame-Options: deny, X-XSS-Protection: 1}\n"

    async def body(site: Site, _gate: WebGate) -> None:
        for path, status in (("/metrics", 200), ("/nowhere", 404)):
            found, _, headers = await site.get(path)
            assert (found, headers["X-Frame-Options"], headers["X-XSS-Protection"]) == (status, "deny", "1")

    run(tmp_path, text, body)


def test_more_requests_than_the_limit_are_told_to_wait(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert [(await site.get())[0] for _ in range(4)] == [200, 200, 200, 429]

    run(tmp_path, "rate_limit: {interval: 1h, burst: 3}\n", body)


def test_new_users_count_at_once_and_old_ones_no_longer(tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        assert (await site.get(auth=("ann", PASSWORD)))[0] == 200
        site.write(USERS.replace("ann", "bea"))
        async with asyncio.timeout(30):
            while True:
                if (await site.get(auth=("bea", PASSWORD)))[0] == 200:
                    break
        assert (await site.get(auth=("ann", PASSWORD)))[0] == 401

    run(tmp_path, USERS, body)


def test_a_new_certificate_and_a_new_ca_are_taken_without_losing_a_request(tmp_path: Path):
    async def body(site: Site, gate: WebGate) -> None:
        failed = []

        async def scrape() -> None:
            while True:
                if (await site.get(client="client"))[0] != 200:
                    failed.append(1)

        scraper = asyncio.create_task(scrape())
        other = Authority(tmp_path, "other")
        other.issue("renewed")
        for end in ("pem", "key"):  # the pair does not fit for a moment, as with a slow copy
            (tmp_path / f"renewed.{end}").replace(tmp_path / f"server.{end}")
            if end == "pem":
                assert "the key is not the certificate's" in await site.until(gate, bool)
                assert (await site.get(client="client"))[0] == 200
                scraper.cancel()
        assert not failed
        await site.until(gate, lambda reason: not reason)
        assert (await site.get(client="client", ca=other.file))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await site.get(client="client")
        (tmp_path / "other.pem").replace(tmp_path / "clients.pem")  # the clients' CA is taken away
        authority = tmp_path / "clients.pem"
        async with asyncio.timeout(30):
            with contextlib.suppress(aiohttp.ClientError):  # from now on the client is a stranger
                while True:
                    await site.get(client="client", ca=authority)
        other.issue("newcomer")
        assert (await site.get(client="newcomer", ca=authority))[0] == 200

    run(tmp_path, MUTUAL, body)


def test_no_request_is_lost_while_the_file_changes_again_and_again(tmp_path: Path):
    def text(turn: int) -> str:
        return f"{TLS}http_server_config:\n  headers: {{X-XSS-Protection: {turn}}}\n"

    async def body(site: Site, _gate: WebGate) -> None:
        ended = asyncio.Event()

        async def scrape() -> list[int]:
            found = []
            while not ended.is_set():
                found.append((await site.get())[0])
            return found

        scrapers = [asyncio.create_task(scrape()) for _ in range(4)]
        async with asyncio.timeout(60):
            for turn in range(1, 16):
                site.write(text(turn))
                while (await site.get())[2]["X-XSS-Protection"] != str(turn):
                    pass
        ended.set()
        answers = await asyncio.gather(*scrapers)
        assert {status for found in answers for status in found} == {200}

    run(tmp_path, text(0), body)


FILE = "the file: known are basic_auth_users, http_server_config, rate_limit, tls_server_config"


def test_a_bad_file_leaves_the_old_one_standing_and_says_why_until_it_is_mended(tmp_path: Path):
    async def body(site: Site, gate: WebGate) -> None:
        for text, told in (
            (TLS + "  passwort: x\n", f"{site.path}:4: unknown key 'passwort' in tls_server_config"),
            (
                "a: 1\nrate_limit: {burst: x}\n",
                f"{site.path}:1: unknown key 'a' in {FILE} | {site.path}:2: ",
            ),
            (TLS.replace("server.pem", "gone.pem"), f"{site.path}:2: {tmp_path}/gone.pem: cannot be read"),
            (USERS, f"{site.path}:1: TLS cannot be switched on or off while this runs"),
        ):
            site.write(text)
            await site.until(gate, lambda reason, told=told: reason.startswith(told))
            assert not (await gate.collect()).health.up
            assert (await site.get())[0] == 200
        site.write(TLS + USERS)
        await site.until(gate, lambda reason: not reason)
        assert (await site.get())[0] == 401

    run(tmp_path, TLS, body)


def test_a_missing_certificate_is_found_once_it_is_there(tmp_path: Path):
    async def body(site: Site, gate: WebGate) -> None:
        site.write(TLS.replace("server.", "later."))
        await site.until(gate, bool)
        site.ca.issue("later")
        await site.until(gate, lambda reason: not reason)
        assert (await site.get())[0] == 200

    run(tmp_path, TLS, body)


def test_a_pair_in_the_file_itself(tmp_path: Path):
    ca = Authority(tmp_path, "inline")
    pem, key = ca.issue("pair")
    indented = {name: path.read_text().replace("\n", "\n    ").rstrip() for name, path in (("c", pem), ("k", key))}
    authority = ca.file.read_text().replace("\n", "\n    ").rstrip()
    text = (
        f"tls_server_config:\n  cert: |\n    {indented['c']}\n  key: |\n    {indented['k']}\n"
        f"  client_ca: |\n    {authority}\n  client_auth_type: RequireAndVerifyClientCert\n"
    )

    async def body(site: Site, _gate: WebGate) -> None:
        assert (await site.get(client="pair", ca=ca.file))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await site.get(client="client", ca=ca.file)

    run(tmp_path, text, body)


@pytest.mark.parametrize(
    ("more", "version", "cipher"),
    [
        ("", "TLSv1.3", ""),
        ("  max_version: TLS12\n", "TLSv1.2", ""),
        (
            "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n",
            "TLSv1.2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP384]\n", "TLSv1.3", ""),
        ("  prefer_server_cipher_suites: false\n", "TLSv1.3", ""),
    ],
)
def test_versions_and_suites_are_those_that_were_chosen(more: str, version: str, cipher: str, tmp_path: Path):
    async def body(site: Site, _gate: WebGate) -> None:
        port = int(site.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=site.context())
        found = writer.get_extra_info("ssl_object")
        assert found.version() == version
        assert cipher in ("", found.cipher()[0])
        writer.close()
        await writer.wait_closed()

    run(tmp_path, TLS + more, body)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("tls_server_config:\n  key_file: k\n", 2, "TLS needs a certificate; write cert_file and key_file"),
        ("tls_server_config:\n  cert_file: c\n", 2, "TLS needs the certificate's key; write key_file"),
        (TLS + "  cert: x\n", 4, "cert and cert_file are both given; keep one"),
        (TLS + "  min_version: TLS10\n", 4, "TLS10 is not spoken here, it is broken; write TLS12 or TLS13"),
        (TLS + "  max_version: TLS14\n", 4, "max_version must be one of TLS10, TLS11, TLS12, TLS13, not text"),
        (TLS + "  min_version: TLS13\n  max_version: TLS12\n", 4, "min_version TLS13 is above max_version TLS12"),
        (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", 4, "`TLS_RSA_WITH_RC4_128_SHA` is not offered here"),
        (
            TLS + "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
            5,
            "none of these suites is TLS 1.2's",
        ),
        (
            TLS + "  client_auth_type: RequireAnyClientCert\n",
            4,
            "RequireAnyClientCert asks for certificates and checks",
        ),
        (TLS + "  client_ca_file: clients.pem\n", 4, "a CA for clients is of no use without client_auth_type"),
        (
            TLS + "  client_allowed_sans: [a]\n",
            4,
            "names are checked with client_auth_type: RequireAndVerifyClientCert",
        ),
        (MUTUAL.replace("clients.pem", "server.key"), 5, "holds no certificates; give them in PEM form"),
        (TLS.replace("server.key", "web.yml"), 3, "certificate and key cannot be read"),
        (TLS.replace("server.key", "client.key"), 3, "the key is not the certificate's; give the pair"),
        ("http_server_config:\n  http2: true\n", 2, "HTTP/2 is not spoken here; write `http2: false`"),
        ("http_server_config:\n  headers:\n    Server: x\n", 3, "the header `Server` cannot be set; known are Content"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: no\n", 3, "not true or false: write it in quotes"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: all\n", 3, "`all` is no value of X-Frame-Options"),
        ('http_server_config:\n  headers:\n    X-XSS-Protection: "a\\nb: c"\n', 3, "has a line break"),
        ("basic_auth_users:\n  ann: secret\n", 2, "what stands for ann is no bcrypt hash; make one with `htpasswd"),
        (f"basic_auth_users:\n  ann: {HASH.replace('$04$', '$31$')}\n", 2, "the cost of ann's hash is 31; make one"),
        (f"basic_auth_users:\n  'a:b': {HASH}\n", 2, "`a:b` cannot be the name of a user"),
        ("rate_limit: {interval: often, burst: 1}\n", 1, "`often` is not a duration"),
        ("rate_limit: {interval: 1s}\n", 1, "with an interval and no burst nobody is let in"),
        ("tls:\n  cert_file: c\n", 1, "unknown key 'tls' in the file: known are basic_auth_users, http_server_config"),
        ("- a\n", 1, "is not a mapping"),
    ],
)
def test_what_cannot_be_honoured_is_told_with_its_line(text: str, line: int, told: str, tmp_path: Path):
    site = Site(tmp_path, text)
    with pytest.raises(InputError) as caught:
        WebGate(site.path)
    message = str(caught.value)
    assert message.startswith(f"{site.path}:{line}: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize("users", ["ann: sesame5353", "ann: 5353", "ann: [sesame5353]", "sesame5353"])
def test_no_secret_is_told(users: str, tmp_path: Path):
    site = Site(tmp_path, f"basic_auth_users:\n  {users}\n")
    with pytest.raises(InputError) as caught:
        WebGate(site.path)
    assert f"{site.path}:2: " in str(caught.value)
    assert "5353" not in str(caught.value)


def test_the_receiver_of_spans_stands_behind_a_file_of_its_own(tmp_path: Path):
    site = Site(tmp_path, TLS + USERS)

    async def whole() -> None:
        source = TracesSource("127.0.0.1", 0, node="n1", gate=WebGate(site.path))
        assert (await source.collect()).health.up
        site.url = f"https://127.0.0.1:{source.port}"
        assert (await site.get("/v1/traces"))[0] == 401
        assert (await site.get("/v1/traces", auth=("ann", PASSWORD)))[0] == 405  # it is for POST
        site.write("nonsense: 1\n")
        async with asyncio.timeout(30):
            while True:
                health = (await source.collect()).health
                if not health.up:
                    break
                await asyncio.sleep(0.01)
        assert health.reason.startswith(f"{site.path}:1: unknown key 'nonsense'")
        await source.close()

    asyncio.run(whole())


@pytest.mark.real
@pytest.mark.parametrize(
    "text",
    [
        "",
        TLS,
        MUTUAL,
        f"{TLS}  min_version: TLS13\n  prefer_server_cipher_suites: false\n{USERS}",
        f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n"
        "  curve_preferences: [X25519]\nhttp_server_config:\n  http2: false\n"
        "  headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=31536000}\n",
        USERS,
    ],
)
def test_prometheus_own_checker_takes_the_same_files(text: str, binary: Callable[[str], str], tmp_path: Path):
    """That of Prometheus 2.42, which does not know client_allowed_sans, keys in the file and rate_limit yet."""
    site = Site(tmp_path, text)
    command = [binary("promtool"), "check", "web-config", site.path]
    checker = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checker.returncode == 0, checker.stderr
    web_config.load(site.path)
