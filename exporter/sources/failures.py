"""What a failed request is called: a few words that may become a label, and a detail for the log. Imports aiohttp.

The words do not change from one failure of a kind to the next. aiohttp's own texts do, and they name its settings
("ssl:default"), which is no part of what went wrong.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

import aiohttp

_WORDS: Iterable[tuple[type[Exception], str]] = (
    (aiohttp.ClientConnectorDNSError, "host name not found"),
    (aiohttp.ClientConnectorCertificateError, "certificate not trusted"),
    (aiohttp.ClientSSLError, "no TLS connection"),
    (aiohttp.ClientPayloadError, "page cut short"),
    (aiohttp.ServerDisconnectedError, "closed the connection"),
    (aiohttp.ClientResponseError, "not an HTTP answer"),
)


def reason(error: Exception) -> str:
    """A few words for an aiohttp.ClientError or an OSError."""
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "refused the connection"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "no connection")


def detail(error: Exception) -> str:
    """What the system or TLS said of it; empty where that is nothing."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio writes the address into the place of the system's words
        number = error.os_error.errno or 0
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    return str(error)
