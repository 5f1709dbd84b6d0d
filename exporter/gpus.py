"""Settings → the sources that tell of GPUs: the driver, the kernel log, and what is kept of both over restarts.

Imports exporter.settings and exporter.sources. Part of the wiring: exporter.agent alone imports it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field

from exporter.gpu_book import GpuBook
from exporter.model import Source
from exporter.settings import Settings
from exporter.simulation.world import ENVIRONMENT
from exporter.sources import pci
from exporter.sources.gpu_state import DEFAULT_FOLDER, StateSource, folder_of
from exporter.sources.kmsg import KmsgSource
from exporter.sources.nvml import SIMULATED, NvmlSource
from exporter.sources.roster import Roster

_MATCHING_SECONDS = 15.0
"""How far apart an XID's event and its log line may come, besides the interval at which the log is read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gpus:
    """The sources, in the order in which they are to be closed; `driver` and `state` are among them where there are.

    `lasting` is whether what they count should outlast the agent.
    """

    driver: NvmlSource | None = None
    state: StateSource | None = None
    sources: list[Source] = field(default_factory=list)
    lasting: bool = False

    async def restore(self, *, keep: bool = True) -> None:
        """Go on from what an earlier agent kept, and keep it unless `keep` is False."""
        if self.state is not None:
            await self.state.load(keep=keep)
        elif self.lasting and keep:
            _log.info("counts of XIDs do not outlast this agent: %s is not there or not writable", DEFAULT_FOLDER)


def gpus(settings: Settings, *, node: str, deadline_seconds: float, who: bool, usage: bool = False) -> Gpus:
    """What the settings ask for. `who` has the driver asked for processes too, `usage` for what each takes."""
    if settings.gpu == "simulated":
        scenario = json.dumps({"node": node, **settings.simulation})
        simulated = NvmlSource(
            node=node,
            driver=SIMULATED,
            deadline_seconds=deadline_seconds,
            roster=Roster(None),
            environment={ENVIRONMENT: scenario},
        )
        return Gpus(simulated, None, [simulated])
    book = GpuBook(window_seconds=_MATCHING_SECONDS + settings.interval_seconds)
    driver = state = None
    sources: list[Source] = []
    if settings.gpu != "none":
        roster = Roster(pci.gpus, configured=settings.gpus_expected)
        driver = NvmlSource(
            node=node, deadline_seconds=deadline_seconds, roster=roster, book=book, who=who, usage=usage
        )
        sources.append(driver)
    if settings.kernel_log:
        sources.append(KmsgSource(book, node=node))
    if sources:
        folder = folder_of(settings.state)
        if folder is not None:
            state = StateSource(book, folder)
            sources.append(state)
    return Gpus(driver, state, sources, lasting=bool(sources))
