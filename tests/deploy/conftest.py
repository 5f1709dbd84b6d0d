"""Both halves of gpufleet, installed as images and plain hosts have them: by deploy/install.sh, from locked files.

It takes a quarter of a minute a half, so that each is made once a run, whichever worker needs it first.
"""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.chart_cases import Helm

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """The prefix that `deploy/install.sh agent|slo` made."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def install(part: str) -> Path:
        prefix = shared / f"installed-{part}"
        with (shared / f"{part}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (prefix / "bin" / "gpufleet").exists():
                done = subprocess.run(
                    [DEPLOY / "install.sh", part, prefix], capture_output=True, text=True, timeout=300, check=False
                )
                assert done.returncode == 0, done.stderr
                assert done.stdout.startswith("gpufleet ")
        return prefix

    return install


@pytest.fixture(scope="session")
def helm(binary: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The chart under the real helm."""
    return Helm(binary, tmp_path_factory.mktemp("helm"))
