"""Where the counts of a group lie in the file, and their sums: open minutes as rows, closed ones packed.

Imports slo.ledger_blocks alone; knows minutes and groups by number, nothing of SLOs. Every minute of a group is in one
place: a row of `minutes`, or a unit that covers it. A unit is a block of six hours with every minute, or a day with
every hour. What is asked in the middle of a day's hour is taken down to the hour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from slo.ledger_blocks import Block, Row, Spent, decode, decode_spent, encode, encode_spent, summed

BLOCK_MINUTES = 360
DAY_MINUTES = 1440
HOUR_MINUTES = 60
TILE_MINUTES = 5
OPEN_MINUTES = 60
"""A block stays open this long after its end, so that what comes a little late costs no unpacking."""
CACHE_PER_GROUP = 6
"""Unpacked blocks that are kept for each group: the edges of its long windows."""
_CACHE_LEAST = 256

_SUM = "total(bad), total(bad_lower), total(total), total(observed)"
_MINUTES = "SELECT minute, bad, bad_lower, total, observed FROM minutes WHERE grp = ? AND minute "
_UNITS = "SELECT start, length, bad, bad_lower, total, observed, body FROM units WHERE grp = ? "


class Units:
    """Reads and writes counts over one connection; whoever calls holds the lock and the transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._cache: dict[tuple[int, int], tuple[int, int, Block] | None] = {}
        self.open: dict[int, int] = {}
        """The first open minute of each group that has some."""
        self.last: dict[int, int] = {}
        """The last minute of each group."""
        self.oldest: dict[int, int] = {}
        """The first minute of each group's oldest block."""
        self._ends: dict[int, int] = {}
        """The end of each group's youngest unit."""

    def load(self) -> None:
        """Learn what the file holds; what was remembered is forgotten."""
        self._cache.clear()
        ends = "SELECT grp, min(minute), max(minute) FROM minutes GROUP BY grp"
        rows = self._db.execute(ends).fetchall()
        self.open = {grp: first for grp, first, _ in rows}
        # A unit may end before its last slot: `last` is of the last minute in it that was counted.
        youngest = "SELECT max(start) FROM units WHERE grp = key"
        packed = f"SELECT grp, start + length, last FROM groups JOIN units ON grp = key AND start = ({youngest})"  # noqa: S608
        ended = self._db.execute(packed).fetchall()
        self._ends = {grp: end for grp, end, _ in ended}
        self.last = {grp: last for grp, _, last in ended}
        for grp, _, last in rows:
            self.last[grp] = max(last, self.last.get(grp, last))
        least = "SELECT min(start) FROM units WHERE grp = key AND length = ?"
        oldest = f"SELECT key, ({least}) AS s FROM groups WHERE s NOT NULL"  # noqa: S608 (constants)
        self.oldest = dict(self._db.execute(oldest, (BLOCK_MINUTES,)).fetchall())

    # Reading

    def first(self, grp: int) -> int | None:
        """The first minute that is kept of a group."""
        (packed,) = self._db.execute("SELECT min(start) FROM units WHERE grp = ?", (grp,)).fetchone()
        if packed is None:
            return self.open.get(grp)
        place = self._place(grp, packed)
        assert place is not None, "it starts with that minute"
        start, slot, block = place
        return min(start + slot * block.first, self.open.get(grp, start + DAY_MINUTES))

    def sums(self, grp: int, first: int, end: int) -> Row:
        """The sums of the minutes [first, end)."""
        return self._between(grp, (first, end))[0] if first < end else (0.0,) * 4

    def windows(self, grp: int, lengths: Iterable[int], end: int) -> dict[int, Row]:
        """The sums of windows of these lengths that end with `end`, each minute of them summed once."""
        firsts = sorted({end - length for length in lengths})
        held: Row = (0.0,) * 4
        found: dict[int, Row] = {}
        for first, sums in zip(reversed(firsts), reversed(self._between(grp, (*firsts, end))), strict=True):
            held = found[end - first] = summed((held, sums))
        return found

    def _between(self, grp: int, edges: Sequence[int]) -> list[Row]:
        """The sums between each two of these minutes, which ascend."""
        spans = list(pairwise(edges))
        found: list[list[Row]] = [[] for _ in spans]
        packed_end, opened = self._ends.get(grp, 0), self.open.get(grp, edges[-1])
        arms: list[str] = []
        values: list[int] = []
        for number, (first, end) in enumerate(spans):
            if first < packed_end:
                arms.append(f"SELECT {number}, {_SUM} FROM units WHERE grp = ? AND start >= ? AND start + length <= ?")  # noqa: S608
                arms[-1] += " AND start < ?"
                values += (grp, first, end, end)
            if end > opened:
                arms.append(f"SELECT {number}, {_SUM} FROM minutes WHERE grp = ? AND minute >= ? AND minute < ?")  # noqa: S608
                values += (grp, first, end)
        if arms:
            for number, *sums in self._db.execute(" UNION ALL ".join(arms), values):
                found[number].append(sums)
        cut: tuple[int, int, Block] | None = None
        for edge in edges:
            if edge >= packed_end or edge % DAY_MINUTES == 0:  # no unit lies across it
                continue
            place = self._place(grp, edge)
            if place is None or place[0] == edge or place == cut:
                continue
            cut = start, slot, block = place
            for number, (first, end) in enumerate(spans):
                if first < start + slot * block.slots and end > start:
                    found[number].append(block.sums((first - start) // slot, (end - start) // slot))
        return [summed(rows) for rows in found]

    def steps(self, grp: int, first: int, end: int, step: int) -> dict[int, Row]:
        """The sums of each `step` minutes of [first, end), by the number of the step since the epoch."""
        found: dict[int, list[Row]] = {}
        if first < self._ends.get(grp, 0):
            whole = "start >= ? AND start + length <= ? AND start / ? = (start + length - 1) / ?"
            span = (first, end, step, step)
            sql = f"SELECT start / ? AS step, {_SUM} FROM units WHERE grp = ? AND start < ? AND {whole} GROUP BY step"  # noqa: S608
            found = {number: [sums] for number, *sums in self._db.execute(sql, (step, grp, end, *span))}
            cut = f"{_UNITS} AND start > ? AND start < ? AND NOT ({whole})"
            for start, length, *_, body in self._db.execute(cut, (grp, first - DAY_MINUTES, end, *span)).fetchall():
                place = (start, *self._block(grp, start, length, body))
                for number, some in _stepped(place, max(start, first), min(start + length, end), step):
                    found.setdefault(number, []).append(some)
        if end > self.open.get(grp, end):
            sql = (
                f"SELECT minute / ? AS step, {_SUM} FROM minutes "  # noqa: S608 (no input in it)
                "WHERE grp = ? AND minute >= ? AND minute < ? GROUP BY step"
            )
            for number, *sums in self._db.execute(sql, (step, grp, first, end)):
                found.setdefault(number, []).append(sums)
        return {number: rows[0] if len(rows) == 1 else summed(rows) for number, rows in found.items()}

    def around(self, grp: int, minute: int, most: int) -> tuple[int, Block]:
        """A block by minutes that holds a minute, and its first one; of open ones no more than so many from it on.

        Minutes that were not counted are zeros in it, and so are those that are kept by hours.
        """
        opened = self.open.get(grp)
        place = self._place(grp, minute) if opened is None or minute < opened + BLOCK_MINUTES else None
        if place is not None:
            start, slot, block = place
            return (start, block) if slot == 1 else (start, Block.of(slot * block.slots, {}))
        most = min(most, BLOCK_MINUTES - minute % BLOCK_MINUTES)  # what comes after may be packed
        rows = self._db.execute(_MINUTES + ">= ? AND minute < ?", (grp, minute, minute + most))
        return minute, Block.of(most, {at - minute: row for at, *row in rows})

    def counted(self, grp: int, first: int, end: int) -> set[int]:
        """Which of the minutes [first, end) are counted already; all of those that are kept by hours."""
        found = {m for m, *_ in self._db.execute(_MINUTES + ">= ? AND minute < ?", (grp, first, end))}
        reach = (grp, first - DAY_MINUTES, end)
        for start, length, *_, body in self._db.execute(_UNITS + "AND start > ? AND start < ?", reach):
            slot, block = self._block(grp, start, length, body)
            found.update(start + at for at, _ in block.rows()) if slot == 1 else found.update(
                range(start, start + length)
            )
        return found

    def rows(self, grp: int, first: int, end: int) -> list[tuple[int, int, Row]]:
        """(minute, minutes in it, row) of what is kept of [first, end), by minutes or hours, oldest first."""
        found: list[tuple[int, int, Row]] = []
        reach = (grp, first - DAY_MINUTES, end)
        for start, length, *_, body in self._db.execute(_UNITS + "AND start > ? AND start < ?", reach):
            slot, block = self._block(grp, start, length, body)
            found += ((start + at * slot, slot, row) for at, row in block.rows())
        found += ((m, 1, row) for m, *row in self._db.execute(_MINUTES + ">= ? AND minute < ?", (grp, first, end)))
        return sorted(one for one in found if first <= one[0] < end)

    def unit(self, grp: int, start: int) -> tuple[int, dict[int, Spent]] | None:
        """Length and spenders of the unit that starts with a minute; None where there is none."""
        sql = "SELECT length, spent FROM units JOIN bodies ON key = body WHERE grp = ? AND start = ?"
        found = self._db.execute(sql, (grp, start)).fetchone()
        return None if found is None else (found[0], _spent(found[1]))

    def spent(self, grp: int, first: int, end: int) -> dict[int, list[float]]:
        """bad and total of each replica in the packed minutes [first, end). Of an hour that is cut, pro rata."""
        found: dict[int, list[float]] = {}
        sql = (
            "SELECT start, length, spent FROM units JOIN bodies ON key = body WHERE grp = ? AND start > ? AND start < ?"
        )
        for start, length, blob in self._db.execute(sql, (grp, first - DAY_MINUTES, end)).fetchall():
            low, high = max(first - start, 0), min(end - start, length)
            if low >= high:
                continue
            bad_slot, total_slot = spent_slots(length)
            for replica, one in _spent(blob).items():
                bad = _part(one.bad, bad_slot, low, high)
                total = _part(one.total, total_slot, low, high)
                if bad or total:
                    sums = found.setdefault(replica, [0.0, 0.0])
                    sums[0] += bad
                    sums[1] += total
        return found

    # Writing

    def add_open(self, rows: Sequence[tuple[int, int, Row]]) -> None:
        """Add (group, minute, row) of blocks that are open, where `is_open` says so."""
        self._db.executemany("INSERT INTO minutes VALUES (?,?,?,?,?,?)", [(grp, m, *row) for grp, m, row in rows])
        for grp, minute, _ in rows:
            if minute < self.open.get(grp, minute + 1):
                self.open[grp] = minute

    def is_open(self, grp: int, block: int, newest: int) -> bool:
        """Whether a block (its number) takes rows: it is not over for long, and was not packed."""
        if (block + 1) * BLOCK_MINUTES + OPEN_MINUTES <= newest:
            return False
        return not self.packed(grp, block)

    def packed(self, grp: int, block: int) -> bool:
        """Whether a block (its number) was packed, or put into a day."""
        return self._place(grp, block * BLOCK_MINUTES) is not None

    def merge(self, grp: int, block: int, rows: Mapping[int, Row], spent: Mapping[int, Spent]) -> None:
        """Pack a block, with new rows (by minute) and what they spent. Those of `minutes` move into it."""
        start = block * BLOCK_MINUTES
        end = start + BLOCK_MINUTES
        by_slot = {minute - start: row for minute, row in rows.items()}
        held = self._db.execute(_UNITS + "AND start = ?", (grp, start)).fetchone()
        key: int | None = None
        if held:
            key = int(held[-1])
            by_slot.update(self._block(grp, start, BLOCK_MINUTES, key)[1].rows())
            (blob,) = self._db.execute("SELECT spent FROM bodies WHERE key = ?", (key,)).fetchone()
            spent = _merged(_spent(blob), spent)
        if grp in self.open and self.open[grp] < end:
            moved = self._db.execute(_MINUTES + ">= ? AND minute < ?", (grp, start, end)).fetchall()
            by_slot.update((minute - start, row) for minute, *row in moved)
            self._db.execute("DELETE FROM minutes WHERE grp = ? AND minute >= ? AND minute < ?", (grp, start, end))
            (first,) = self._db.execute("SELECT min(minute) FROM minutes WHERE grp = ?", (grp,)).fetchone()
            if first is None:
                del self.open[grp]
            else:
                self.open[grp] = first
        self._write((grp, start, BLOCK_MINUTES), by_slot, encode_spent(spent, BLOCK_MINUTES // HOUR_MINUTES), key)
        if start < self.oldest.get(grp, end):
            self.oldest[grp] = start

    def put(self, grp: int, start: int, length: int, rows: Mapping[int, Row], spent: Mapping[int, Spent]) -> None:
        """Write a unit where nothing is, from rows by the minute they begin with."""
        slot = 1 if length == BLOCK_MINUTES else HOUR_MINUTES
        by_slot = {(minute - start) // slot: row for minute, row in rows.items()}
        self._write((grp, start, length), by_slot, encode_spent(spent, length // spent_slots(length)[1]))

    def thin(self, grp: int) -> None:
        """Put the blocks of the group's oldest day together, by hours and with what each replica spent on that day."""
        day = self.oldest[grp] // DAY_MINUTES * DAY_MINUTES
        hours: dict[int, list[Row]] = {}
        for minute, _, row in self.rows(grp, day, day + DAY_MINUTES):
            hours.setdefault((minute - day) // HOUR_MINUTES, []).append(row)
        spent = {}
        for replica, (bad, total) in self.spent(grp, day, day + DAY_MINUTES).items():
            spent[replica] = Spent({0: bad} if bad else {}, {0: total})
        span = (grp, day, day + DAY_MINUTES)
        self._db.execute(
            "DELETE FROM bodies WHERE key IN (SELECT body FROM units WHERE grp = ? AND start >= ? AND start < ?)", span
        )
        self._db.execute("DELETE FROM units WHERE grp = ? AND start >= ? AND start < ?", span)
        by_hour = {at: summed(rows) for at, rows in hours.items()}
        self._write((grp, day, DAY_MINUTES), by_hour, encode_spent(spent, 1))
        sql = "SELECT min(start) FROM units WHERE grp = ? AND length = ?"
        (oldest,) = self._db.execute(sql, (grp, BLOCK_MINUTES)).fetchone()
        if oldest is None:
            del self.oldest[grp]
        else:
            self.oldest[grp] = oldest

    def forget(self, before: int) -> None:
        """Delete the units that start before a minute."""
        self._db.execute("DELETE FROM bodies WHERE key IN (SELECT body FROM units WHERE start < ?)", (before,))
        self._db.execute("DELETE FROM units WHERE start < ?", (before,))
        self._cache.clear()

    def _write(self, unit: tuple[int, int, int], rows: Mapping[int, Row], spent: bytes, key: int | None = None) -> None:
        """Group, start and length of a unit, its rows by slot; `key` of the body it has already."""
        grp, start, length = unit
        slot = 1 if length == BLOCK_MINUTES else HOUR_MINUTES
        blob = encode(rows, length // slot)
        last = start + (max(rows) + 1) * slot - 1
        if key is None:
            key = self._db.execute("INSERT INTO bodies (minutes, spent) VALUES (?, ?)", (blob, spent)).lastrowid
        else:
            self._db.execute("UPDATE bodies SET minutes = ?, spent = ? WHERE key = ?", (blob, spent, key))
        values = (grp, start, length, last, *summed(rows.values()), key)
        self._db.execute("INSERT OR REPLACE INTO units VALUES (?,?,?,?,?,?,?,?,?)", values)
        self._ends[grp] = max(start + length, self._ends.get(grp, 0))
        for block in range(start // BLOCK_MINUTES, (start + length) // BLOCK_MINUTES):
            self._cache.pop((grp, block), None)

    def _place(self, grp: int, minute: int) -> tuple[int, int, Block] | None:
        """Start, minutes a slot, and content of the unit that a minute lies in."""
        number = minute // BLOCK_MINUTES
        key = (grp, number)
        if key in self._cache:
            return self._cache[key]
        sql = _UNITS + "AND start <= ? ORDER BY start DESC LIMIT 1"
        found = self._db.execute(sql, (grp, minute)).fetchone()
        place = None
        if found is not None and found[0] + found[1] > minute:
            return (found[0], *self._block(grp, found[0], found[1], found[-1]))
        self._keep(key, place)
        return place

    def _block(self, grp: int, start: int, length: int, body: int) -> tuple[int, Block]:
        """Minutes a slot, and the content."""
        key = (grp, start // BLOCK_MINUTES)
        held = self._cache.get(key)
        if held is None:
            (blob,) = self._db.execute("SELECT minutes FROM bodies WHERE key = ?", (body,)).fetchone() or (b"",)
            try:
                block = decode(blob)
            except ValueError as error:
                raise sqlite3.DatabaseError(str(error)) from error
            held = start, length // block.slots, block
            self._keep(key, held)
        return held[1:]

    def _keep(self, key: tuple[int, int], place: tuple[int, int, Block] | None) -> None:
        self._cache[key] = place
        if len(self._cache) > max(_CACHE_LEAST, CACHE_PER_GROUP * len(self.last)):
            del self._cache[next(iter(self._cache))]  # the oldest


def _stepped(place: tuple[int, int, Block], low: int, high: int, step: int) -> Iterator[tuple[int, Row]]:
    """Number and sums of each step, or part of one, of the minutes [low, high) of a unit."""
    start, slot, block = place
    while low < high:
        number = (high - low) // step
        if number and low % step == (low - start) % slot == step % slot == 0:  # whole steps, of whole slots
            yield from enumerate(block.steps((low - start) // slot, step // slot, number), low // step)
            low += number * step
            continue
        until = min(high, (low // step + 1) * step)
        yield low // step, block.sums((low - start) // slot, (until - start) // slot)
        low = until


def spent_slots(length: int) -> tuple[int, int]:
    """Minutes of a slot of bad and of total events by replica, in a unit of that length."""
    return (TILE_MINUTES, HOUR_MINUTES) if length == BLOCK_MINUTES else (length, length)


def _part(slots: Mapping[int, float], width: int, low: int, high: int) -> float:
    """What lies in the minutes [low, high) of a unit; of a slot that is cut, its share."""
    return sum(
        value * (min(high, (at + 1) * width) - max(low, at * width)) / width
        for at, value in slots.items()
        if at * width < high and (at + 1) * width > low
    )


def _spent(blob: bytes) -> dict[int, Spent]:
    try:
        return decode_spent(blob)
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _merged(held: dict[int, Spent], more: Mapping[int, Spent]) -> dict[int, Spent]:
    for replica, new in more.items():
        one = held.setdefault(replica, Spent())
        for slot, bad in new.bad.items():
            one.bad[slot] = one.bad.get(slot, 0.0) + bad
        for slot, total in new.total.items():
            one.total[slot] = one.total.get(slot, 0.0) + total
    return held
