"""Jobs of a batch system and the GPUs they run on, from files that its prolog writes. Gives facts alone.

Imports exporter.facts and exporter.model. The files are dcgm-exporter's: in one directory, named `<gpu>` or
`<gpu>.<GPU instance>` with the driver's index, one job id a line; the epilog takes them away, or the job's line.

Status: stands. Context: dcgm-exporter repeats every series for each job of a shared GPU, so that any sum over them
counts the GPU twice. Decision: files are read at each collection, and what they say goes to exporter.holders: a job
that is alone on its GPU is on its series, of several none is, and gpu_job_info has them all. Consequences: a job is
gone with the collection after its file; one file that cannot be read hides its own jobs only, and is said.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

from exporter.facts import Jobs
from exporter.model import Collected, Health

LARGEST_FILE = 64 * 1024
MOST_FILES = 4096
_LONGEST_JOB = 256
_NAME = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?")


class JobsSource:
    """The files in `directory`."""

    name = "jobs"

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock

    async def collect(self) -> Collected:
        """Read the files once. They may be on another machine's disk, so a thread does it."""
        started = self._clock()
        facts, reason = await asyncio.to_thread(self._read)
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), facts)

    async def close(self) -> None:
        """Nothing is held open."""

    def _read(self) -> tuple[tuple[Jobs, ...], str]:
        try:
            names = sorted(path.name for path in self._directory.iterdir())
        except FileNotFoundError:
            return (), "the directory of job files does not exist"
        except OSError as error:
            return (), f"the directory of job files cannot be read: {error.strerror}"
        found = []
        unread = []
        for match in [match for match in map(_NAME.fullmatch, names) if match][:MOST_FILES]:
            try:
                jobs = self._jobs(match[0])
            except FileNotFoundError:
                continue  # its job has ended since
            except OSError:
                unread.append(match[0])
                continue
            if jobs:
                found.append(Jobs(str(int(match[1])), str(int(match[2])) if match[2] else "", jobs))
        return tuple(found), f"job files cannot be read: {', '.join(unread)}" if unread else ""

    def _jobs(self, name: str) -> tuple[str, ...]:
        """The job ids in a file, each once."""
        with (self._directory / name).open("rb") as file:
            text = file.read(LARGEST_FILE).decode("utf-8", "replace")
        lines = (line.strip()[:_LONGEST_JOB] for line in text.splitlines())
        return tuple(dict.fromkeys(line for line in lines if line))
