"""How closed minutes are packed: the counts of six hours, or of a day, as a few hundred bytes. Pure; standard library
and msgspec alone.

Decision (accepted). Context: 30 days of minutes as table rows take 25 bytes a minute, three quarters of them keys.
Decision: a block holds a fixed number of slots in columns; a column is one number where all are the same, else the
smallest whole numbers that hold it exactly (of thousandths, where that is exact), else doubles, with the bytes of one
weight side by side, deflated. Consequences: counts come back to the last bit; a busy minute takes about one byte, a
calm one almost none; a block is read as a whole.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import truediv
from typing import Self

import msgspec

Row = Sequence[float]
"""bad, bad_lower, total and observed seconds."""
COLUMNS = 4
MAX_BYTES = 64 * 1024 * 1024
"""Of a block, unpacked: a day of ten thousand replicas has less."""
_ZERO = (0.0, 0.0, 0.0, 0.0)
_SAME, _CONSTANT = b"s", b"="
_SCALES = (1, 1000)
_WIDTHS = ((1 << 8, "B"), (1 << 16, "H"), (1 << 32, "I"))
_HEAD = struct.Struct("<H")
_COLUMN = struct.Struct("<cH")
_DOUBLE = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class _Column:
    """Values of a column: `values` over `scale`, or one `constant` for all."""

    constant: float
    values: Sequence[float] = ()
    scale: int = 1

    def sum(self, first: int, end: int) -> float:
        if self.values:
            return sum(self.values[first:end]) / self.scale
        return self.constant * (end - first)

    def following(self, first: int, end: int) -> Iterable[float]:
        """The values of the slots [first, end)."""
        if not self.values:
            return repeat(self.constant, end - first)
        some = self.values[first:end]
        return some if self.scale == 1 else map(truediv, some, repeat(self.scale))

    def steps(self, first: int, size: int, number: int) -> Sequence[float]:
        """The sums of so many runs of `size` slots, the first of which begins with slot `first`."""
        if not self.values:
            return [self.constant * size] * number
        runs = [iter(self.values[first : first + size * number])] * size
        return [sum(run) / self.scale for run in zip(*runs, strict=True)]


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was read. Slots are numbered from 0; one that was never counted has no row."""

    slots: int
    _present: bytes
    _columns: tuple[_Column, ...]

    def sums(self, first: int, end: int) -> Row:
        """The sums of the slots [first, end), cut to those that there are."""
        first, end = max(0, first), min(self.slots, end)
        return tuple(column.sum(first, end) for column in self._columns) if first < end else _ZERO

    def steps(self, first: int, size: int, number: int) -> list[Row]:
        """The sums of so many runs of `size` slots from slot `first` on; all of them lie in the block."""
        return list(zip(*(column.steps(first, size, number) for column in self._columns), strict=True))

    @property
    def first(self) -> int:
        """The first slot that was counted."""
        return self._present.index(1)

    @classmethod
    def of(cls, slots: int, rows: Mapping[int, Row]) -> Self:
        """A block that is not packed."""
        table = list(zip(*(rows.get(slot, _ZERO) for slot in range(slots)), strict=True))
        columns: list[_Column] = []
        for at, values in enumerate(table):
            if at and values == table[at - 1]:
                columns.append(columns[-1])
            elif values.count(values[0]) == slots:
                columns.append(_Column(values[0]))
            else:
                columns.append(_Column(0.0, array("d", values)))
        return cls(slots, bytes(slot in rows for slot in range(slots)), tuple(columns))

    def at(self, slot: int) -> Row:
        """One slot's row; zeros where it was never counted."""
        return [one.values[slot] / one.scale if one.values else one.constant for one in self._columns]

    def following(self, slot: int) -> Iterator[Row]:
        """The rows from a slot on, one after the other; zeros where nothing was counted."""
        if not any(column.values for column in self._columns):
            return repeat(tuple(column.constant for column in self._columns), self.slots - slot)
        return zip(*(column.following(slot, self.slots) for column in self._columns), strict=True)

    def row(self, slot: int) -> Row | None:
        """One slot's row."""
        return self.at(slot) if self._present[slot] else None

    def rows(self) -> Iterator[tuple[int, Row]]:
        """(slot, row) of those that were counted."""
        for slot, present in enumerate(self._present):
            if present:
                yield slot, self.at(slot)


def encode(rows: Mapping[int, Row], slots: int) -> bytes:
    """Pack rows by their slot."""
    columns: list[Sequence[float]]
    if len(rows) == slots:
        present = b"\1" * slots
        columns = list(zip(*(rows[slot] for slot in range(slots)), strict=True))
    else:
        present = bytes(slot in rows for slot in range(slots))
        columns = list(zip(*(rows.get(slot, _ZERO) for slot in range(slots)), strict=True))
    parts = [_HEAD.pack(slots), present, _pack(columns[0])]
    parts += (_SAME if columns[at] == columns[at - 1] else _pack(columns[at]) for at in range(1, COLUMNS))
    return zlib.compress(b"".join(parts), 6)


def decode(blob: bytes) -> Block:
    """Read a packed block. Raises ValueError for what is none."""
    try:
        body = _inflated(blob)
        (slots,) = _HEAD.unpack_from(body)
        at = _HEAD.size + slots
        columns: list[_Column] = []
        for _ in range(COLUMNS):
            if body[at : at + 1] == _SAME:
                columns.append(columns[-1])
                at += 1
            else:
                column, at = _unpack(body, at, slots)
                columns.append(column)
    except (zlib.error, struct.error, IndexError, ValueError) as error:
        raise ValueError(f"a packed block cannot be read: {error}") from error
    return Block(slots, body[_HEAD.size : _HEAD.size + slots], tuple(columns))


def _inflated(blob: bytes) -> bytes:
    """What was deflated. Raises zlib.error, also for more than any block has."""
    reader = zlib.decompressobj()
    body = reader.decompress(blob, MAX_BYTES)
    if not reader.eof:
        raise zlib.error("it is cut short" if reader.unconsumed_tail == b"" else f"it has more than {MAX_BYTES} bytes")
    return body


def _pack(column: Sequence[float]) -> bytes:
    if column.count(column[0]) == len(column):
        return _CONSTANT + _DOUBLE.pack(column[0])
    for scale in _SCALES:
        whole = [round(value * scale) for value in column]
        if min(whole) >= 0 and [one / scale for one in whole] == list(column):
            code = next((code for limit, code in _WIDTHS if max(whole) < limit), None)
            if code is not None:
                return _COLUMN.pack(code.encode(), scale) + _planes(array(code, whole))
    return _COLUMN.pack(b"d", 1) + _planes(array("d", column))


def _planes(values: array[float] | array[int]) -> bytes:
    """The lowest byte of every value, then the next ones: bytes that are alike lie together."""
    if sys.byteorder == "big":
        values.byteswap()
    raw = values.tobytes()
    return b"".join(raw[at :: values.itemsize] for at in range(values.itemsize))


def _unpack(body: bytes, at: int, slots: int) -> tuple[_Column, int]:
    if body[at : at + 1] == _CONSTANT:
        return _Column(_DOUBLE.unpack_from(body, at + 1)[0]), at + 1 + _DOUBLE.size
    code, scale = _COLUMN.unpack_from(body, at)
    at += _COLUMN.size
    values = array(code.decode())
    width = values.itemsize
    end = at + slots * width
    raw = bytearray(slots * width)
    for byte in range(width):
        raw[byte::width] = body[at + byte * slots : at + (byte + 1) * slots]
    values.frombytes(bytes(raw))
    if sys.byteorder == "big":
        values.byteswap()
    return _Column(0.0, values, scale), end


@dataclass(slots=True)
class Spent:
    """What one replica spent in a block: bad events by slot, sparse, and all events by slot."""

    bad: dict[int, float] = field(default_factory=dict)
    total: dict[int, float] = field(default_factory=dict)

    def add(self, bad_slot: int, total_slot: int, bad: float, total: float) -> None:
        """Add events."""
        if bad:
            self.bad[bad_slot] = self.bad.get(bad_slot, 0.0) + bad
        if total:
            self.total[total_slot] = self.total.get(total_slot, 0.0) + total


class _Spent(msgspec.Struct, array_like=True):
    replicas: list[int]
    slots: int
    totals: list[float | int]
    bad_of: list[int]
    bad_at: list[int]
    bads: list[float | int]


def encode_spent(spent: Mapping[int, Spent], slots: int) -> bytes:
    """Pack spenders by replica; `slots` is how many the totals have."""
    bads = [(place, slot, bad) for place, one in enumerate(spent.values()) for slot, bad in sorted(one.bad.items())]
    body = _Spent(
        list(spent),
        slots,
        [short(one.total.get(slot, 0.0)) for one in spent.values() for slot in range(slots)],
        [place for place, _, _ in bads],
        [slot for _, slot, _ in bads],
        [short(bad) for _, _, bad in bads],
    )
    return zlib.compress(msgspec.msgpack.encode(body), 6)


def decode_spent(blob: bytes) -> dict[int, Spent]:
    """Read packed spenders. Raises ValueError for what is none."""
    try:
        body = msgspec.msgpack.decode(_inflated(blob), type=_Spent)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"packed spenders cannot be read: {error}") from error
    found = [Spent() for _ in body.replicas]
    for at, total in enumerate(body.totals):
        if total:
            found[at // body.slots].total[at % body.slots] = float(total)
    for place, slot, bad in zip(body.bad_of, body.bad_at, body.bads, strict=True):
        found[place].bad[slot] = float(bad)
    return dict(zip(body.replicas, found, strict=True))


def short(value: float) -> float | int:
    """Whole numbers as such: they take fewer bytes."""
    whole = int(value)
    return whole if whole == value else value


def summed(rows: Iterable[Row]) -> list[float]:
    """The sums of rows."""
    bads = lowers = totals = seconds = 0.0
    for bad, bad_lower, total, observed in rows:
        bads += bad
        lowers += bad_lower
        totals += total
        seconds += observed
    return [bads, lowers, totals, seconds]
