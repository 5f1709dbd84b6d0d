"""What processes cost and how long pages take: processor time and memory from /proc, pages by bare sockets."""

from __future__ import annotations

import os
import re
import socket
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GROWTH_FROM_SECONDS = 900.0
_MOST_BYTES, _MOST_HEAD = 8 << 20, 4096


def children(pid: int) -> list[int]:
    """`pid` and every process below it."""
    below = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(one for path in below for child in path.read_text().split() for one in children(int(child)))]


def processor_seconds(pid: int) -> float:
    """User and system time of one process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int, kind: str = "Pss") -> float:
    """Proportional share of memory of one process; `kind` may be another row of smaps_rollup."""
    match = re.search(rf"^{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) / 1024


def scrape(url: str, scrapers: int, requests: int, encoding: str) -> tuple[list[float], int]:
    """Milliseconds of each of `requests` pages that each of `scrapers` asks one after the other, and a page's bytes.

    Bare sockets and room made beforehand rather than an HTTP client: it is not the scrapers who are measured, and a
    client that handles half a megabyte in Python takes longer for it than the server does.
    """
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").partition(":")
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: {encoding}\r\n\r\n".encode()
    took: list[float] = []
    sizes: list[int] = []

    def one() -> None:
        room = memoryview(bytearray(_MOST_BYTES))
        sock = socket.create_connection((host, int(port)))
        for _ in range(requests):
            started = time.perf_counter()
            sock.sendall(request)
            sizes.append(answer(sock, room))
            took.append((time.perf_counter() - started) * 1000)
            if bytes(room[:8]) == b"HTTP/1.0":  # it closes after each answer
                sock.close()
                sock = socket.create_connection((host, int(port)))
        sock.close()

    with ThreadPoolExecutor(scrapers) as pool:
        for done in [pool.submit(one) for _ in range(scrapers)]:
            done.result()
    return took, sizes[-1]


def answer(sock: socket.socket, room: memoryview) -> int:
    """Read one answer into `room`: the length of its body."""
    have = 0
    while True:
        have += sock.recv_into(room[have:])
        head = bytes(room[: min(have, _MOST_HEAD)])
        end = head.find(b"\r\n\r\n") + 4
        if end > 3:
            break
    assert re.match(rb"HTTP/1\.[01] 200", head), head
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length
    lacking = end + int(length[1]) - have
    if lacking:
        assert sock.recv_into(room[have:], lacking, socket.MSG_WAITALL) == lacking
    return int(length[1])


def pages(url: str, encoding: str, scrapers: int = 8, requests: int = 250, rounds: int = 5) -> dict[str, float]:
    """Times of `scrapers` at once, each asking again as soon as it has its page: the round with the least p99.

    Others use this machine too: what a round was disturbed by is none of the page's time.
    """
    found = []
    for _ in range(rounds):
        took, size = scrape(url, scrapers, requests, encoding)
        took.sort()
        found.append((took[int(len(took) * 0.99)], statistics.median(took), size))
        time.sleep(1)
    p99, p50, size = min(found)
    return {"page_bytes": size, "page_p50_ms": round(p50, 2), "page_p99_ms": round(p99, 2)}


class Cost:
    """What a process and those below it cost since this was made. Percent are of one core, memory is PSS in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = {one: processor_seconds(one) for one in children(pid)}
        self._started = time.monotonic()
        self._memory: list[tuple[float, float]] = []

    def watch(self, seconds: float, every: float = 10.0) -> None:
        """Let time pass, and look at the memory now and then."""
        until = self._started + seconds
        while (left := until - time.monotonic()) > 0:
            self._memory.append((time.monotonic() - self._started, self.memory("Anonymous")))
            time.sleep(min(every, left))

    def memory(self, kind: str = "Pss") -> float:
        """Of all its processes."""
        return sum(pss_mib(one, kind) for one in children(self._pid))

    def found(self) -> dict[str, float | None]:
        """The figures. Growth is that of the second half of the time watched, extrapolated to an hour.

        It goes by anonymous memory: a share in libraries moves with how many others have them loaded. Over less than
        GROWTH_FROM_SECONDS it would be noise times a large number, and is None.
        """
        spent = {one: processor_seconds(one) - self._before.get(one, 0.0) for one in children(self._pid)}
        lasted = time.monotonic() - self._started
        half = [point for point in self._memory if point[0] >= lasted / 2]
        return {
            "seconds": round(lasted),
            "cpu_percent": round(100 * sum(spent.values()) / lasted, 3),
            "cpu_percent_below": round(100 * sum(list(spent.values())[1:]) / lasted, 3),
            "processes": len(spent),
            "pss_mib": round(self.memory(), 1),
            "pss_mib_below": round(sum(pss_mib(one) for one in children(self._pid)[1:]), 1),
            "growth_mib_per_hour": round(3600 * slope(half), 2) if lasted >= GROWTH_FROM_SECONDS else None,
        }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best; 0 through fewer than three points."""
    if len(points) < 3:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope
