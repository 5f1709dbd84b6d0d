"""How a source is asked, from a file: Prometheus' own HTTP client configuration, as promtool's --http.config.file.

Imports exporter.settings_file and slo.sources.access. The keys are those of prometheus/common's HTTPClientConfig, so
that a file that promtool takes is taken here; relative paths are relative to the file. A key that cannot be honoured
(OAuth 2, proxies) is an error with its line, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from exporter import settings_file
from exporter.model import InputError
from slo.sources.access import TENANT_HEADER, Access, AccessError, Secret, Tls

_HINT = "write it as Prometheus' http_config: basic_auth, authorization, tls_config, http_headers"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_RESERVED = frozenset(
    {"authorization", "host", "content-length", "content-type", "content-encoding", "accept-encoding"}
)


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A login."""

    username: str
    password: str = ""
    password_file: str = ""


class Authorization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token."""

    type: str = "Bearer"
    credentials: str = ""
    credentials_file: str = ""


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to trust, and what to show."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One header: a value, in the open or secret, or a file that holds it."""

    values: list[str] = []
    secrets: list[str] = []
    files: list[str] = []


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. An empty one asks as if there were none."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None
    http_headers: dict[str, Header] = {}


def load(path: Path | None, tenant: str | None = None) -> Access:
    """The access that a file describes, with the tenant's header. Raises InputError, also for files it names."""
    access = Access() if path is None else _read(path)
    if tenant is not None:
        access = replace(access, headers={**access.headers, TENANT_HEADER: Secret(tenant)})
    try:
        access.options({})
    except AccessError as error:
        raise InputError(f"{error}") from error
    return access


def _read(path: Path) -> Access:
    config = settings_file.load(path, HttpConfig, _HINT, lambda file: _problems(file.settings), secret=True).settings
    return _access(config, path.parent)


def _problems(config: HttpConfig) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do), for what the types cannot say."""
    basic, token, tls = config.basic_auth, config.authorization, config.tls_config
    if basic is not None and token is not None:
        yield ".authorization", "stands beside basic_auth; keep one of them"
    if basic is not None and bool(basic.password) == bool(basic.password_file):
        yield ".basic_auth", "give either password or password_file"
    if token is not None:
        if bool(token.credentials) == bool(token.credentials_file):
            yield ".authorization", "give either credentials or credentials_file"
        if token.type.lower() == "basic":
            yield ".authorization.type", "a login belongs into basic_auth"
        elif _NAME.fullmatch(token.type) is None:
            yield ".authorization.type", "is no name of a scheme; write one like Bearer"
    if tls is not None and bool(tls.cert_file) != bool(tls.key_file):
        yield ".tls_config", "cert_file and key_file go together; give both, or neither"
    for name, header in config.http_headers.items():
        where = f".http_headers.{name}"
        if _NAME.fullmatch(name) is None or name.lower() in _RESERVED:
            yield where, f"the header `{name}` cannot be set here"
        elif len(header.values) + len(header.secrets) + len(header.files) != 1:
            yield where, "give one value: under values, secrets or files"
        elif any(ord(letter) < 32 for text in (*header.values, *header.secrets) for letter in text):
            yield where, "has a line break or another control character in it; write one line"


def _access(config: HttpConfig, folder: Path) -> Access:
    def path(name: str) -> Path | None:
        return folder / name if name else None

    basic, token, tls = config.basic_auth, config.authorization, config.tls_config
    scheme, user, secret = "", "", Secret()
    if basic is not None:
        scheme, user, secret = "Basic", basic.username, Secret(basic.password, path(basic.password_file))
    elif token is not None:
        scheme, secret = token.type, Secret(token.credentials, path(token.credentials_file))
    return Access(
        tls=None if tls is None else Tls(
            path(tls.ca_file), path(tls.cert_file), path(tls.key_file), tls.server_name, not tls.insecure_skip_verify
        ),
        scheme=scheme,
        user=user,
        secret=secret,
        headers={
            name: Secret("".join((*one.values, *one.secrets)), path("".join(one.files)))
            for name, one in config.http_headers.items()
        },
    )  # fmt: skip
