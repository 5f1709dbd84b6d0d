"""Keeps the book of GPUs over restarts: one small file, good for one boot of the machine, replaced as a whole.

Status: stands. Context: counters that start from 0 with each agent lose XIDs, and a GPU that a grave XID condemned must
not be well again because the agent restarted. Decision: `gpus.json` in the state directory holds the book with the
kernel's boot id; after an XID it is written within one collection, else once in SAVE_SECONDS, to a new file that is
synced and renamed over the old one. A file of another boot starts a new book. One that cannot be read is set aside as
`gpus.json.damaged`, and said. A lock keeps a second agent from writing the same file. Consequences: an agent that is
killed loses what NVML told since the last write, but nothing of what the kernel log told, which is read on from there.
The disk is touched in a thread alone: one that hangs costs the state, never the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path

import msgspec

from exporter.gpu_book import GpuBook, Kept
from exporter.model import Collected, Health, InputError

DEFAULT_FOLDER = Path("/var/lib/gpufleet")
"""Taken where it is there and can be written: packages and charts make it."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FILE, DAMAGED, LOCK = "gpus.json", "gpus.json.damaged", "gpus.lock"
SAVE_SECONDS = 60.0
START_SECONDS = 5.0
"""How long a start waits for the disk."""

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Kept).decode


def folder_of(setting: str) -> Path | None:
    """The state directory: the one set, made where it is not there; else the usual one where it can be written.

    Raises InputError for one that was set and cannot be written.
    """
    if not setting:
        return DEFAULT_FOLDER if DEFAULT_FOLDER.is_dir() and os.access(DEFAULT_FOLDER, os.W_OK | os.X_OK) else None
    folder = Path(setting)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot keep state there: {error.strerror}; see the setting `state`") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot keep state there: not writable; see the setting `state`")
    return folder


class StateSource:
    """Restores `book` from `folder` and saves it there; as a source, how that goes. It has no readings."""

    name = "state"

    def __init__(self, book: GpuBook, folder: Path, *, boot_id: Path = BOOT_ID) -> None:
        self._book = book
        self._folder = folder
        self._boot_file = boot_id
        self._boot_id = ""
        self._lock: int | None = None
        self._reason = "not read yet"
        self._saving: asyncio.Task[str] | None = None
        self._saved_at = 0.0
        self._urgent = 0
        self._written = b""

    async def load(self, *, keep: bool = True) -> None:
        """Restore the book. Whatever is wrong is said, and the book stays in memory. Without `keep` it is only read."""
        try:
            async with asyncio.timeout(START_SECONDS):
                kept, self._reason = await asyncio.to_thread(self._read, keep)
        except TimeoutError:
            kept, self._reason = None, f"{self._folder} did not answer within {START_SECONDS:g} s"
        if kept is not None:
            self._book.restore(kept)
        if self._reason:
            _log.warning("counts of XIDs do not outlast this agent: %s", self._reason)
        self._saved_at, self._urgent = time.monotonic(), self._book.urgent

    async def collect(self) -> Collected:
        """Save what is new, without waiting for the disk."""
        if self._saving is not None and self._saving.done():
            self._reason, self._saving = self._saving.result(), None
        due = self._book.urgent != self._urgent or time.monotonic() - self._saved_at >= SAVE_SECONDS
        if due and self._saving is None and self._lock is not None:
            self._saving = self._save()
        overdue = self._saving is not None and time.monotonic() - self._saved_at > SAVE_SECONDS
        reason = f"{self._folder} does not answer" if overdue else self._reason
        return Collected((), Health(self.name, not reason, 0.0, reason))

    async def close(self) -> None:
        """Save the rest; wait a moment for the disk."""
        if self._lock is None:
            return
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=1)
        await asyncio.wait((self._save(),), timeout=1)
        os.close(self._lock)
        self._lock = None

    def _save(self) -> asyncio.Task[str]:
        """Begin to write the book as it is now; the task's result is why it could not be, empty when it was."""
        self._saved_at, self._urgent = time.monotonic(), self._book.urgent
        content = msgspec.json.encode(self._book.kept(self._boot_id))
        return asyncio.ensure_future(asyncio.to_thread(self._write, content))

    def _read(self, keep: bool) -> tuple[Kept | None, str]:
        """What was kept in this boot, None where there is nothing; and why nothing can be kept, empty where it can."""
        try:
            self._boot_id = self._boot_file.read_text(encoding="ascii").strip()
            if not keep:
                return self._restored(), ""
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return None, f"{error.filename}: {error.strerror}"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None, f"another agent keeps its state in {self._folder}"
        self._lock = lock
        return self._restored(), ""

    def _restored(self) -> Kept | None:
        path = self._folder / FILE
        try:
            kept = _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            aside = self._folder / DAMAGED
            with contextlib.suppress(OSError):
                path.replace(aside)
            _log.warning("%s cannot be read (%s); set aside as %s, counts begin anew", path, error, aside.name)
            return None
        return kept if (kept.boot_id, kept.version) == (self._boot_id, Kept("").version) else None

    def _write(self, content: bytes) -> str:
        if content == self._written:
            return ""
        fresh = self._folder / f"{FILE}.new"
        try:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._folder / FILE)
        except OSError as error:
            return f"{self._folder / FILE} cannot be written: {error.strerror}"
        self._written = content
        return ""
