"""Who listens on this machine, from /proc/net/tcp and tcp6. Imports the standard library alone.

It is the table of the network namespace that the agent runs in.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_LISTENING = re.compile(
    rb"^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) \S+ 0A \S+ \S+ \S+ +\d+ +\d+ (\d+) ", re.MULTILINE
)
"""Lines in state 0A, TCP_LISTEN: local address, port, inode."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket; `host` is as a client of this machine writes it in a URL."""

    host: str
    port: int
    inode: int


def listeners(proc: Path = PROC) -> Iterator[Listener]:
    """Every listening TCP socket; those of IPv4 first. A kernel without IPv6 has no table of it."""
    for name in ("tcp", "tcp6"):
        try:
            table = (proc / "net" / name).read_bytes()
        except OSError:
            continue
        for address, port, inode in _LISTENING.findall(table):
            yield Listener(_host(bytes.fromhex(address.decode())), int(port, 16), int(inode))


def _host(raw: bytes) -> str:
    """The kernel prints an address as 32-bit numbers, so that their bytes stand as this machine keeps numbers."""
    words = (int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return "127.0.0.1"
    return f"[{address}]" if address.version == 6 else str(address)
