"""Jobs from the files of a batch system's prolog."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from exporter.facts import Jobs
from exporter.model import Collected
from exporter.sources.slurm import LARGEST_FILE, JobsSource


def ask(folder: Path) -> Collected:
    return asyncio.run(JobsSource(folder).collect())


def test_each_file_is_a_gpu_or_an_instance_with_its_jobs(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("4711\n")
    (tmp_path / "1").write_text("1\n\n2\n2\n3")
    (tmp_path / "2.5").write_bytes(b" 4712 \r\n")
    (tmp_path / "3").write_text("")
    for other in ("README", "0.tmp", "-1", "1.2.3"):
        (tmp_path / other).write_text("9\n")
    got = ask(tmp_path)
    assert got.facts == (Jobs("0", "", ("4711",)), Jobs("1", "", ("1", "2", "3")), Jobs("2", "5", ("4712",)))
    assert (got.health.up, got.health.reason) == (True, "")


def test_a_job_is_gone_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("4711\n")
    assert ask(tmp_path).facts
    (tmp_path / "0").unlink()
    assert ask(tmp_path).facts == ()


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    got = ask(tmp_path / "none")
    assert (got.facts, got.health.up) == ((), False)
    assert got.health.reason == "the directory of job files does not exist"


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("4711\n")
    (tmp_path / "1").mkdir()
    got = ask(tmp_path)
    assert (got.facts, got.health.up, got.health.reason) == (
        (Jobs("0", "", ("4711",)),),
        False,
        "job files cannot be read: 1",
    )


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"x" * (LARGEST_FILE + 10), os.urandom(2000)])
def test_a_file_of_anything_costs_little_and_breaks_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0").write_bytes(content)
    (only,) = ask(tmp_path).facts
    assert isinstance(only, Jobs)
    assert all(len(job) <= 256 for job in only.jobs)
