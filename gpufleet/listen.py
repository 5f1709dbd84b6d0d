"""Addresses and URLs as arguments of commands. Imports the standard library alone."""

from __future__ import annotations

import argparse
from typing import NamedTuple
from urllib.parse import urlsplit


class Address(NamedTuple):
    """Where to listen. Port 0 takes any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    """Read 127.0.0.1:9490 or [::1]:9490; for argparse."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.path or parts.username:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: write host:port, like 127.0.0.1:9490")
    return Address(host, port)


def http_url(text: str) -> str:
    """Read an http or https URL, without a slash at its end; for argparse."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        sound = sound and not any(letter.isspace() for letter in text)
    except ValueError:
        sound = False
    if not sound:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL: write http://host:port")
    return text.rstrip("/")
