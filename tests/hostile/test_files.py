"""Files that mean harm: each is refused in one clear line, soon, and in little memory; nothing hangs."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slo.model import Matcher

SECONDS = 30.0
MEMORY = 1 << 30
"""Of address space, interpreter and libraries included."""
HEAD = "apiVersion: gpufleet/v1\nservice: chat\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
TEXTS = {
    "a-billion-laughs": (LAUGHS.encode(), "values, aliases written out"),
    "nested": (b"a: " + b"[" * 100_000, "nested deeper than 16 levels"),
    "nested-maps": (b"".join(b" " * n + b"a:\n" for n in range(1000)), "nested deeper than 16 levels"),
    "a-huge-scalar": (HEAD.encode() + b"description: " + b"x" * (2 << 20), "larger than 1 MiB"),
    "many-documents": (b"--- {}\n" * 140_000, "more than 100000 values"),
    "of-itself": (b"a: &a [*a]\n", "stands for nothing"),
    "a-tag": (b"a: !!python/object/apply:os.system ['touch owned']\n", "the tag"),
    "nul": (b"a: \0\n", "a control character"),
    "not-utf-8": (b"a: \xff\n", "not UTF-8"),
    "a-long-number": (b"a: " + b"9" * 100_000 + b"\n", "not a number that can be read|unknown key|not an SLO|shorter"),
}


def gpufleet(*arguments: str, folder: Path) -> tuple[int, str]:
    """Exit status and all that it said, with little memory to have."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "gpufleet", *arguments],
        cwd=folder, preexec_fn=bound, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_slos_that_mean_harm_are_refused_each_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "slos").mkdir()
    for name, (text, _) in TEXTS.items():
        (tmp_path / "slos" / f"{name}.yaml").write_bytes(text)
    status, said = gpufleet("slo", "validate", "slos", folder=tmp_path)
    assert status == 1
    for name, (_, wanted) in TEXTS.items():
        assert re.search(rf"^slos/{name}\.yaml:\d+: .*({wanted})", said, re.MULTILINE), said
    assert max(map(len, said.splitlines())) < 500
    assert "Traceback" not in said
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["a-billion-laughs", "a-tag"])
def test_settings_that_mean_harm_are_refused_with_their_line(tmp_path: Path, name: str) -> None:
    text, wanted = TEXTS[name]
    (tmp_path / "a.yaml").write_bytes(text)
    status, said = gpufleet("agent", "--once", "--config", "a.yaml", folder=tmp_path)
    assert status == 1
    assert re.search(rf"a\.yaml:\d+: .*({wanted})", said), said
    assert "Traceback" not in said
    assert not (tmp_path / "owned").exists()


def fifo(at: Path) -> None:
    os.mkfifo(at)


def loop(at: Path) -> None:
    at.symlink_to(at.name)


def device(at: Path) -> None:
    at.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("made", "wanted"), [(fifo, "is no file"), (device, "is no file"), (loop, "Too many levels of symbolic links")]
)
def test_what_is_no_file_in_a_directory_of_slos_is_not_read(
    tmp_path: Path, made: Callable[[Path], None], wanted: str
) -> None:
    (tmp_path / "slos").mkdir()
    made(tmp_path / "slos" / "a.yaml")
    status, said = gpufleet("slo", "validate", "slos", folder=tmp_path)
    assert status == 1
    assert wanted in said
    assert "slos/a.yaml" in said
    assert "Traceback" not in said


def test_a_device_as_settings_is_read_no_further_than_settings_may_be(tmp_path: Path) -> None:
    status, said = gpufleet("agent", "--once", "--config", "/dev/zero", folder=tmp_path)
    assert status == 1
    assert "/dev/zero:1: the file is larger than 1 MiB" in said


def test_a_regular_expression_of_a_file_cannot_hold_up_a_service() -> None:
    slow = Matcher("model_name", "=~", "(a+)+(a|b|ab)*$")  # for engines that try all ways: longer than the universe
    assert not slow.matches({"model_name": "a" * 50_000 + "!"})
    assert slow.matches({"model_name": "a" * 50_000})
