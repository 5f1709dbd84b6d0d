"""`gpufleet doctor --record`: what NVML answers on this machine, for RECORD_SECONDS, in one file that can be replayed.

The agent's own worker reads the GPUs as it always does, through a driver that writes down each call; so a driver that
hangs here is given up on as in the agent, and the recording has the call that hung. The file is replayed once before it
is called good. Captures of real GPUs belong under tests/captures.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import shutil
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from exporter.model import InputError
from exporter.sources.nvml import NvmlSource
from exporter.sources.nvml_process import STARTING
from exporter.sources.nvml_recording import FILE, HUNG, Call, calls_of

RECORD_SECONDS = 60.0
"""Everything is read at least twice by then but for limits, which are read at the start."""
INTERVAL_SECONDS = 5.0
_FIRST_OF_A_GPU = "nvmlDeviceGetHandleByIndex"
_RECORDER, _REPLAY = "exporter.sources.nvml_recorder", "exporter.sources.replay"


class Calls(NamedTuple):
    """The calls of one function: how many, how many were refused, how many never ended, and how long they took."""

    function: str
    made: int
    refused: int
    hung: int
    median_us: float
    slowest_us: int


class Recording(NamedTuple):
    """What was recorded; `readings` is what the replay gave, `reason` why the last collection was not whole."""

    calls: list[Calls]
    readings: int
    reason: str


def record(file: Path, *, seconds: float, interval: float = INTERVAL_SECONDS) -> Recording:
    """Record into `file`, which must not be there yet. Raises InputError: no place for it, no driver that answers."""
    if file.exists():
        raise InputError(f"{file}: is there already; name another file")
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_bytes(b"")
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}; name a file in a folder of yours") from error
    try:
        reason = asyncio.run(_collect(part, seconds, interval))
        calls = _calls(part)
        if not _tells_anything(calls):
            raise InputError(f"nothing recorded: {reason or 'no GPU answered'}; gpufleet doctor tells more")
        with part.open("rb") as plain, gzip.open(file, "wb") as packed:
            shutil.copyfileobj(plain, packed)
    finally:
        part.unlink(missing_ok=True)
    return Recording(calls, asyncio.run(_replayed(file)), reason)


async def _collect(part: Path, seconds: float, interval: float) -> str:
    """Read the GPUs for so long; why the last collection was not whole, empty where it was."""
    source = NvmlSource(node="recorded", driver=_RECORDER, environment={FILE: str(part)}, usage=True)
    until = asyncio.get_running_loop().time() + seconds
    try:
        while True:
            collected = await source.collect()
            left = until - asyncio.get_running_loop().time()
            reason = collected.health.reason
            if left <= 0 or (reason not in ("", STARTING) and not _tells_anything(_calls(part))):
                return reason
            await asyncio.sleep(min(interval, left))
    finally:
        await source.close()


async def _replayed(file: Path) -> int:
    """How many readings a replay gives, once it has come up."""
    source = NvmlSource(node="recorded", driver=_REPLAY, environment={FILE: str(file)}, usage=True)
    try:
        while True:
            collected = await source.collect()
            if collected.health.up or collected.health.reason != STARTING:
                return len(collected.readings)
    finally:
        await source.close()


def _tells_anything(calls: list[Calls]) -> bool:
    """Whether a driver was there: it gave a GPU, or hung."""
    return any(one.hung or one.function == _FIRST_OF_A_GPU for one in calls)


def _calls(part: Path) -> list[Calls]:
    """What was called: what hung first, then the slowest."""
    by_function: dict[str, list[Call]] = defaultdict(list)
    with part.open(encoding="utf-8") as lines:
        for call in itertools.chain.from_iterable(calls_of(lines)):
            by_function[call.function].append(call)
    found = []
    for function, calls in by_function.items():
        took = [call.us for call in calls if call.code != HUNG]
        median, slowest = (statistics.median(took), max(took)) if took else (0.0, 0)
        hung, refused = len(calls) - len(took), sum(call.code > 0 for call in calls)
        found.append(Calls(function, len(calls), refused, hung, median, slowest))
    return sorted(found, key=lambda one: (-one.hung, -one.slowest_us))
