"""The real agent and the real service as processes of their own, with what they took of memory and what they said."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

START_SECONDS = 60.0
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""What images and units set (tests/deploy/test_image.py, test_systemd.py)."""
T = TypeVar("T")


class Running:
    """`gpufleet` with these arguments, on a listener of its own, until the end of the block.

    `url` is where it listens, `said` what it wrote to both outputs.
    """

    def __init__(self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "gpufleet", *arguments]
        self._environment = {**os.environ, **MALLOC, "HOME": str(folder)}
        self._environment |= {"PYTHONUNBUFFERED": "1", **(environment or {})}
        self._folder = folder
        self._lines: list[str] = []
        self.url = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, cwd=self._folder, env=self._environment, text=True, errors="backslashreplace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.until(self._where)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        return self

    def _where(self) -> str:
        """The address that it said it listens on."""
        return next(iter(re.findall(r"(?:agent on |page on |^  )(https?://[^/\s]+)", self.said, re.MULTILINE)), "")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._end(signal.SIGTERM)
        if value is None:
            assert "Traceback" not in self.said, self.said

    def _end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def until(self, wanted: Callable[[], T], seconds: float = START_SECONDS) -> T:
        """Until something is true; what it then is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.said}")
            with contextlib.suppress(OSError, urllib.error.URLError):
                if found := wanted():
                    return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s; it said: {self.said[-4000:]}")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> str:
        """The body of an answer of 200. ConnectionRefusedError where it is not ready yet: `until` asks again."""
        status, body, _ = ask(self.url + path, headers)
        if status == 503:
            raise ConnectionRefusedError(body)
        assert status == 200, body
        return body

    @property
    def peak_mib(self) -> float:
        """The most memory it ever had resident."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) / 1024


def ask(
    url: str, headers: Mapping[str, str] | None = None, *, body: bytes | None = None, method: str | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of an answer, over a connection of its own."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode("utf-8", "replace"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace"), dict(error.headers)


def values(page: str, family: str) -> dict[str, float]:
    """Labels as they are written → value, of one family of a page."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        match = re.fullmatch(rf"{re.escape(family)}(\{{.*\}})? (\S+)", line)
        if match:
            found[match[1] or ""] = float(match[2])
    return found


def with_label(found: Mapping[str, float], *parts: str) -> Sequence[float]:
    """The values whose labels have all these parts."""
    return [value for labels, value in found.items() if all(part in labels for part in parts)]
