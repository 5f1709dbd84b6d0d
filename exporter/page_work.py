"""Work on the pages of one target: beside the event loop where it is much, and no more of it than one target is worth.

Imports the standard library alone; used for engines' pages by the agent and for agents' pages by the SLO service.

Status: accepted. Context: a page that is within every limit and new in all its lines costs seconds of a core each time
it is read; while the event loop reads it, no other target is read, and nobody is answered. Decision: what is large is
worked on in a thread, one piece at a time; what a target costs is taken off an allowance that a large page at the start
leaves untouched and a hostile one uses up within a minute. Then its pages are not read until some has come back.
Consequences: a target that costs too much is away, and says so; the others are as they were.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

LARGE_BYTES = 512 << 10
LARGE_SERIES = 5_000
"""What is smaller is worked on at once: a thread would cost more."""
AT_ONCE_SECONDS = 10.0
SHARE = 0.03
"""Of a core, in the long run."""
HANDS = 2
"""Pages that are worked on beside the event loop at one time: each may take tens of MiB meanwhile."""

T = TypeVar("T")
_HANDS = ThreadPoolExecutor(HANDS, "page")


class TooMuchWorkError(Exception):
    """The target has used up what it may cost, or an earlier page of it is still being worked on."""


class PageWork:
    """The work on one target's pages. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = AT_ONCE_SECONDS
        self._since = clock()
        self._under_way: asyncio.Future[Any] | None = None

    async def do(self, work: Callable[[], T], *, large: bool) -> T:
        """What `work` gives. Raises TooMuchWorkError, and what it raises."""
        self.check()
        if not large:
            return self._measured(work)
        under_way = asyncio.get_running_loop().run_in_executor(_HANDS, self._measured, work)
        under_way.add_done_callback(_looked_at)
        self._under_way = under_way
        return await asyncio.shield(under_way)

    def check(self) -> None:
        """Raises TooMuchWorkError where nothing would be done now: a page that nobody will read need not be fetched."""
        if self._under_way is not None and not self._under_way.done():
            raise TooMuchWorkError("still busy with an earlier page")
        now = self._clock()
        self._left = min(AT_ONCE_SECONDS, self._left + SHARE * (now - self._since))
        self._since = now
        if self._left <= 0:
            raise TooMuchWorkError("page too costly to read")

    def _measured(self, work: Callable[[], T]) -> T:
        began = time.thread_time()
        try:
            return work()
        finally:
            self._left -= time.thread_time() - began


def _looked_at(done: asyncio.Future[Any]) -> None:
    """An error that nobody waited for any more is no news."""
    if not done.cancelled():
        done.exception()
