"""Fixtures for every test: real binaries, and ports. Folders add their own in their conftest.py."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is not what is asked, and a busy machine takes its time.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

TOOLS = Path(__file__).parent.parent / ".venv" / "tools" / "usr" / "bin"


@pytest.fixture(scope="session")
def binary() -> Callable[[str], str]:
    """The path of a real server or tool; a test that needs one that is not here says so, and in CI fails."""

    def find(name: str) -> str:
        found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
        if found is None:
            reason = f"{name} is not on this machine: bash tests/tools.sh .venv/tools"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return found

    return find


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A loopback port that was free a moment ago."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
