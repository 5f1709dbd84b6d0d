"""What each replica spent of the last day, by five minutes: where it lies in the file, and its sums.

Imports slo.ledger_blocks alone; knows replicas, groups and tiles (five minutes, by their number) as numbers. Whoever
calls holds the lock and the transaction.

Decision (accepted). Context: as rows of one replica each, the last day of 10,000 SLOs of 16 replicas took a gigabyte,
forty times what its packed blocks take, and a minute's ingest wrote 160,000 of them. Decision: one row for a group's
tile while its hour lasts, with all replicas in it; hours that are over are packed, one row for each group; keys go by
time first, so that a minute's rows lie together and what is forgotten frees whole pages for what comes. Consequences: a
group's day takes about 5 kB; what comes late for a packed hour unpacks it; an event is in one place, its tile's row or
its hour's, and sums read both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from slo.ledger_blocks import Spent, decode_spent, encode_spent, short

HOUR_TILES = 12
_GROUP_BITS = 32
_GROUP = (1 << _GROUP_BITS) - 1

Pair = list[float]
"""bad and total."""
Tile = dict[int, Pair]
"""By replica."""
_Replica = TypeVar("_Replica", int, str)
"""By its number, or by its name."""


def key_of(number: int, grp: int) -> int:
    """The key of a row of a tile, or an hour, by its number."""
    return number << _GROUP_BITS | grp


def place_of(key: int) -> tuple[int, int]:
    """Number and group of a row's key."""
    return key >> _GROUP_BITS, key & _GROUP


class Spend:
    """Reads and writes the tables `spend` (tiles of hours that last) and `spend_hours` (packed ones)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def tiles(self, grp: int, first: int, end: int) -> Iterator[tuple[int, Tile]]:
        """What the replicas spent in the tiles [first, end); a tile may come twice."""
        if first >= end:
            return
        for key, blob in self._some("spend", grp, range(first, end)):
            yield key, _unpack(blob)
        for hour, blob in self._some("spend_hours", grp, range(first // HOUR_TILES, (end - 1) // HOUR_TILES + 1)):
            for tile, pairs in _by_tile(hour, blob).items():
                if first <= tile < end:
                    yield tile, pairs

    def sums(self, grp: int, first: int, end: int) -> Tile:
        """What they spent in all of these tiles."""
        found: Tile = {}
        for _, pairs in self.tiles(grp, first, end):
            add(found, pairs)
        return found

    def add(self, spent: Iterable[tuple[int, int, Tile]], over: int) -> None:
        """Add (group, tile, what was spent). What lies in hours before number `over` goes to its packed hour."""
        rows: dict[int, Tile] = {}
        packed: dict[tuple[int, int], dict[int, Tile]] = {}
        for grp, tile, pairs in spent:
            if tile // HOUR_TILES < over:
                add(packed.setdefault((grp, tile // HOUR_TILES), {}).setdefault(tile, {}), pairs)
            else:
                add(rows.setdefault(key_of(tile, grp), {}), pairs)
        for key, pairs in rows.items():
            for (blob,) in self._db.execute("SELECT spent FROM spend WHERE key = ?", (key,)):
                add(pairs, _unpack(blob))
        self._db.executemany("INSERT OR REPLACE INTO spend VALUES (?, ?)", ((k, _pack(p)) for k, p in rows.items()))
        for (grp, hour), tiles in packed.items():
            self._merge(grp, hour, tiles)

    def pack(self, over: int, most: int) -> None:
        """Pack hours before number `over`, of up to so many groups, the oldest first."""
        end = key_of(over * HOUR_TILES, 0)
        due = self._db.execute("SELECT key FROM spend WHERE key < ? ORDER BY key LIMIT ?", (end, most)).fetchall()
        for grp, hour in {(grp, tile // HOUR_TILES): None for tile, grp in (place_of(key) for (key,) in due)}:
            numbers = range(hour * HOUR_TILES, (hour + 1) * HOUR_TILES)
            self._merge(grp, hour, {tile: _unpack(blob) for tile, blob in self._some("spend", grp, numbers)})
            keys = ",".join(str(key_of(tile, grp)) for tile in numbers)
            self._db.execute(f"DELETE FROM spend WHERE key IN ({keys})")  # noqa: S608 (numbers)

    def forget(self, before: int) -> None:
        """Delete the tiles before a number, which is a whole hour's."""
        self._db.execute("DELETE FROM spend WHERE key < ?", (key_of(before, 0),))
        self._db.execute("DELETE FROM spend_hours WHERE key < ?", (key_of(before // HOUR_TILES, 0),))

    def _merge(self, grp: int, hour: int, more: Mapping[int, Tile]) -> None:
        """Put tiles into their packed hour."""
        key = key_of(hour, grp)
        tiles: dict[int, Tile] = {}
        for (blob,) in self._db.execute("SELECT spent FROM spend_hours WHERE key = ?", (key,)):
            tiles = _by_tile(hour, blob)
        for tile, pairs in more.items():
            add(tiles.setdefault(tile, {}), pairs)
        spent: dict[int, Spent] = {}
        for tile in sorted(tiles):
            at = tile - hour * HOUR_TILES
            for replica, (bad, total) in tiles[tile].items():
                spent.setdefault(replica, Spent()).add(at, at, bad, total)
        self._db.execute("INSERT OR REPLACE INTO spend_hours VALUES (?, ?)", (key, encode_spent(spent, HOUR_TILES)))

    def _some(self, table: str, grp: int, numbers: range) -> Iterator[tuple[int, bytes]]:
        """The rows of a group with these numbers of tiles or hours."""
        keys = ",".join(str(key_of(number, grp)) for number in numbers)
        for key, blob in self._db.execute(f"SELECT key, spent FROM {table} WHERE key IN ({keys})").fetchall():  # noqa: S608 (numbers)
            yield place_of(key)[0], blob


def _by_tile(hour: int, blob: bytes) -> dict[int, Tile]:
    try:
        spent = decode_spent(blob)
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    found: dict[int, Tile] = {}
    for replica, one in spent.items():
        for at in one.total.keys() | one.bad.keys():
            pair = [one.bad.get(at, 0.0), one.total.get(at, 0.0)]
            found.setdefault(hour * HOUR_TILES + at, {})[replica] = pair
    return found


def _pack(pairs: Tile) -> bytes:
    return msgspec.msgpack.encode([(replica, short(bad), short(total)) for replica, (bad, total) in pairs.items()])


_ROWS = msgspec.msgpack.Decoder(list[tuple[int, float, float]])


def _unpack(blob: bytes) -> Tile:
    try:
        return {replica: [bad, total] for replica, bad, total in _ROWS.decode(blob)}
    except msgspec.MsgspecError as error:
        raise sqlite3.DatabaseError(f"what replicas spent cannot be read: {error}") from error


def add(held: dict[_Replica, list[float]], more: Mapping[_Replica, Sequence[float]]) -> None:
    """Add what replicas spent to what they had, (bad, total) each."""
    for replica, (bad, total) in more.items():
        pair = held.get(replica)
        if pair is None:
            held[replica] = [bad, total]
        else:
            pair[0] += bad
            pair[1] += total
