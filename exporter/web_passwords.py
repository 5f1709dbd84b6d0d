"""Who may come in by name and password: bcrypt hashes, checked off the event loop. Imports bcrypt when first needed.

Status: accepted. Context: a hash takes 60 ms to seconds of a core, by design; a scrape comes every few seconds, and
anybody can try. Decision: one thread checks, one at a time; the same attempt made twice at once is checked once; a
pair that was right is remembered under a keyed digest, so that a scraper costs a hash once; of wrong ones none is
remembered, so that they cannot push out right ones. More than a few attempts that wait are refused, and those who are
remembered come in meanwhile. A user who is not there costs the hash of one who is. Consequences: whoever floods the
listener can keep a newcomer out, not the page from those who have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 8
"""Attempts that are checked or wait for it."""
REMEMBERED = 128
_MOST_BYTES = 72
"""bcrypt reads no further; neither does htpasswd."""


class BusyError(Exception):
    """Too many attempts at once."""


class Passwords:
    """Checks pairs against users' hashes, which may be others each time. Not thread-safe."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    async def right(self, users: Mapping[str, str], user: str, password: str) -> bool:
        """Whether this is the password of this user; `users` maps names to hashes, at least one. Raises BusyError."""
        hashed = users.get(user) or max(users.values(), key=_cost)
        key = hashlib.blake2b(repr((user, hashed, password)).encode(), key=self._secret).digest()
        if user in users and key in self._right:
            self._right.move_to_end(key)
            return True
        found = self._under_way.get(key)
        if found is None:
            if len(self._under_way) >= AT_ONCE:
                raise BusyError
            found = asyncio.get_running_loop().run_in_executor(self._thread, _matches, hashed, password)
            self._under_way[key] = found
            found.add_done_callback(lambda _: self._under_way.pop(key))
        if not await asyncio.shield(found) or user not in users:
            return False
        self._right[key] = None
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)
        return True

    def close(self) -> None:
        """Let go of the thread; what is being checked is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _cost(hashed: str) -> int:
    return int(hashed[4:6])


def _matches(hashed: str, password: str) -> bool:
    import bcrypt  # noqa: PLC0415 (an agent without users needs none of it in memory)

    try:
        return bcrypt.checkpw(password.encode()[:_MOST_BYTES], hashed.encode())
    except ValueError:  # a hash whose letters are right and whose bits are not
        return False
