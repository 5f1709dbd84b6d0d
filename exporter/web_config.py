"""The web configuration file of Prometheus' exporters: TLS, client certificates, users, headers, a rate limit.

Imports exporter.settings_file, exporter.web_tls and exporter.model. The keys are those of exporter-toolkit
(docs/web-configuration.md, read at 19a7c2d), so that a file that node_exporter or dcgm-exporter takes is taken here;
relative paths are relative to the file. A key that cannot be honoured is an InputError with its line, never ignored:
HTTP/2 asked for, certificates asked for but not checked, TLS below 1.2, several curves on a Python that can hold only
one, a password hash that takes longer than any scraper waits.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter import settings_file
from exporter.web_tls import TlsServerConfig, make_context

MOST_COST = 18
"""2^18 rounds of bcrypt are some 20 s; a scraper has gone by then."""
_HASH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_DURATION = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)(ms|s|m|h))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""The headers that may be set, and their values where not every value may."""
Stamp = tuple[int, int, int] | None
"""What tells a file from the one that stood there before; None for one that cannot be looked at."""
_HINT = "write it as docs/web-configuration.md of prometheus/exporter-toolkit says"


class HttpServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`http2` None means not told: HTTP/1.1 is what is spoken."""

    http2: bool | None = None
    headers: dict[str, str | int] = {}


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token bucket: one request an `interval` in the long run (0: no limit), `burst` at once."""

    interval: str | int = 0
    burst: int = 0


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. An empty one means plain HTTP for everybody."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: dict[str, str] = {}
    rate_limit: RateLimit = RateLimit()


@dataclass(frozen=True)
class Loaded:
    """A file that can be followed. `context` is None for plain HTTP; `files` are all it was made of.

    `stamps` are those of the files, taken before they were read. `seconds_a_request` is 0 where there is no limit.
    """

    config: WebConfig
    context: ssl.SSLContext | None
    files: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
    seconds_a_request: float


def load(path: Path) -> Loaded:
    """Read the file and the certificates that it names. Raises InputError."""
    own = stamps((path,))
    file = settings_file.load(path, WebConfig, _HINT, _problems, secret=True)
    config = file.settings
    tls = config.tls_server_config
    names = () if tls is None else (tls.cert_file, tls.key_file, tls.client_ca_file)
    named = tuple(path.parent / name for name in names if name)
    all_stamps = (*own, *stamps(named))
    context = None
    if tls is not None:
        context = make_context(tls, path.parent, lambda key: file.where(f".tls_server_config.{key}"))
    return Loaded(config, context, (path, *named), all_stamps, _seconds(config.rate_limit.interval) or 0.0)


def stamps(files: Sequence[Path]) -> tuple[Stamp, ...]:
    """The stamps of files as they are now."""
    found: list[Stamp] = []
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def _problems(file: settings_file.SettingsFile[WebConfig]) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do), for what the types cannot say."""
    config = file.settings
    http = config.http_server_config
    if http.http2:
        yield ".http_server_config.http2", "HTTP/2 is not spoken here; write `http2: false`, or leave it out"
    for name, value in http.headers.items():
        where = f".http_server_config.headers.{name}"
        if name not in _HEADERS:
            yield where, f"the header `{name}` cannot be set; known are {', '.join(_HEADERS)}"
        elif _HEADERS[name] and value not in ("", *_HEADERS[name]):
            yield where, f"`{value}` is no value of {name}; write {' or '.join(_HEADERS[name])}"
        elif any(ord(letter) < 32 for letter in str(value)):
            yield where, f"{name} has a line break or another control character in it; write one line"
    for user, hashed in config.basic_auth_users.items():
        where = f".basic_auth_users.{user}"
        match = _HASH.fullmatch(hashed)
        if not user or ":" in user:
            yield where, f"`{user}` cannot be the name of a user; write one without a colon"
        elif match is None:
            yield where, f"what stands for {user} is no bcrypt hash; make one with `htpasswd -nBC 10 {user}`"
        elif not 4 <= int(match[1]) <= MOST_COST:
            yield where, f"the cost of {user}'s hash is {int(match[1])}; make one of 4 to {MOST_COST}, as 10"
    yield from _limit_problems(config.rate_limit)


def _limit_problems(limit: RateLimit) -> Iterator[tuple[str, str]]:
    seconds = _seconds(limit.interval)
    if seconds is None:
        yield ".rate_limit.interval", f"`{limit.interval}` is not a duration; write a number and ms, s, m or h, as 1s"
    elif seconds > 0 and limit.burst < 1:
        yield ".rate_limit", "with an interval and no burst nobody is let in; write a burst of 1 or more"


def _seconds(text: str | int) -> float | None:
    """A duration as Go writes it, in seconds; None where it is none."""
    if text in (0, "0", ""):
        return 0.0
    if not isinstance(text, str) or _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
