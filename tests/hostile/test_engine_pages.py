"""A running agent whose engines mean harm: it stays small, says what is wrong, and reads the one beside them right."""

import gzip
import itertools
import random
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.sources.engine_page import PATHS
from tests.hostile import servers
from tests.hostile.processes import Running, ask, values, with_label
from tests.hostile.servers import Answer, HostileServer, endless, gzipped, page, raw, status

CAPTURE = Path(__file__).parent.parent / "captures" / "vllm-0.32.0.prom"
MOST_MIB = 450
"""For all of them at once; the chart lets the agent have 512."""
MIB = 1 << 20


def many_series() -> bytes:
    """As many series as fit, each of a known family, each with a model of its own."""
    head = b"# TYPE vllm:num_requests_running gauge\n"
    line = 'vllm:num_requests_running{{engine="0",model_name="m{}"}} 1\n'
    return head + "".join(line.format(number) for number in range(120_000)).encode()


def many_labels() -> bytes:
    labels = ",".join(f'l{number}="v"' for number in range(10_000_000 // 16))
    return f"vllm:num_requests_running{{{labels}}} 1\n".encode()


def odd(value: str) -> bytes:
    """The real page, but with another number of running requests."""
    lines = CAPTURE.read_bytes().splitlines(keepends=True)
    return b"".join(
        line.rsplit(b" ", 1)[0] + f" {value}\n".encode() if line.startswith(b"vllm:num_requests_running{") else line
        for line in lines
    )


def ever_new() -> Answer:
    """Pages within every limit, each of which has other series."""
    numbers = itertools.count()

    def answer(sock: socket.socket) -> None:
        line = f'vllm:num_requests_running{{engine="{next(numbers)}",model_name="m'
        page("".join(f'{line}{number}"}} 1\n' for number in range(49_000)).encode())(sock)

    return answer


PAGES = {
    "gzip-bomb": (gzipped(gzip.compress(bytes(1 << 30), 9)), "page too large"),
    "endless": (endless(b"x" * 65536), "page too large"),
    "a-byte-a-second": (endless(b"x", pause=1.0), "no answer in time"),
    "silent": (servers.silent, "no answer in time"),
    "endless-header": (servers.endless_header, "not an HTTP answer"),
    "many-series": (page(many_series()), "not a whole metrics page"),
    "ever-new": (ever_new(), "page with too many series|page too costly to read|still busy with an earlier page"),
    "many-labels": (page(many_labels()), "page too large|not a whole metrics page"),
    "long-line": (page(b'vllm:num_requests_running{model_name="' + b"m" * (7 * MIB) + b'"} 1\n'), "not a whole"),
    "not-utf-8": (page(b'vllm:num_requests_running{model_name="\xff\xfe"} 1\n'), "not a whole metrics page"),
    "nul": (page(b"\0" * MIB), "not a whole metrics page"),
    "hexadecimal": (page(odd("0x10")), "not a whole metrics page"),
    "underscores": (page(odd("1_0")), "not a whole metrics page"),
    "noise": (page(random.Random(1).randbytes(4 * MIB)), "not a whole metrics page"),
    "not-http": (raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), "not an HTTP answer"),
    "redirect-to-a-file": (status("302 Found", "Location: file:///etc/passwd\r\n"), "answered 302"),
    "redirect-to-metadata": (status("302 Found", "Location: http://169.254.169.254/latest/\r\n"), "answered 302"),
    "two-lengths": (status("200 OK", "Content-Length: 5\r\n", b"hello"), "not an HTTP answer"),
    "breaks-off": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nvllm"), "page cut short"),
}
"""What stands at each path, and how the agent calls it."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Mapping[str, str]]]:
    """The agent, and the URL of each engine by its name."""
    folder = tmp_path_factory.mktemp("agent")
    answers = {name: answer for name, (answer, _) in PAGES.items()}
    answers |= {"good": page(CAPTURE.read_bytes()), "huge": page(odd("1e999")), "nan": page(odd("NaN"))}
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(HostileServer(dict.fromkeys(PATHS, answer))).url
            for name, answer in answers.items()
        }
        engines = "".join(f"  - url: {url}\n" for url in urls.values())
        (folder / "agent.yaml").write_text(f"gpu: none\nlisten: 127.0.0.1:0\ninterval: 5s\nengines:\n{engines}")
        running = stack.enter_context(Running("agent", "--config", "agent.yaml", folder=folder))
        running.until(lambda: ask(running.url + "/readyz")[0] == 200)
        yield running, urls


def reasons(running: Running, urls: Mapping[str, str]) -> dict[str, str]:
    """What the agent says of each engine that is down."""
    told = values(running.get("/metrics"), "gpufleet_source_up")
    return {
        name: labels.partition('reason="')[2].partition('"')[0]
        for name, url in urls.items()
        for labels, up in told.items()
        if f'source="engine {url}"' in labels and not up
    }


def test_each_is_called_by_what_is_wrong_with_it(agent: tuple[Running, Mapping[str, str]]) -> None:
    running, urls = agent
    told = reasons(running, urls)
    assert set(told) == {*PAGES, "huge"}
    slow = {name: f"{wanted}|no answer in time" for name, (_, wanted) in PAGES.items()}  # a machine may be busy
    assert {name: reason for name, reason in told.items() if not re.search(slow.get(name, "not a whole"), reason)} == {}


def test_the_engine_beside_them_is_read_right_and_what_is_no_number_is_absent(
    agent: tuple[Running, Mapping[str, str]],
) -> None:
    running, urls = agent
    found = values(running.get("/metrics"), "llm_requests_running")
    at = {name: url.removeprefix("http://") for name, url in urls.items()}
    assert with_label(found, f'target="{at["good"]}"') == [0.0]
    assert with_label(found, f'target="{at["nan"]}"') == with_label(found, f'target="{at["huge"]}"') == []


def test_no_redirect_is_followed_and_no_other_place_asked(agent: tuple[Running, Mapping[str, str]]) -> None:
    running, _ = agent
    assert "root:" not in running.get("/metrics") + running.said
    assert "169.254" not in running.get("/metrics") + running.said


def test_all_of_it_takes_little_memory(agent: tuple[Running, Mapping[str, str]]) -> None:
    running, urls = agent
    ends = time.monotonic() + 8
    while time.monotonic() < ends:  # some collections, each with pages that are new in all their lines
        assert with_label(values(running.get("/metrics"), "gpufleet_source_up"), f'"engine {urls["good"]}"') == [1.0]
        time.sleep(0.5)
    assert running.peak_mib < MOST_MIB, running.peak_mib
