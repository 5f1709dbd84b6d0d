"""A running service whose Prometheus means harm: it says what is wrong, counts nothing of it, and goes on."""

import asyncio
import gzip
import json
import re
import socket
import time
from pathlib import Path

import pytest

from slo.observed import Missed, Scrape
from slo.sources.prometheus import PrometheusSource
from slo.sources.query import MAX_SAMPLES
from tests.hostile import servers
from tests.hostile.processes import Running, ask
from tests.hostile.servers import Answer, HostileServer, endless, gzipped, page, raw, status

MOST_MIB = 500
SLO = """apiVersion: gpufleet/v1
service: chat
slos: [{name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 1d}]
"""
PATH = "/api/v1/query"
AGE = {"__name__": "gpufleet_snapshot_age_seconds", "job": "gpufleet", "instance": "n:9400"}


def matrix(values: str, metric: object = AGE) -> Answer:
    """An answer with one series of these samples."""
    result = f'{{"metric":{json.dumps(metric)},"values":[{values}]}}'
    return page(f'{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}'.encode())


def now(template: str) -> Answer:
    """Samples of now: AT stands for the time."""

    def answer(sock: socket.socket) -> None:
        matrix(template.replace("AT", f"{time.time():.3f}"))(sock)

    return answer


ANSWERS: dict[str, tuple[Answer, str]] = {
    "gzip-bomb": (gzipped(gzip.compress(bytes(1 << 30), 9)), "an answer longer than 32 MiB"),
    "endless": (endless(b"[" * 65536), "an answer longer than 32 MiB"),
    "too-many-samples": (matrix(",".join(['[1,"1"]'] * 2_000_000)), "more than 1000000 samples"),
    "nested": (page(b'{"x":' + b"[" * 100_000), "not the answer of a Prometheus"),
    "not-utf-8": (page(b'{"status":"success","error":"\xff"}'), "not the answer of a Prometheus"),
    "nul": (page(b"\0" * 1000), "not the answer of a Prometheus"),
    "of-letters": (now('[AT,"many"]'), "numbers that are none"),
    "hexadecimal": (now('[AT,"0x10"]'), "numbers that are none"),
    "of-the-future": (matrix('[1e300,"1"]'), "times that were not asked for"),
    "before-time": (matrix('[-1e300,"1"]'), "times that were not asked for"),
    "too-large-a-number": (matrix('[1e999,"1"]'), "not the answer of a Prometheus"),
    "age-ahead": (now('[AT,"-1e300"]'), "dates its readings into the future"),
    "age-without": (now('[AT,"NaN"]'), "dates its readings into the future"),
    "words-for-a-terminal": (status("500 Oh", "", b"\x1b]0;owned\x07 \x00\r\nSet-Cookie: a" * 1000), "HTTP 500"),
    "redirect-to-a-file": (status("302 Found", "Location: file:///etc/passwd\r\n"), "redirects are not followed"),
    "redirect-to-metadata": (status("307 Away", "Location: http://169.254.169.254/\r\n"), "redirects are not followed"),
    "endless-header": (servers.endless_header, "not an HTTP answer"),
    "not-http": (raw(b"SSH-2.0-x\r\n\r\n"), "not an HTTP answer"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_is_called_by_what_is_wrong_with_it_and_counts_nothing(name: str) -> None:
    answer, wanted = ANSWERS[name]

    async def polled(url: str) -> list[Scrape | Missed]:
        source = PrometheusSource(url, [], clock=time.time)
        try:
            return await source.poll()
        finally:
            await source.close()

    with HostileServer({PATH: answer}) as server:
        found = asyncio.run(polled(server.url))
        assert server.asked
        assert set(server.asked) == {PATH}
    [missed] = found
    assert isinstance(missed, Missed)
    assert re.search(wanted, missed.reason), missed.reason
    assert missed.reason.isprintable()
    assert len(missed.reason) < 300


def many_samples() -> bytes:
    """As much of an answer as is read, as small in bytes and as large in memory as samples can be."""
    samples = ",".join(['[1,"1"]'] * (MAX_SAMPLES - 10))
    return f'{{"status":"success","data":{{"result":[{{"metric":{json.dumps(AGE)},"values":[{samples}]}}]}}}}'.encode()


def test_a_service_goes_on_with_a_prometheus_that_sends_all_it_can(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(SLO)
    with HostileServer({PATH: page(many_samples())}) as server:
        command = ("slo", "serve", "--slos", "chat.yaml", "--prometheus", server.url, "--data", "data")
        with Running(*command, "--listen", "127.0.0.1:0", folder=tmp_path) as running:
            running.until(lambda: len(server.asked) > 2)
            running.until(lambda: ask(f"{running.url}/readyz")[0] == 200)
            assert "ttft" in running.get("/")
            assert running.peak_mib < MOST_MIB, running.peak_mib
