"""What processes cost and how long pages take: processor time and memory from /proc, pages by bare sockets."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path


def children(pid: int) -> list[int]:
    """`pid` and every process below it."""
    below = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(one for path in below for child in path.read_text().split() for one in children(int(child)))]


def processor_seconds(pid: int) -> float:
    """User and system time of one process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    """Proportional share of memory of one process."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) / 1024


async def scrape(url: str, scrapers: int, requests: int, encoding: str) -> tuple[list[float], int]:
    """Milliseconds of each of `requests` pages that each of `scrapers` asks one after the other, and a page's bytes.

    Bare streams rather than an HTTP client: the scrapers share one process, and it is not them who are measured.
    """
    took: list[float] = []
    size = 0
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").partition(":")
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: {encoding}\r\n\r\n".encode()

    async def one() -> None:
        nonlocal size
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
        for _ in range(requests):
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert re.match(rb"HTTP/1\.[01] 200", head), head
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length
            size = len(await reader.readexactly(int(length[1])))
            took.append((time.perf_counter() - started) * 1000)
            if head.startswith(b"HTTP/1.0"):  # it closes after each answer
                writer.close()
                reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(scrapers)))
    return took, size


def pages(url: str, encoding: str, scrapers: int = 8, requests: int = 250, rounds: int = 5) -> dict[str, float]:
    """Times of `scrapers` at once, each asking again as soon as it has its page: the round with the least p99.

    Others use this machine too: what a round was disturbed by is none of the page's time.
    """
    found = []
    for _ in range(rounds):
        took, size = asyncio.run(scrape(url, scrapers, requests, encoding))
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
            self._memory.append((time.monotonic() - self._started, self.pss()))
            time.sleep(min(every, left))

    def pss(self) -> float:
        """Of all its processes."""
        return sum(pss_mib(one) for one in children(self._pid))

    def found(self) -> dict[str, float]:
        """The figures. Growth is extrapolated from the second half of the time watched."""
        spent = {one: processor_seconds(one) - self._before.get(one, 0.0) for one in children(self._pid)}
        lasted = time.monotonic() - self._started
        half = [point for point in self._memory if point[0] >= lasted / 2]
        return {
            "seconds": round(lasted),
            "cpu_percent": round(100 * sum(spent.values()) / lasted, 3),
            "cpu_percent_below": round(100 * sum(list(spent.values())[1:]) / lasted, 3),
            "processes": len(spent),
            "pss_mib": round(self.pss(), 1),
            "pss_mib_below": round(sum(pss_mib(one) for one in children(self._pid)[1:]), 1),
            "growth_mib_per_hour": round(3600 * slope(half), 2),
        }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best; 0 through fewer than three points."""
    if len(points) < 3:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope
