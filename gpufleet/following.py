"""SLO files that are followed while a service runs: read again when they change, taken if they are sound.

Imports gpufleet.watching and slo. For `slo serve` and `up`.

Decision (accepted). Context: a service that ends over a typing error in a ConfigMap keeps no budget. Decision: what
cannot be followed is logged with file and line, shown on the page and in `gpufleet_slo_files_up_to_date`, and the SLOs
before stand; nothing is taken by halves. Consequences: the service stays ready; a restart with such files does not come
up, which is said by the same words.

Everything made from SLOs goes with them: rules and boards that are served, embedded paging. What does not: alert
settings, how sources are asked (secrets by file are read anew anyway), addresses. They are read at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from exporter.model import InputError
from gpufleet.watching import Watch
from slo.ledger import LedgerError
from slo.model import Slo
from slo.service import Change, Service
from slo.spec import yaml_files

log = logging.getLogger(__name__)

NAMED = 5
"""So many ids are told of each kind of change."""


class SloFiles:
    """The SLOs below `path` as `read` gives them. Raises InputError where those of the start are at fault."""

    def __init__(self, path: Path, read: Callable[[], list[Slo]]) -> None:
        self._path = path
        self._read = read
        self._watch = Watch(self._files)
        self.slos: Sequence[Slo] = read()
        """Those of the start."""

    def _files(self) -> list[Path]:
        return yaml_files(self._path) if self._path.is_dir() else [self._path]

    async def follow(
        self,
        service: Service,
        at_once: asyncio.Event,
        others: Callable[[Sequence[Slo]], Awaitable[None]] | None = None,
    ) -> None:
        """Until cancelled. `at_once` has them read now; `others` follow what is taken, before the service does."""
        async for asked in self._watch.changes(at_once):
            try:
                slos = await asyncio.to_thread(self._read)
            except InputError as error:
                _refused(service, error)
                continue
            try:
                if others is not None:
                    await others(slos)
                change = await service.follow(slos)
            except (InputError, LedgerError) as error:  # not for what the files say: it may do later
                self._watch.again()
                _refused(service, error)
                continue
            was, service.files_problem = service.files_problem, ""
            if asked or was or any(change):
                service.tell(f"SLO files taken, {len(slos)} SLOs: {told(change)}")


def _refused(service: Service, error: Exception) -> None:
    if str(error) != service.files_problem:
        log.error("SLO files not taken, those before stand:\n%s", error)
    service.files_problem = str(error)


def told(change: Change) -> str:
    """A change in words, "added chat-itl; counted anew chat-ttft"."""
    kinds = zip(("added", "removed", "counted anew", "edited"), change, strict=True)
    return "; ".join(f"{kind} {_listed(ids)}" for kind, ids in kinds if ids) or "nothing has changed"


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}"
