"""The settings of the OTLP export, and what can be wrong with them beyond their types. Imports exporter.decode.

Nothing is exported unless `otlp` is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from exporter.decode import Seconds
from exporter.listen import shown

SHORTEST_INTERVAL_SECONDS = 1.0
EXAMPLE = "http://127.0.0.1:4318/v1/metrics"


class OtlpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where snapshots are sent and how often. The files are empty, or a file's name; see exporter.otlp."""

    endpoint: str
    interval_seconds: Seconds = msgspec.field(default=15.0, name="interval")
    headers_file: str = ""
    ca_file: str = ""


def problems(otlp: OtlpSettings | None) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.otlp.endpoint`."""
    if otlp is None:
        return
    try:
        parts = urlsplit(otlp.endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path in ("", "/"):
        yield (
            ".otlp.endpoint",
            f"`{shown(otlp.endpoint)}` is not the URL of a receiver; write it with its path, as in {EXAMPLE}",
        )
    elif parts.username is not None:
        yield ".otlp.endpoint", "has a user in it; write an Authorization line into a headers_file"
    elif otlp.ca_file and parts.scheme == "http":
        yield ".otlp.ca_file", "ca_file is of no use without TLS; write the endpoint with https"
    if otlp.interval_seconds < SHORTEST_INTERVAL_SECONDS:
        yield ".otlp.interval", f"`interval` is too short; write {SHORTEST_INTERVAL_SECONDS:g}s or more"
