"""How a server is asked: TLS, a login, a token, headers. Imports nothing of slo; files are read again when they change.

Secrets lie in files that others rotate. So headers are made for each request and TLS contexts once for each state of
their files: a renewed certificate or token is used from the next request on, without a restart. What is read is never
part of a message; the file's name is.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

TENANT_HEADER = "X-Scope-OrgID"
"""Says whose series are asked for: Mimir, Thanos Receive and Loki take it."""
_LONGEST_SECRET = 64 * 1024

_Stamps = tuple[tuple[int, int, int], ...]


class AccessError(Exception):
    """A file that is needed to ask cannot be used; the message names it and what to do, never what it holds."""


class RequestOptions(TypedDict, total=False):
    """What aiohttp's requests take."""

    headers: dict[str, str]
    ssl: ssl.SSLContext
    server_hostname: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is given, or that a file holds."""

    value: str = field(default="", repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The value as it is now. Raises AccessError."""
        if self.file is None:
            return self.value
        try:
            with self.file.open("rb") as held:
                text = held.read(_LONGEST_SECRET).decode("utf-8").strip()
        except OSError as error:
            raise AccessError(f"{self.file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AccessError(f"{self.file}: is not UTF-8 text; write the secret alone into it") from None
        if not text or any(ord(letter) < 32 for letter in text):
            raise AccessError(f"{self.file}: holds no single line; write the secret alone into it")
        return text


@dataclass(frozen=True, slots=True)
class Tls:
    """What to trust and what to show. `ca_file` stands instead of this machine's CAs."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    verify: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of."""
        return tuple(one for one in (self.ca_file, self.cert_file, self.key_file) if one is not None)

    def context(self) -> ssl.SSLContext:
        """Made anew from the files. Raises AccessError."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                # Without a word to ask for: an encrypted key is refused rather than asked about on a terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password=lambda: "")
        except (OSError, ValueError) as error:
            names = ", ".join(str(one) for one in self.files)
            what = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not as it should be"
            raise AccessError(
                f"{names}: cannot be used for TLS ({what}): give PEM files, the key without a password"
            ) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(slots=True)
class Access:
    """Everything that goes with each request. `scheme` is Basic, Bearer or another of the Authorization header.

    `user` and `password` are for Basic, `token` for the others. A login in a URL is the URL's own (slo.sources.http).
    """

    tls: Tls | None = None
    scheme: str = ""
    user: str = ""
    secret: Secret = Secret()
    headers: Mapping[str, Secret] = field(default_factory=dict)
    _context: tuple[_Stamps, ssl.SSLContext] | None = field(default=None, init=False, repr=False)

    def options(self, own: Mapping[str, str]) -> RequestOptions:
        """For one request, over the headers that it has itself. Raises AccessError."""
        headers = dict(own)
        if self.scheme == "Basic":
            pair = f"{self.user}:{self.secret.read()}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        elif self.scheme:
            headers["Authorization"] = f"{self.scheme} {self.secret.read()}"
        headers.update((name, secret.read()) for name, secret in self.headers.items())
        found = RequestOptions(headers=headers)
        if self.tls is not None:
            found["ssl"] = self._tls_context(self.tls)
            if self.tls.server_name:
                found["server_hostname"] = self.tls.server_name
        return found

    def _tls_context(self, tls: Tls) -> ssl.SSLContext:
        try:
            stats = [one.stat() for one in tls.files]
        except OSError as error:
            raise AccessError(f"{error.filename}: cannot be read: {error.strerror}") from None
        stamps = tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)
        if self._context is None or self._context[0] != stamps:
            self._context = stamps, tls.context()
        return self._context[1]
