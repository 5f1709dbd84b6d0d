"""The NVML stub of fake_drivers/: compiled once, driven by a state that a test sets while the agent reads it.

    stub = StubDriver.build(tmp_path)               # in a test: the fixture `stub_driver`, an H200 node of two GPUs
    stub.set({"field/82": 59, "nvmlDeviceGetTemperature/0@1": "error 4"})
    stub.drop("gpm/10"); stub.xid(1, 79); stub.hang("nvmlGpmSampleGet", gpu=1)
    source = stub.source(deadline_seconds=1.0)      # an NvmlSource through the real nvidia-ml-py
    NvmlSource(node="n1", environment=stub.environment, …)

The grammar of the state is at the head of fake_drivers/stub_state.h. Figures of H200 are made up, each other than the
next, so that one read in the place of another shows.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from exporter.sources.nvml import NvmlSource
from exporter.sources.roster import Roster

FOLDER = Path(__file__).parent / "fake_drivers"
ROOT = Path(__file__).parents[2]
GIB = 1 << 30
LINKS = 18

H200: Mapping[str, object] = {
    "gpus": 2,
    "driver": "580.95.05",
    "nvml": "13.580.95.05",
    "cuda": 13000,
    "name": "NVIDIA H200",
    "nvmlDeviceGetClockInfo/1": 1980,
    "nvmlDeviceGetClockInfo/2": 3201,
    "nvmlDeviceGetMaxClockInfo/1": 1985,
    "nvmlDeviceGetMaxClockInfo/2": 3202,
    "nvmlDeviceGetApplicationsClock/1": 1975,
    "nvmlDeviceGetApplicationsClock/2": 3200,
    "nvmlDeviceGetTemperature/0": 45,
    "nvmlDeviceGetTemperatureThreshold/0": 92,
    "nvmlDeviceGetTemperatureThreshold/1": 89,
    "nvmlDeviceGetTemperatureThreshold/2": 95,
    "nvmlDeviceGetTemperatureThreshold/3": 87,
    "nvmlDeviceGetMarginTemperature": 42,
    "nvmlDeviceGetPowerUsage": 320_000,
    "nvmlDeviceGetUtilizationRates/gpu": 97,
    "nvmlDeviceGetUtilizationRates/memory": 41,
    "nvmlDeviceGetEncoderUtilization": 7,
    "nvmlDeviceGetDecoderUtilization": 8,
    "nvmlDeviceGetMemoryInfo/total": 141 * GIB,
    "nvmlDeviceGetMemoryInfo/reserved": GIB,
    "nvmlDeviceGetMemoryInfo/free": 40 * GIB,
    "nvmlDeviceGetMemoryInfo/used": 100 * GIB,
    "nvmlDeviceGetBAR1MemoryInfo/total": 256 * GIB,
    "nvmlDeviceGetBAR1MemoryInfo/free": 254 * GIB,
    "nvmlDeviceGetBAR1MemoryInfo/used": 2 * GIB,
    "nvmlDeviceGetCurrentClocksEventReasons": 0,
    "nvmlDeviceGetGridLicensableFeatures/supported": 0,
    "nvmlDeviceGetGridLicensableFeatures/state": 0,
    "nvmlDeviceGetPerformanceState": 0,
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetRowRemapperHistogram/max": 1919,
    "nvmlDeviceGetRowRemapperHistogram/high": 1,
    "nvmlDeviceGetRowRemapperHistogram/partial": 0,
    "nvmlDeviceGetRowRemapperHistogram/low": 0,
    "nvmlDeviceGetRowRemapperHistogram/none": 0,
    "nvmlDeviceGetGpuFabricInfoV/status": 0,
    "nvmlDeviceGetGpuFabricInfoV/clique": 0,
    "nvmlDeviceGetGpuFabricInfoV/state": 3,
    "nvmlDeviceGetGpuFabricInfoV/mask": 0b01_10_10_10_10,
    "nvmlGpmQueryDeviceSupport": 1,
    "mig": 0,
    **{f"field/{field}": 1 for field in (1,)},  # ECC is on
    **{f"field/{field}": 0 for field in (3, 4, 5, 6, *range(74, 82), 144, 145, 230)},
    **{f"field/{field}": 0 for field in (173, 174, 175, 176, 177, 178, 179, 180, 181, 182, 183)},
    "field/74": 1_500_000_000,
    "field/75": 250_000_000,
    "field/82": 58,
    "field/83": 123_456_789_000,
    "field/90": 26_562,
    "field/91": LINKS,
    "field/94": 3,
    "field/138/all": 10_000,
    "field/139/all": 20_000,
    "field/142": 1,
    "field/143": 2,
    "field/185": 321_500,
    "field/186": 333_000,
    "field/187": 200_000,
    "field/188": 700_500,
    "field/189": 700_000,
    "field/190": 650_000,
    "field/192": 660_000,
    "field/197": 5_000_000_000,
    "field/198": 7_000_000_000,
    **{f"field/{field}": 0 for field in (269, 270, 271)},
    **{f"field/165/{link}": 1 for link in range(LINKS)},
    **{f"field/138/{link}": 500 for link in range(LINKS)},
    **{f"field/139/{link}": 1_000 for link in range(LINKS)},
    **{f"field/{field}/{link}": 0 for field in (161, 162, 163) for link in range(LINKS)},
    "gpm/1": 62.5,
    "gpm/2": 55.0,
    "gpm/3": 25.0,
    "gpm/4": 12.5,
    "gpm/5": 21.0,
    "gpm/6": 1.0,
    "gpm/7": 20.0,
    "gpm/9": 0.5,
    "gpm/10": 34.0,
    "gpm/11": 0.25,
    "gpm/12": 6.5,
    "gpm/13": 3.5,
    "gpm/20": 2.0,
    "gpm/21": 4.0,
    "gpm/60": 300.0,
    "gpm/61": 200.0,
}
"""A healthy H200 at work. Keys as in the state file."""


def instances(gpu: int, count: int = 7) -> dict[str, object]:
    """State of a GPU cut into `count` instances of 1g.18gb, numbered from 7 on, each with figures of its own."""
    state: dict[str, object] = {f"mig@{gpu}": 1}
    for place in range(count):
        gi = 7 + place
        state[f"mig/{place}@{gpu}"] = f"{gi} 0 MIG-{gpu:04d}{place:04d}-0000-0000-0000-000000000000 1g.18gb"
        memory = {"total": 18 * GIB, "reserved": GIB, "free": (16 - place) * GIB, "used": (1 + place) * GIB}
        state |= {f"nvmlDeviceGetMemoryInfo/{member}@{gpu}.{gi}": value for member, value in memory.items()}
        for metric in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 20, 21):
            state[f"gpm/{metric}@{gpu}.{gi}"] = metric + place
    return state


@cache
def compiled(compiler: str) -> Path:
    """Folder with the stub's libnvidia-ml.so.1, built once in this process."""
    folder = Path(mkdtemp(prefix="nvml-stub-"))
    sources = [str(FOLDER / name) for name in ("libnvidia-ml.c", "stub_state.c")]
    options = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *options, "-o", str(folder / "libnvidia-ml.so.1"), *sources], check=True, timeout=60)
    return folder


class StubDriver:
    """One node's driver: `state` is what it answers, written anew with each change."""

    def __init__(self, folder: Path, library: Path, state: Mapping[str, object] = H200) -> None:
        self._path = folder / "nvml.state"
        self._library = library
        self.state = dict(state)
        self._xids: list[str] = []
        self._write()

    @classmethod
    def build(cls, folder: Path, compiler: str = "cc", state: Mapping[str, object] = H200) -> StubDriver:
        """Compile the library unless that was done, and start with `state`, whose file is under `folder`."""
        return cls(folder, compiled(compiler), state)

    def set(self, entries: Mapping[str, object] | None = None, **more: object) -> None:
        """Change entries, all at once; others stay."""
        self.state |= {**(entries or {}), **more}
        self._write()

    def drop(self, *keys: str) -> None:
        """Take entries away: these figures are not supported from now on."""
        for key in keys:
            self.state.pop(key, None)
        self._write()

    def xid(self, gpu: int, code: int) -> None:
        """Let an XID event happen; a process that waits for events is told."""
        self._xids.append(f"xid@{gpu} {code}")
        self._write()

    def hang(self, function: str, gpu: int | None = None, *, yes: bool = True) -> None:
        """Let calls of `function` (NVML's name less _v2) never return; with `yes` False, return again."""
        self.set({f"hang/{function}" + ("" if gpu is None else f"@{gpu}"): int(yes)})

    def lose(self, gpu: int, *, yes: bool = True) -> None:
        """Let every call to a GPU say that it is lost; with `yes` False, find it again."""
        self.set({f"lost@{gpu}": int(yes)})

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text("\n".join([*(f"{key} {value}" for key, value in self.state.items()), *self._xids, ""]))
        fresh.replace(self._path)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs so that nvidia-ml-py loads the stub."""
        return {
            "NVML_STUB": str(self._path),
            "LD_LIBRARY_PATH": str(self._library),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
        }

    def source(self, **options: Any) -> NvmlSource:
        """A source on it, whose back-offs are longer than any test."""
        roster = Roster(options.pop("expected", lambda: ()), passed_through=lambda: ())
        settings = {"deadline_seconds": 2.0, "retry_seconds": (1000.0, 1000.0), "roster": roster, **options}
        return NvmlSource(node="n1", environment=self.environment, **settings)
