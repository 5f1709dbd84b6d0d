"""Protobuf's wire format: the fields of a message read in place, and the few that are written. Imports nothing.

Status: accepted. Context: the base install reads small parts of large messages, request spans (exporter.otlp_spans) and
the kubelet's devices (exporter.sources.pod_resources), from whoever can reach a port or a socket; protobuf's runtime
makes an object of everything. Decision: one reader here, which steps over what nobody asked for by its length.
Consequences: which field is which is known by number, in the modules that read them.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _LEN, _GROUP, _END_GROUP, _FIXED32 = range(6)
_DEEPEST = 100  # as protobuf's parsers


class WireError(ValueError):
    """The bytes are no message. The text says where they stop making sense."""


def of_bytes(number: int) -> int:
    """The tag of a field that is text, bytes or a message."""
    return number << 3 | _LEN


def of_varint(number: int) -> int:
    """The tag of a field that is a whole number, a boolean or a value of an enum."""
    return number << 3 | _VARINT


def of_double(number: int) -> int:
    """The tag of a field that is a double."""
    return number << 3 | _FIXED64


def fields(body: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The fields of the message between two offsets: its tag, and where its content lies, or its value if a varint.

    Raises WireError, at the latest where the message ends.
    """
    while at < stop:
        tag = body[at]
        at += 1
        if tag > 0x7F:
            tag, at = _varint(body, at - 1, stop)
        kind = tag & 7
        if kind == _LEN:
            if at < stop and body[at] < 0x80:
                length = body[at]
                at += 1
            else:
                length, at = _varint(body, at, stop)
            first, at = at, at + length
        elif kind == _VARINT:
            first, at = _varint(body, at, stop)
        elif kind == _FIXED64:
            first, at = at, at + 8
        elif kind == _FIXED32:
            first, at = at, at + 4
        elif kind == _GROUP:
            first, at = at, _group_end(body, at, stop, tag >> 3)
        else:
            raise WireError(f"byte {at}: no field can begin here")
        if at > stop:
            raise WireError(f"byte {stop}: the message ends inside a field")
        if tag < 8:
            raise WireError(f"byte {at}: a field has no number")
        yield tag, first, at


def _varint(body: bytes, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while at < stop and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise WireError(f"byte {at}: a number does not end")


def _group_end(body: bytes, at: int, stop: int, number: int) -> int:
    """Behind an unknown group. Nobody makes them any more, but protobuf steps over them, without end of nesting."""
    open_groups = [number]
    while open_groups:
        tag, at = _varint(body, at, stop)
        kind = tag & 7
        if kind == _LEN:
            length, at = _varint(body, at, stop)
            at += length
        elif kind == _VARINT:
            _, at = _varint(body, at, stop)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _GROUP and len(open_groups) < _DEEPEST:
            open_groups.append(tag >> 3)
        elif kind != _END_GROUP or open_groups.pop() != tag >> 3:
            raise WireError(f"byte {at}: a group is not closed as it was opened")
    return at


def message(number: int, content: bytes) -> bytes:
    """A field that is text, bytes or a message."""
    return bytes([of_bytes(number)]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A whole number as it stands in a message, without its tag."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
