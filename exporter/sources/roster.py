"""Which GPUs a node should have: those on the bus, those it had before, or as many as the settings say. No driver call.

Decision: a GPU that was there and has left both driver and bus is still expected, and lost: a GPU that falls off the
bus may take its PCI device with it. One that is bound to vfio-pci was given to a virtual machine on purpose and is
forgotten, and so is one that left where the settings say that those which answer are all there should be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from exporter.sources import pci

BUS_SCAN_SECONDS = 60.0


class Roster:
    """The GPUs of a node. `scan` gives the bus ids it should have, None where the driver's own count is all there is.

    `configured` is how many the settings say; `passed_through` gives the bus ids that belong to virtual machines.
    """

    def __init__(
        self,
        scan: Callable[[], Sequence[str]] | None,
        *,
        configured: int | None = None,
        passed_through: Callable[[], Collection[str]] = pci.passed_through,
    ) -> None:
        self._scan = scan
        self._configured = configured
        self._passed_through = passed_through
        self._scanned_at: float | None = None
        self.on_bus: Sequence[str] = ()
        """Bus ids of the last scan."""

    def look(self, now: float) -> Collection[str]:
        """Scan the bus where it is time to; returns GPUs that were given away, to be forgotten."""
        if self._scan is None or (self._scanned_at is not None and now - self._scanned_at < BUS_SCAN_SECONDS):
            return ()
        self._scanned_at = now
        self.on_bus = self._scan()
        return self._passed_through()

    def complete(self, answered: int) -> bool:
        """Whether the settings say that `answered` GPUs are all."""
        return self._configured is not None and answered >= self._configured

    def count(self, known: Collection[str], driver_count: int) -> int:
        """How many GPUs the node should have. `known` are those that driver or bus have ever shown."""
        if self._configured is not None:
            return self._configured
        return driver_count if self._scan is None else len({*known, *self.on_bus})
