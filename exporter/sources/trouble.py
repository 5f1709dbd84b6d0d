"""What of a driver is in trouble: which GPUs hang, whether all of it or its wait for events does.

Knows the worker's answers and when it must be given up; makes no call and no reading. Times are the caller's seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from exporter.sources.backoff import Backoff
from exporter.sources.nvml_process import Answer, Frame

_DRIVER, _EVENTS, _UNSEEN = "driver", "events", "unseen"
_SEARCH_SECONDS = (60.0, 3600.0)
"""First and longest wait between two searches for GPUs that the bus shows and the driver does not."""


class Trouble:
    """Back-offs of one driver. `give_up` ends its worker; `retry_seconds` are the first and the longest wait."""

    def __init__(self, give_up: Callable[[], None], retry_seconds: tuple[float, float]) -> None:
        self._give_up = give_up
        self._backoff = Backoff(*retry_seconds)
        self._search = Backoff(*_SEARCH_SECONDS)
        self._by_index: dict[int, str] = {}
        self._with_events = True
        self._last: Answer | None = None
        self.count = 0
        """GPUs of the driver, as it last told."""

    @property
    def events_hang(self) -> bool:
        """Whether the wait for events hung when last tried."""
        return self._backoff.failing(_EVENTS)

    def address(self, index: int) -> str:
        """Where the GPU is that the driver numbers so; empty where it never told."""
        return self._by_index.get(index, "")

    def standing(self, now: float) -> Answer | None:
        """The answer that still stands because the driver is left alone for now; None where it may be asked."""
        if self._last is not None and self._backoff.blocked(_DRIVER, now):
            return Answer(self._last.outcome, [], self._last.reason)
        return None

    def forgive(self) -> None:
        """Ask the driver at once, whatever it did."""
        self._backoff.mended(_DRIVER)

    def skip(self, now: float) -> set[int]:
        """Indexes of the GPUs that are left alone for now."""
        return {index for index in range(self.count) if self._backoff.blocked(_gpu_at(index), now)}

    def events(self, now: float) -> bool:
        """Whether to wait for events. A worker that has not registered its GPUs for them gives way to one that does."""
        wanted = not self._backoff.blocked(_EVENTS, now)
        if wanted and not self._with_events:
            self._give_up()
        self._with_events = wanted
        return wanted

    def learn(self, answer: Answer, now: float) -> None:
        """Take what an answer says of hangs, and name in it the GPU that hung."""
        self._last = answer
        for frame in answer.frames:
            if frame.t == "hello":
                self.count = frame.count
            elif frame.t == "gpu":
                self._by_index = {at: pci for at, pci in self._by_index.items() if pci != frame.pci}
                self._by_index[frame.index] = frame.pci
            elif frame.t == "figures":
                self._backoff.mended(_gpu_at(frame.index))
            elif frame.t == "end":
                self._learn_end(frame, now)
        if answer.outcome == "hung" and answer.stuck is not None:
            stuck = _gpu_at(answer.stuck.index)
            answer.reason += f": {self.address(answer.stuck.index) or stuck}"
            self._backoff.failed(stuck, now)
        elif answer.outcome in ("hung", "failed", "ended"):
            self._backoff.failed(_DRIVER, now)
        elif answer.outcome == "done":
            self._backoff.mended(_DRIVER)

    def _learn_end(self, end: Frame, now: float) -> None:
        if end.overdue:
            self._backoff.failed(_EVENTS, now)
            self._give_up()
        elif end.waited:
            self._backoff.mended(_EVENTS)
        if end.changed:
            self._give_up()  # a fresh one finds out which GPUs there are now

    def hangs(self, address: str) -> bool:
        """Whether this GPU hung when last read. One that was never named may be any that hung before it had a name."""
        failing = {index for index in range(self.count) if self._backoff.failing(_gpu_at(index))}
        named = {index for index, known in self._by_index.items() if known == address}
        return bool(failing & named if named else failing - set(self._by_index))

    def look_again(self, answer: Answer, *, lost: bool, unseen: bool, now: float) -> None:
        """Only a fresh worker finds a GPU that was reset or added: start one now and then while one is missing.

        Often for a GPU that was lost; rarely for one that only the bus has ever shown: it may not be ours to see.
        """
        for missing, backoff in ((lost, self._backoff), (unseen, self._search)):
            if not missing:
                backoff.mended(_UNSEEN)
            elif answer.outcome == "done" and not backoff.blocked(_UNSEEN, now):
                if backoff.failing(_UNSEEN):
                    self._give_up()
                backoff.failed(_UNSEEN, now)


def _gpu_at(index: int) -> str:
    """The driver's own name for a GPU, which stands before it has told its address."""
    return f"GPU {index}"
