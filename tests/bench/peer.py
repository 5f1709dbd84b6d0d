"""nvitop-exporter, in an environment of its own made here, as something to compare the agent's cost with."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGE = "nvitop-exporter"
INTERVAL_SECONDS = 5
_STARTED_WITHIN_SECONDS = 30.0


class Nvitop(NamedTuple):
    """Its program."""

    program: Path

    @classmethod
    def installed(cls, folder: Path) -> Nvitop | None:
        """Install it from the package index into `folder` unless it is there; None where that cannot be done."""
        program = folder / "bin" / "nvitop-exporter"
        if not program.exists():
            pip = str(folder / "bin" / "pip")
            for command in ([sys.executable, "-m", "venv", str(folder)], [pip, "install", "-q", PACKAGE]):
                if subprocess.run(command, check=False, timeout=300).returncode:
                    return None
        return cls(program)

    @contextlib.contextmanager
    def running(self, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """It, reading every INTERVAL_SECONDS, and the URL of its page."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(self.program), "--port", str(port), "--interval", str(INTERVAL_SECONDS)]
        own = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
        process = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + _STARTED_WITHIN_SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("nvitop-exporter did not start; does the stub have every call that it needs?")
                time.sleep(0.1)
            yield process, f"http://127.0.0.1:{port}/metrics"
        finally:
            process.kill()
            process.wait()
