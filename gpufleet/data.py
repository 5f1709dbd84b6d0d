"""The data directory: where it lies, its lock, the ledger in it. Imports slo.ledger, and only where it is opened: the
doctor looks at the directory, also where the agent alone is installed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.model import InputError

if TYPE_CHECKING:
    from slo.ledger import Ledger

LEDGER_FILE = "ledger.sqlite"
"""Name of the ledger below a data directory."""


def data_directory(given: Path | None) -> Path:
    """The directory for the ledger: as given, else gpufleet's own below the user's state; made if missing."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = given or state / "gpufleet"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}): choose another with --data") from error
    return path


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What a ledger refuses, as the input's fault."""
    from slo.ledger import LedgerError  # noqa: PLC0415 (see above)

    try:
        yield
    except LedgerError as error:
        raise InputError(str(error)) from error


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """A data directory for one process at a time: two that count into it would each miss half.

    Raises InputError where another process has it.
    """
    try:
        lock = (data / "lock").open("w")
    except OSError as error:
        raise InputError(f"{data}: cannot be written ({error.strerror}): choose another with --data") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{data}: in use by another gpufleet: stop that one, or name another --data") from error
        yield


@contextlib.contextmanager
def open_ledger(data: Path) -> Iterator[Ledger]:
    """The ledger of a data directory. Raises InputError where another process has it, and where it cannot be opened."""
    from slo.ledger import Ledger  # noqa: PLC0415 (see above)

    with locked(data):
        with told():
            ledger = Ledger(data / LEDGER_FILE)
        with contextlib.closing(ledger):
            yield ledger
