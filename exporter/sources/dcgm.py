"""DCGM's figures from a running hostengine, by libdcgm in a process of its own. Gives facts for exporter.attribution.

Imports exporter.facts, exporter.metrics, exporter.model, exporter.sources.dcgm_process. Experimental, and says so in
the log: see exporter.sources.dcgm_worker. A hostengine that hangs costs its own figures and nothing else; it is asked
again after RETRY_SECONDS, then twice as long, up to LONGEST_RETRY_SECONDS.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from exporter.facts import DcgmFigure
from exporter.metrics.dcgm import DCGM_FIELDS
from exporter.model import Collected, Health
from exporter.sources.dcgm_process import DcgmProcess

RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 120.0

_log = logging.getLogger(__name__)


class HostengineSource:
    """The hostengine at `address`: host:port, or the path of a unix socket. `library` is libdcgm's path, if it must be.

    `every_seconds` is how often the hostengine reads its fields.
    """

    name = "dcgm"

    def __init__(
        self,
        address: str,
        *,
        library: str = "",
        every_seconds: float = 5.0,
        deadline_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        arguments = ["--address", address, *(["--library", library] if library else [])]
        self._process = DcgmProcess(arguments, deadline_seconds=deadline_seconds)
        self._every = every_seconds
        self._clock = clock
        self._families = {field.id: field.family for field in DCGM_FIELDS}
        self._wait = RETRY_SECONDS
        self._blocked_until = 0.0
        self._reason = ""
        _log.warning(
            "figures from the DCGM hostengine at %s are experimental; compare them before you rely on them", address
        )

    @property
    def abandoned(self) -> int:
        """Stuck worker processes that have not ended."""
        return self._process.abandoned

    @property
    def workers(self) -> list[int]:
        """Process ids of its workers that have not ended, stuck ones too."""
        return self._process.pids

    async def collect(self) -> Collected:
        """Ask the hostengine once, unless it failed a moment ago."""
        started = self._clock()
        if started < self._blocked_until:
            return Collected((), Health(self.name, False, 0.0, self._reason))
        answer = await self._process.ask(fields=list(self._families), every=self._every)
        facts = tuple(
            DcgmFigure(self._families[field], uuid, instance, value)
            for uuid, instance, field, value in answer.figures
            if field in self._families
        )
        took = self._clock() - started
        if answer.error and not answer.starting:
            if answer.error != self._reason:
                _log.warning("DCGM: %s%s", answer.error, f" ({answer.detail})" if answer.detail else "")
            self._blocked_until, self._wait = started + self._wait, min(self._wait * 2, LONGEST_RETRY_SECONDS)
        elif not answer.error:
            self._wait = RETRY_SECONDS
        self._reason = answer.error
        return Collected((), Health(self.name, not answer.error, took, answer.error), facts)

    async def close(self) -> None:
        """End the worker."""
        await self._process.close()
