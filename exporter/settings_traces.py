"""The settings of the span receiver, and what can be wrong with them beyond their types.

Imports exporter.sources.trace_counts for the form of a target. Nothing is received unless `traces` is there.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from exporter.sources.trace_counts import HOST_PORT

DEFAULT_LISTEN = "127.0.0.1:4318"
"""OTLP/HTTP's usual port, from this host alone."""


class TracesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where spans are received, and whose they are: service.instance.id or service.name → host:port of the engine.

    `web_config` is as that of the page: TLS and passwords before the receiver; empty means none.
    """

    listen: str = DEFAULT_LISTEN
    targets: dict[str, str] = {}
    web_config: str = ""


def problems(traces: TracesSettings | None, page_listen: str) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.traces.listen`."""
    if traces is None:
        return
    host, _, port = traces.listen.rpartition(":")
    if not (port == "0" and host) and not _is_address(traces.listen):
        yield ".traces.listen", f"`{traces.listen}` is not an address to listen on; write {DEFAULT_LISTEN}"
    elif traces.listen == page_listen and port != "0":
        yield ".traces.listen", f"`{traces.listen}` is where the page is served; choose another port for spans"
    for name, target in traces.targets.items():
        if not _is_address(target):
            yield (
                f".traces.targets.{name}",
                f"`{target}` is not the host:port of an engine; write it as in 127.0.0.1:8000",
            )


def _is_address(text: str) -> bool:
    return HOST_PORT.fullmatch(text) is not None and int(text.rpartition(":")[2]) <= 65535
