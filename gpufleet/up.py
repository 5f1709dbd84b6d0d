"""`gpufleet up`: agents, ledger, service and page of this machine in one process; real where there is something.

Wires exporter and slo together; nothing imports it but its command. Decision (accepted). Context: a first look must
need no other server and no file. Decision: GPUs that NVML answers for and engines on the usual ports are watched by one
agent; with neither, the simulated fleet is. The service scrapes the agents over loopback, as it would over a network:
there is no second way for data to take. Consequences: what is seen here is what a fleet gets; a simulated run has a
data directory of its own, which ends with it, and no ledger ever holds both kinds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from exporter.listen import bind, shown
from exporter.model import InputError
from exporter.settings import EngineSettings, Settings
from exporter.web_gate import WebGate
from gpufleet import default_slos, discovery, history, incidents
from gpufleet.agents import LocalAgent
from gpufleet.console import Console
from gpufleet.data import LEDGER_FILE, data_directory, open_ledger
from gpufleet.discovery import FoundEngine, FoundGpus
from gpufleet.following import SloFiles
from gpufleet.listen import Address
from gpufleet.objectives import objectives_of
from gpufleet.paging import Paging, service_of
from gpufleet.serving import serve, url_of
from gpufleet.simulated_fleet import SimulatedFleet
from slo import spec
from slo.ledger import Ledger, LedgerError
from slo.model import Slo
from slo.sources.agents import AgentsSource

SIMULATED_SLOS = Path(__file__).parent / "slos"
SIMULATED_MARK = "SIMULATED"
"""A file in a data directory whose ledger holds simulated counts."""
DEFAULT_SLOS_FILE = "default-slos.yaml"
SEED = 1


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `seconds` None runs until a signal."""

    listen: Address
    simulate: bool = False
    engines: tuple[str, ...] = ()
    slos: Path | None = None
    data: Path | None = None
    seconds: float | None = None
    paging: Paging = field(default_factory=Paging)
    web_config: Path | None = None


async def up(options: Options) -> None:
    """Run until SIGINT, SIGTERM or the time is over. Raises InputError for what the user can mend."""
    _end_on_signals()
    console = Console()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    sock = bind(options.listen)
    try:
        async with asyncio.timeout(options.seconds), AsyncExitStack() as stack:
            await _Run(options, console, sock, stack).run()
    except (TimeoutError, asyncio.CancelledError):
        console.line("ended")
    except LedgerError as error:
        raise InputError(f"{error}") from error
    finally:
        sock.close()


def _end_on_signals() -> None:
    """A signal while things are being started ends the start; the server takes signals over once it serves."""
    task = asyncio.current_task()
    assert task is not None
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, task.cancel)


class _Run:
    """One run. What is opened goes on `stack`, which closes it in reverse."""

    def __init__(self, options: Options, console: Console, sock: socket.socket, stack: AsyncExitStack) -> None:
        self._options = options
        self._console = console
        self._sock = sock
        self._stack = stack
        self._gate = WebGate(options.web_config) if options.web_config is not None else None
        self._files: SloFiles | None = None
        """What --slos names; the SLOs that are made here do not change."""

    async def run(self) -> None:
        options, console, given = self._options, self._console, self._options.slos
        if given is not None:
            self._files = SloFiles(given, lambda: spec.load([given]))  # before anything is started
        if options.simulate:
            await self._simulated()
            return
        with console.step("looking for GPUs") as step:
            found = await discovery.gpus()
            step.note(discovery.named(found.names) or found.problem)
        with console.step("looking for engines") as step:
            engines = await (discovery.engines(options.engines) if options.engines else discovery.usual_engines())
            step.note(_listed(engines) or "none on the usual ports")
            if any(one.problem for one in engines):
                step.trouble(_listed(engines))
        if found.names or engines:
            await self._real(found, engines)
        else:
            console.line("  nothing to watch here: showing a simulated fleet")
            await self._simulated()

    async def _simulated(self) -> None:
        options, console, now = self._options, self._console, time.time()
        slos = self._files.slos if self._files is not None else spec.load([SIMULATED_SLOS])
        data = options.data or Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gpufleet-")))
        ledger = self._open_ledger(data, simulated=True)
        with console.step("starting a simulated fleet") as step:
            fleet = await self._stack.enter_async_context(SimulatedFleet(seed=SEED, started_at=now, slos=slos))
            step.note(f"{len(fleet.agents)} nodes of 8 GPUs and 4 engines, all simulated")
        with console.step("writing its last 30 days") as step:
            if any(ledger.data_through(slo.id) for slo in slos):
                step.note("kept, the ledger has some already")
            else:
                scenario = fleet.scenario
                await asyncio.to_thread(history.write, ledger, slos, scenario, fleet.targets, now)
        await self._serve(slos, [agent.url for agent in fleet.agents], ledger, others=fleet.follow, simulated=True)

    async def _real(self, found: FoundGpus, engines: Sequence[FoundEngine]) -> None:
        options, console = self._options, self._console
        data = data_directory(options.data)
        ledger = self._open_ledger(data, simulated=False)
        slos = self._real_slos(data, engines)

        def settings(slos: Sequence[Slo]) -> Settings:
            return Settings(
                gpu="nvml" if found.names else "none",
                engines=tuple(EngineSettings(url=one.url) for one in engines),
                objectives=objectives_of(slos),
            )

        agent = LocalAgent()
        with console.step("starting the agent") as step:
            await agent.start(settings(slos))
            self._stack.push_async_callback(agent.stop)
            step.note(f"{agent.url}/metrics")

        async def others(slos: Sequence[Slo]) -> None:
            await agent.follow(settings(slos))

        await self._serve(slos, [agent.url], ledger, others=others, simulated=False)

    def _real_slos(self, data: Path, engines: Sequence[FoundEngine]) -> Sequence[Slo]:
        if self._files is not None:
            return self._files.slos
        if not engines:
            self._console.line("  no engine, so no SLO: start one and come again, or name it with --engine")
            return []
        file = data / DEFAULT_SLOS_FILE
        file.write_text(default_slos.text(engines), encoding="utf-8")
        self._console.line(f"  SLOs for what they serve are in {file}; give your own with --slos")
        return spec.load([file])

    def _open_ledger(self, data: Path, *, simulated: bool) -> Ledger:
        """The ledger of a directory that holds the same kind of counts, or none yet."""
        data = data_directory(data)
        mark, file = data / SIMULATED_MARK, data / LEDGER_FILE
        if file.exists() and mark.exists() != simulated:
            holds = "simulated" if mark.exists() else "real"
            raise InputError(f"{data}: holds {holds} counts, and they are never mixed: choose another with --data")
        if simulated:
            try:
                mark.touch()
            except OSError as error:
                raise InputError(f"{data}: cannot be written ({error.strerror}): choose another with --data") from error
        return self._stack.enter_context(open_ledger(data))

    async def _serve(
        self,
        slos: Sequence[Slo],
        agents: Sequence[str],
        ledger: Ledger,
        *,
        others: Callable[[Sequence[Slo]], Awaitable[None]],
        simulated: bool,
    ) -> None:
        """`others` count for SLOs, beside the service, and follow them."""
        console = self._console
        service, teller = self._stack.enter_context(
            service_of(
                slos,
                AgentsSource(agents),
                ledger,
                self._options.paging,
                url_of(self._sock, self._gate),
                simulated=simulated,
            )
        )
        for line in teller.lines:
            console.line(f"  {line}")
        told = asyncio.create_task(incidents.tell(service, console))
        self._stack.callback(told.cancel)

        def started(url: str) -> None:
            console.line()
            console.headline(f"  {url}{'   everything there is simulated' if simulated else ''}")
            console.line(f"  agents {', '.join(f'{agent}/metrics' for agent in agents)}; Ctrl-C ends it")
            console.line()

        following = None
        if self._files is not None:
            following = partial(self._files.follow, at_once=asyncio.Event(), others=others)
        await serve(service, self._sock, started=started, gate=self._gate, teller=teller, following=following)


def _listed(engines: Sequence[FoundEngine]) -> str:
    """What each engine said."""
    return "; ".join(
        f"{shown(one.url)} {one.problem}, watched all the same"
        if one.problem
        else f"{shown(one.url)} is {one.kind} with {', '.join(one.models) or 'no model yet'}"
        for one in engines
    )
