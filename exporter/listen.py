"""Addresses to listen on: read, written and bound the same everywhere. Imports exporter.model alone."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import NamedTuple

from exporter.model import InputError

_ADDRESS = re.compile(r"(?:\[(?P<host6>[^\[\]/\s@]+)\]|(?P<host>[^\[\]:/\s@]+)):(?P<port>[0-9]{1,5})")


_LOGIN = re.compile(r"(?<=//)\S*@")


class Address(NamedTuple):
    """Where to listen. Port 0 takes any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def shown(url: str) -> str:
    """A URL, sound or not, as it may be told: what stands before the host may be a secret."""
    return _LOGIN.sub("…@", url)


def parse(text: str) -> Address:
    """Read 127.0.0.1:9400 or [::1]:9400. Raises InputError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise InputError(f"{text}: not an address to listen on; write host:port, as in 127.0.0.1:9400")
    return Address(match["host6"] or match["host"], int(match["port"]))


def bind(address: Address) -> socket.socket:
    """A listening socket. Raises InputError where the address cannot be had."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        return socket.create_server((str(where[0]), int(where[1])), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = "the port is in use; end what listens there, or choose another with --listen"
        else:
            why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
            what = f"cannot listen: {why}; name an address of this machine with --listen"
        raise InputError(f"{address}: {what}") from error
