"""What can be wrong with the settings of GPUs, of where the page is served and how often, beyond their types.

Imports exporter.listen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from exporter import listen
from exporter.model import InputError

SHORTEST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS = 0.5, 60.0
"""Beyond the longest, what a page says of now would be news of minutes ago."""
MOST_GPUS = 1024


def problems(
    page: str, interval_seconds: float, state: str, gpus_expected: int | None, *, simulated_log: bool
) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.interval`. `simulated_log`: of simulated GPUs."""
    try:
        listen.parse(page)
    except InputError as error:
        yield ".listen", str(error)
    if interval_seconds < SHORTEST_INTERVAL_SECONDS:
        yield ".interval", f"`interval` is too short; write {SHORTEST_INTERVAL_SECONDS:g}s or more"
    if interval_seconds > LONGEST_INTERVAL_SECONDS:
        yield ".interval", f"`interval` is too long; write {LONGEST_INTERVAL_SECONDS:g}s or less"
    if state and not PurePath(state).is_absolute():
        yield ".state", f"`{state}` is not the full path of a folder; write it as in /var/lib/gpufleet"
    if gpus_expected is not None and not 0 <= gpus_expected <= MOST_GPUS:
        yield ".gpus_expected", f"{gpus_expected} is not a number of GPUs; write how many this node has, as in 8"
    if simulated_log:
        yield ".kernel_log", "simulated GPUs have no kernel log; remove `kernel_log`, or read real GPUs"
