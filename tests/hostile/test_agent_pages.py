"""A running service with agents that mean harm, and one beside them that does not: its counts are right."""

import gzip
import itertools
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from tests.hostile import servers
from tests.hostile.processes import Running, ask
from tests.hostile.servers import Answer, HostileServer, endless, gzipped, page, raw, status

MIB = 1 << 20
MOST_MIB = 450
"""The chart lets the service have 512."""
MODEL = "m"
SLOS = f"""apiVersion: gpufleet/v1
service: chat
selector: {{model_name: {MODEL}}}
slos:
  - {{name: availability, signal: availability, method: occurrences, objective: 99%, window: 1d, group_by: [tenant]}}
"""


def agents_page(age: str = "0.1", *, target: str, more: str = "") -> bytes:
    """What an agent tells of one engine that is well."""
    labels = f'model_name="{MODEL}",engine="vllm",target="{target}",node="n"'
    return (
        f"gpufleet_snapshot_age_seconds {age}\n"
        f"llm_engine_up{{{labels}}} 1\n"
        f'llm_requests_total{{{labels},code="2xx"}} 1\n'
        f'llm_requests_total{{{labels},code="5xx"}} 0\n{more}'
    ).encode()


def ever_new() -> Answer:
    """Series that never were before, of families that are counted."""
    numbers = itertools.count()

    def answer(sock: socket.socket) -> None:
        at = next(numbers)
        line = f'llm_requests_total{{model_name="{MODEL}",engine="vllm",node="n",code="2xx",tenant="{at}-'
        more = "".join(f'{line}{number}",target="t{number}"}} 1\n' for number in range(60_000))
        page(agents_page(target="x", more=more))(sock)

    return answer


PAGES = {
    "gzip-bomb": (gzipped(gzip.compress(bytes(1 << 30), 9)), "longer than"),
    "endless": (endless(b"x" * 65536), "longer than"),
    "a-byte-a-second": (endless(b"x", pause=1.0), "no answer within"),
    "silent": (servers.silent, "no answer within"),
    "endless-header": (servers.endless_header, "not an HTTP answer"),
    "ever-new": (ever_new(), "too costly|still busy"),
    "nul": (page(b"\0" * MIB), "not the page of a gpufleet agent"),
    "not-utf-8": (page(agents_page(target="?").replace(b"?", b"\xff")), "not the page"),
    "dated-ahead": (page(agents_page("-1e300", target="x")), "dates its readings into the future"),
    "dated-never": (page(agents_page("-Inf", target="x")), "dates its readings into the future"),
    "not-dated": (page(agents_page("NaN", target="x")), "dates its readings into the future"),
    "redirect-to-a-file": (status("302 Found", "Location: file:///etc/passwd\r\n"), "answered 302"),
    "redirect-to-metadata": (status("307 Away", "Location: http://169.254.169.254/latest/\r\n"), "answered 307"),
    "not-http": (raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), "not an HTTP answer"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Mapping[str, str]]]:
    """The service, and the URL of each agent by its name."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "slos").mkdir()
    (folder / "slos" / "chat.yaml").write_text(SLOS)
    answers = {name: answer for name, (answer, _) in PAGES.items()}
    answers["good"] = page(agents_page(target="good:1"))
    with ExitStack() as stack:
        urls = {name: stack.enter_context(HostileServer({"/metrics": one})).url for name, one in answers.items()}
        agents = [argument for url in urls.values() for argument in ("--agent", url)]
        command = ("slo", "serve", "--slos", "slos", *agents, "--data", "data", "--listen", "127.0.0.1:0")
        running = stack.enter_context(Running(*command, folder=folder))
        good = f"{urls['good']}/metrics"
        running.until(lambda: any(one["up"] for one in health(running)["sources"] if one["name"] == good))
        yield running, urls


def health(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(ask(running.url + "/healthz")[1])
    return found


def test_each_is_called_by_what_is_wrong_with_it(service: tuple[Running, Mapping[str, str]]) -> None:
    running, urls = service

    def reasons() -> dict[str, str]:
        told = {one["name"]: one["reason"] for one in health(running)["sources"] if not one["up"]}
        return {name: told[f"{url}/metrics"] for name, url in urls.items() if f"{url}/metrics" in told}

    told = running.until(lambda: found if {*(found := reasons()), "ever-new"} == {*PAGES, "ever-new"} else None)
    slow = {name: f"{wanted}|no answer within" for name, (_, wanted) in PAGES.items()}  # a machine may be busy
    assert {name: reason for name, reason in told.items() if not re.search(slow[name], reason)} == {}


def test_the_agent_beside_them_answers_all_the_while_and_it_takes_little_memory(
    service: tuple[Running, Mapping[str, str]],
) -> None:
    running, urls = service
    ends = time.monotonic() + 8
    while time.monotonic() < ends:
        [good] = [one for one in health(running)["sources"] if one["name"] == f"{urls['good']}/metrics"]
        assert good["up"], good
        time.sleep(0.5)
    assert running.peak_mib < MOST_MIB, running.peak_mib


def test_nothing_of_another_place_is_told(service: tuple[Running, Mapping[str, str]]) -> None:
    running, _ = service
    told = running.said + running.get("/metrics") + ask(running.url + "/healthz")[1]
    assert "root:" not in told
    assert "169.254" not in told
