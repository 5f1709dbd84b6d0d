"""What a web configuration says of TLS → an SSLContext. Imports exporter.model.

Status: accepted. Context: the format is Go's, and Python's ssl can do less. Decision: cipher suites go by their IANA
names, as in Go; those of TLS 1.3 cannot be chosen in either. Certificates that are asked for and not checked
(RequestClientCert, RequireAnyClientCert) cannot be had here and are refused rather than made stricter in silence.
Allowed names are compared after the handshake, before anything is answered. Keys given in the file itself go through
a file in memory, since OpenSSL reads files; they never touch a disk. Consequences: a file with any other key is the
same to Prometheus' exporters and here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from exporter.model import InputError

ClientAuth = Literal[
    "",
    "NoClientCert",
    "RequestClientCert",
    "RequireClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
Curve = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]
Where = Callable[[str], str]
"""`file:line` of a key."""

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""TLS 1.2's, by their IANA names: those that Go's crypto/tls counts as secure."""
_SUITES_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
_SAN_KINDS = ("DNS", "email", "URI")


class TlsServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As in the file; "" is what is not told."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_auth_type: ClientAuth = ""
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Curve, ...] = ()


def make_context(tls: TlsServerConfig, folder: Path, where: Where) -> ssl.SSLContext:
    """A server's context; relative paths are below `folder`. Raises InputError."""
    for key, problem in _problems(tls):
        raise InputError(f"{where(key)}: {problem}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(context, tls)
    _load_chain(context, tls, folder, where)
    _ask_clients(context, tls, folder, where)
    return context


def allowed(names: Sequence[str], certificate: Mapping[str, Any] | None) -> bool:
    """Whether a client may come in: its certificate has one of the names, or it has none and need not have one.

    `certificate` is what getpeercert() gives.
    """
    if not names or not certificate:
        return True
    found = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind in _SAN_KINDS:
            found.add(value)
        elif kind == "IP Address":
            with contextlib.suppress(ValueError):
                found.add(str(ipaddress.ip_address(value)))
    return not found.isdisjoint(names)


def _problems(tls: TlsServerConfig) -> Iterator[tuple[str, str]]:
    if not (tls.cert or tls.cert_file):
        yield "cert_file", "TLS needs a certificate; write cert_file and key_file"
    if not (tls.key or tls.key_file):
        yield "key_file", "TLS needs the certificate's key; write key_file"
    for name in ("cert", "key", "client_ca"):
        if getattr(tls, name) and getattr(tls, f"{name}_file"):
            yield name, f"{name} and {name}_file are both given; keep one"
    for key, version in (("min_version", tls.min_version), ("max_version", tls.max_version)):
        if version not in _VERSIONS:
            yield key, f"{version} is not spoken here, it is broken; write TLS12 or TLS13"
    if tls.min_version > tls.max_version:
        yield "min_version", f"min_version {tls.min_version} is above max_version {tls.max_version}; swap them"
    for suite in tls.cipher_suites:
        if suite not in _SUITES and suite not in _SUITES_13:
            yield "cipher_suites", f"`{suite}` is not offered here; known are {', '.join((*_SUITES, *_SUITES_13))}"
    if tls.cipher_suites and tls.max_version == "TLS12" and not any(suite in _SUITES for suite in tls.cipher_suites):
        yield "cipher_suites", "none of these suites is TLS 1.2's, which is all that max_version allows; add one"
    if len(tls.curve_preferences) > 1 and not hasattr(ssl.SSLContext, "set_groups"):
        yield "curve_preferences", "this Python can hold TLS to one curve, not order several; keep one, or none for all"
    yield from _client_problems(tls)


def _client_problems(tls: TlsServerConfig) -> Iterator[tuple[str, str]]:
    checked = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    if tls.client_auth_type not in ("", "NoClientCert") and not checked:
        yield (
            "client_auth_type",
            f"{tls.client_auth_type} asks for certificates and checks none, which is not done here; "
            "write RequireAndVerifyClientCert, or VerifyClientCertIfGiven",
        )
    if (tls.client_ca_file or tls.client_ca) and not checked:
        yield "client_ca_file", "a CA for clients is of no use without client_auth_type: RequireAndVerifyClientCert"
    if tls.client_allowed_sans and not checked:
        yield "client_allowed_sans", "names are checked with client_auth_type: RequireAndVerifyClientCert alone"


def _choose_ciphers(context: ssl.SSLContext, tls: TlsServerConfig) -> None:
    suites = [_SUITES[suite] for suite in tls.cipher_suites if suite in _SUITES]
    if suites:
        context.set_ciphers(":".join(suites))
    elif tls.cipher_suites:  # suites of TLS 1.3 alone
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    curves = [_CURVES[curve] for curve in tls.curve_preferences]
    if len(curves) == 1:
        context.set_ecdh_curve(curves[0])
    elif curves:
        context.set_groups(":".join(curves))  # type: ignore[attr-defined]  # from Python 3.15 on


def _load_chain(context: ssl.SSLContext, tls: TlsServerConfig, folder: Path, where: Where) -> None:
    with contextlib.ExitStack() as stack:
        paths = []
        for key, text, name in (("cert_file", tls.cert, tls.cert_file), ("key_file", tls.key, tls.key_file)):
            paths.append(_readable(folder / name, where(key)) if name else stack.enter_context(_in_memory(text)))
        try:
            context.load_cert_chain(
                paths[0], paths[1], password=""
            )  # an encrypted key must fail, not ask on the terminal
        except ssl.SSLError as error:
            place = where("key_file" if tls.key_file else "key")
            if "KEY_VALUES_MISMATCH" in str(error):
                raise InputError(f"{place}: the key is not the certificate's; give the pair") from error
            raise InputError(
                f"{place}: certificate and key cannot be read: {error.reason or 'no PEM, or the key is encrypted'}; "
                "give both in PEM form, the key without a password"
            ) from error


def _ask_clients(context: ssl.SSLContext, tls: TlsServerConfig, folder: Path, where: Where) -> None:
    if tls.client_auth_type in ("", "NoClientCert"):
        return
    context.verify_mode = (
        ssl.CERT_REQUIRED if tls.client_auth_type == "RequireAndVerifyClientCert" else ssl.CERT_OPTIONAL
    )
    if not (tls.client_ca or tls.client_ca_file):
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        if tls.client_ca:
            context.load_verify_locations(cadata=tls.client_ca)
        else:
            context.load_verify_locations(_readable(folder / tls.client_ca_file, where("client_ca_file")))
    except ssl.SSLError as error:
        place = where("client_ca_file" if tls.client_ca_file else "client_ca")
        raise InputError(f"{place}: holds no certificates; give them in PEM form") from error


def _readable(path: Path, where: str) -> str:
    try:
        path.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: {path}: cannot be read: {error.strerror}; name a file that is there") from error
    return str(path)


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file in memory that holds the text."""
    with open(os.memfd_create("web-config"), "wb") as file:  # noqa: PTH123 (a descriptor)
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
