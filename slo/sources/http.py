"""What every source knows of HTTP: logins that stand in URLs, and failures in words. Imports aiohttp and yarl alone.

A URL may hold a login (http://user:password@host), and URLs are printed, served and written down: the login is taken
out where the URL comes in, and goes to the server alone.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

_WORDS = 160
"""Characters of a server's own words that are told."""


def without_login(url: str) -> str:
    """The URL as it may be shown."""
    return url if not login(url) else str(URL(url).with_user(None))


def one_line(body: bytes) -> str:
    """A server's words as one short line that a terminal may show; `nothing` where there are none."""
    words = " ".join(body[: 4 * _WORDS].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words[:_WORDS]) or "nothing"


def login(url: str) -> Mapping[str, str]:
    """The login in a URL, if any, as a header (RFC 7617)."""
    parts = URL(url)
    if parts.user is None and parts.password is None:
        return {}
    pair = f"{parts.user or ''}:{parts.password or ''}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "host name not found"),
    (aiohttp.ContentTypeError, "answered, but not with JSON"),
    (aiohttp.ClientPayloadError, "the answer was cut short"),
    (aiohttp.ServerDisconnectedError, "closed the connection"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not one that is trusted here for that name"),
    (aiohttp.ClientSSLError, "TLS failed: it speaks none, or asks for a certificate"),
)


def reason(error: aiohttp.ClientError) -> str:
    """Why there is no answer, without what the reader knows already (the URL) or need not (types, arguments)."""
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words
    if isinstance(error.__cause__, HttpProcessingError):
        return "not an HTTP answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"answered {error.status}"
    if isinstance(error, aiohttp.ClientOSError) and error.errno:
        return os.strerror(error.errno)
    return " ".join(str(error).split()) or type(error).__name__
