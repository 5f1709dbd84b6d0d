"""What the agent says of its own processes, against the kernel's own account and over workers that come and go."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from exporter.agent import Agent
from exporter.metrics import CATALOGUE, agent
from exporter.model import Collected
from exporter.settings import Settings
from exporter.sources.own_processes import PROPORTIONAL_EVERY_SECONDS, OwnProcesses
from tests.bench.measuring import pss_mib

BUSY = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
Run = Callable[[Coroutine[Any, Any, Collected]], Collected]
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Employer:
    """A source whose workers a test names."""

    name = "nvml"

    def __init__(self, *workers: int) -> None:
        self.workers = [*workers]


class Worker:
    """A process that has spent some processor time and waits."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", BUSY]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.pid = self.process.pid

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = Worker()
    yield one
    one.end()


def read(source: OwnProcesses, run: Run = asyncio.run) -> dict[tuple[str, str], float]:
    """(family, process) → value."""
    collected = run(source.collect())
    labels: list[Mapping[str, str]] = [dict(reading.series.labels) for reading in collected.readings]
    assert all(one["node"] == "n1" and one.keys() == {"node", "process"} for one in labels)
    return {
        (reading.series.name, one["process"]): reading.value
        for reading, one in zip(collected.readings, labels, strict=True)
    }


def own(*employers: Employer, proc: Path = Path("/proc")) -> OwnProcesses:
    return OwnProcesses(employers, node="n1", proc=proc)


def elsewhere(pid: int) -> dict[str, float]:
    """What another reader makes of the same process."""
    registry = CollectorRegistry()
    ProcessCollector(pid=lambda: pid, registry=registry)
    samples = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    return {**samples, "process_proportional_memory_bytes": pss_mib(pid) * 2**20}


def test_figures_are_the_kernels_for_the_agent_and_its_worker(worker: Worker) -> None:
    with asyncio.Runner() as runner:  # its files are open while either looks
        before = resource.getrusage(resource.RUSAGE_SELF)
        found = read(own(Employer(worker.pid)), runner.run)
        after = resource.getrusage(resource.RUSAGE_SELF)
        others = {process: elsewhere(pid) for process, pid in (("agent", os.getpid()), ("nvml", worker.pid))}
    spent = [use.ru_utime + use.ru_stime for use in (before, after)]
    assert spent[0] - 2 * TICK <= found[agent.PROCESS_CPU.name, "agent"] <= spent[1] + 2 * TICK
    assert found[agent.PROCESS_CPU.name, "nvml"] >= 0.3 - 2 * TICK
    assert {process for _, process in found} == {"agent", "nvml"}
    others["agent"]["process_open_fds"] -= 1  # the folder of them, which it counts too
    near = {agent.PROCESS_CPU: 0.5, agent.PROCESS_RESIDENT: 2 << 20, agent.PROCESS_PROPORTIONAL: 2 << 20}
    for (name, process), value in found.items():
        other = others[process][name.removeprefix("gpufleet_")]
        assert value == pytest.approx(other, abs=near.get(CATALOGUE[name], TICK)), name


def test_processor_time_goes_on_over_workers_that_end_and_figures_of_the_dead_are_absent(worker: Worker) -> None:
    employer = Employer(worker.pid)
    source = own(employer)
    first = read(source)[agent.PROCESS_CPU.name, "nvml"]
    worker.end()
    employer.workers = []
    without = {name: value for (name, process), value in read(source).items() if process == "nvml"}
    assert without == {agent.PROCESS_CPU.name: first}
    second = Worker()
    try:
        employer.workers = [second.pid]
        found = read(source)
    finally:
        second.end()
    assert found[agent.PROCESS_CPU.name, "nvml"] >= first + 0.3 - 2 * TICK
    assert (agent.PROCESS_OPEN_FDS.name, "nvml") in found


def test_workers_that_stand_beside_each_other_are_summed_and_the_start_is_the_newest_ones(worker: Worker) -> None:
    second = Worker()
    try:
        alone = [read(own(Employer(pid))) for pid in (worker.pid, second.pid)]
        both = read(own(Employer(worker.pid, second.pid)))
    finally:
        second.end()
    for family in (agent.PROCESS_CPU, agent.PROCESS_OPEN_FDS, agent.PROCESS_RESIDENT):
        assert both[family.name, "nvml"] == sum(found[family.name, "nvml"] for found in alone)
    starts = [found[agent.PROCESS_START_TIME.name, "nvml"] for found in alone]
    assert both[agent.PROCESS_START_TIME.name, "nvml"] == max(starts)


def test_a_zombie_has_processor_time_alone(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    found = read(own(Employer(worker.pid)))
    assert {name for name, process in found if process == "nvml"} == {agent.PROCESS_CPU.name}


def test_an_id_that_is_another_process_by_now_is_not_taken_for_a_worker() -> None:
    assert {process for _, process in read(own(Employer(1)))} == {"agent"}


class FakeProc:
    """A /proc in which the agent has one worker; `stat` writes one of them."""

    WORKER = 4242

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stat").write_text("cpu 1 2 3\nbtime 1700000000\nprocesses 9\n")
        for pid in (os.getpid(), self.WORKER):
            (folder / str(pid) / "fd").mkdir(parents=True)
            (folder / str(pid) / "fd" / "0").touch()
            self.stat(pid, ticks=100, pages=1000)
            self.pss(pid, 2000)

    def stat(self, pid: int, *, ticks: int, pages: int, start: int = 500) -> None:
        row = f"{pid} (a) worker (b) S {os.getpid()} 0 -1 0 0 0 0 0 0 0 {ticks} 7 0 0 20 0 1 0 {start} 9999 {pages} 0\n"
        (self.folder / str(pid) / "stat").write_text(row)

    def pss(self, pid: int, kib: int) -> None:
        (self.folder / str(pid) / "smaps_rollup").write_text(f"00-ff ---p 0 0:0 0 [rollup]\nRss: 9 kB\nPss: {kib} kB\n")


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def test_a_worker_that_could_not_be_read_once_is_counted_once(proc: FakeProc) -> None:
    source = own(Employer(proc.WORKER), proc=proc.folder)
    assert read(source)[agent.PROCESS_CPU.name, "nvml"] == pytest.approx(107 * TICK)
    (proc.folder / str(proc.WORKER) / "stat").unlink()
    while_unread = {name: value for (name, process), value in read(source).items() if process == "nvml"}
    assert while_unread == {agent.PROCESS_CPU.name: pytest.approx(107 * TICK)}
    proc.stat(proc.WORKER, ticks=150, pages=1000)
    assert read(source)[agent.PROCESS_CPU.name, "nvml"] == pytest.approx(157 * TICK)


def test_an_id_that_is_given_to_the_next_worker_does_not_set_the_counter_back(proc: FakeProc) -> None:
    source = own(Employer(proc.WORKER), proc=proc.folder)
    read(source)
    proc.stat(proc.WORKER, ticks=3, pages=1000, start=900)
    found = read(source)
    assert found[agent.PROCESS_CPU.name, "nvml"] == pytest.approx((107 + 10) * TICK)
    assert found[agent.PROCESS_START_TIME.name, "nvml"] == 1_700_000_000 + 900 * TICK


def test_proportional_memory_is_read_when_the_resident_moved_and_once_a_minute(proc: FakeProc) -> None:
    now = 1000.0
    source = OwnProcesses([Employer(proc.WORKER)], node="n1", proc=proc.folder, clock=lambda: now)

    def found() -> float:
        return read(source)[agent.PROCESS_PROPORTIONAL.name, "nvml"] / 1024

    assert found() == 2000
    proc.pss(proc.WORKER, 3000)
    proc.stat(proc.WORKER, ticks=100, pages=1040)
    assert found() == 2000
    proc.stat(proc.WORKER, ticks=100, pages=1060)
    assert found() == 3000
    proc.pss(proc.WORKER, 3010)
    now += PROPORTIONAL_EVERY_SECONDS - 1
    assert found() == 3000
    now += 1
    assert found() == 3010


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ("smaps_rollup", {agent.PROCESS_PROPORTIONAL}),
        ("fd/0", {agent.PROCESS_OPEN_FDS}),
        ("../stat", {agent.PROCESS_START_TIME}),
    ],
)
def test_what_proc_does_not_tell_is_absent_and_the_rest_is_there(proc: FakeProc, what: str, gone: set[object]) -> None:
    path = proc.folder / str(proc.WORKER) / what
    path.unlink()
    if what == "fd/0":
        path.parent.rmdir()
    found = read(own(Employer(proc.WORKER), proc=proc.folder))
    every = {agent.PROCESS_CPU, agent.PROCESS_RESIDENT, agent.PROCESS_PROPORTIONAL, agent.PROCESS_OPEN_FDS}
    every |= {agent.PROCESS_START_TIME}
    assert {name for name, process in found if process == "nvml"} == {str(family) for family in every - gone}


def test_without_a_proc_nothing_is_said_and_the_health_says_why(tmp_path: Path) -> None:
    collected = asyncio.run(own(Employer(1), proc=tmp_path).collect())
    assert collected.readings == ()
    assert (collected.health.up, collected.health.reason) == (False, f"{tmp_path} does not tell of this process")


def test_an_agent_tells_of_itself_and_of_its_driver_worker() -> None:
    page = asyncio.run(Agent(Settings(node="n1", gpu="simulated", pods="none")).once()).decode()
    for process in ("agent", "simulated"):
        (line,) = [
            row
            for row in page.splitlines()
            if row.startswith(f'{agent.PROCESS_START_TIME}{{node="n1",process="{process}"')
        ]
        assert time.time() - float(line.split()[-1]) < 3600
    assert 'gpufleet_source_up{node="n1",source="own_processes"} 1' in page
