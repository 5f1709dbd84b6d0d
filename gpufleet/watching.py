"""Files that may change while we run: whether they did, asked every few seconds. For SLO files and agents' settings.

Imports exporter.web_config for what tells one file from another.

Decision (accepted). Context: Kubernetes swaps a link for a ConfigMap, editors rename, a checkout writes one file after
the other. Decision: no notifications of the kernel (they do not follow links, and network disks have none) but the
files' stamps, every CHECK_SECONDS, through all links; a change is told once it has stood still from one look to the
next. Consequences: nothing half written is read, at the price of two looks; whoever cannot wait sends a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from exporter.web_config import Stamp, stamps

CHECK_SECONDS = 2.0


class Watch:
    """Watches the files that `files` names, which may be others each time. Make it before they are read.

    `files` is asked in a thread, every so many seconds.
    """

    def __init__(self, files: Callable[[], Iterable[Path]], every_seconds: float = CHECK_SECONDS) -> None:
        self._files = files
        self._every = every_seconds
        self._taken: dict[Path, Stamp] | None = self._look()

    def _look(self) -> dict[Path, Stamp]:
        try:
            found = list(self._files())
        except OSError:  # what is wrong with the place, whoever reads it says
            return {}
        return dict(zip(found, stamps(found), strict=True))

    def again(self) -> None:
        """What was told of last could not be done: tell of it again."""
        self._taken = None

    async def changes(self, at_once: asyncio.Event) -> AsyncIterator[bool]:
        """Yields when the files have changed, and whenever `at_once` is set: True then."""
        seen = self._taken
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await at_once.wait()
            found = await asyncio.to_thread(self._look)
            if (asked := at_once.is_set()) or found == seen != self._taken:
                at_once.clear()
                self._taken = found
                yield asked
            seen = found
