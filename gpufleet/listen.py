"""Addresses and URLs as arguments of commands. Imports exporter.listen."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

from exporter import listen
from exporter.listen import Address
from exporter.model import InputError

__all__ = ["Address", "address", "http_url"]


def address(text: str) -> Address:
    """Read 127.0.0.1:9490 or [::1]:9490; for argparse."""
    try:
        return listen.parse(text)
    except InputError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: write host:port, as 127.0.0.1:9490") from None


def http_url(text: str) -> str:
    """Read an http or https URL, without a slash at its end; for argparse."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        sound = sound and not any(letter.isspace() for letter in text)
    except ValueError:
        sound = False
    if not sound:
        raise argparse.ArgumentTypeError(f"{listen.shown(text)!r} is not a URL: write http://host:port")
    return text.rstrip("/")
