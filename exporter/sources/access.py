"""How a server lets the agent in: a bearer token and a CA, both in files that are read again when they change.

Imports the standard library alone. Tokens of service accounts are replaced while the agent runs, and so are CAs; a
token is therefore read at each request, and a CA when its file has another time or size. Reading fails as OSError or
ValueError, with the file's name; no token ever stands in a message.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

_LONGEST_TOKEN = 64 * 1024


@dataclass(slots=True)
class Access:
    """Empty means: no token, the CAs of this machine, and a certificate for the host of the URL.

    `server_name` is the name in the certificate where the URL has an address instead, as that of a pod.
    """

    ca_file: str = ""
    token_file: str = ""
    server_name: str = ""
    _context: ssl.SSLContext | None = None
    _stamp: tuple[int, int] = field(default=(0, 0))

    def headers(self) -> dict[str, str]:
        """The headers of one request."""
        if not self.token_file:
            return {}
        token = Path(self.token_file).read_bytes()[:_LONGEST_TOKEN].strip()
        if not token or not token.isascii() or len(token.split()) != 1:
            raise ValueError(f"{self.token_file}: holds no token; write the token alone into it")
        return {"Authorization": f"Bearer {token.decode('ascii')}"}

    def context(self) -> ssl.SSLContext | bool:
        """What to trust: for the `ssl` argument of aiohttp."""
        if not self.ca_file:
            return True
        stat = Path(self.ca_file).stat()
        stamp = stat.st_mtime_ns, stat.st_size
        if self._context is None or stamp != self._stamp:
            try:
                self._context = ssl.create_default_context(cafile=self.ca_file)
            except ssl.SSLError as error:
                raise ValueError(f"{self.ca_file}: holds no certificates in PEM form") from error
            self._stamp = stamp
        return self._context


OPEN = Access()
"""No token, and the CAs of this machine."""
