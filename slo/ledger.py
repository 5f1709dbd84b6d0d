"""The ledger: exact counts per SLO, group and minute, in one SQLite file. The truth for budgets.

Imports slo.model, slo.definition, slo.observed, slo.facts, slo.names and the other ledger modules. Every write is one
transaction: slices, their sums, spenders, facts and the tally's state stand or fall together. A slice that is there
already is left as it is, so that a retry counts once.

Decision (accepted). Context: 30 days of 1,000 SLOs took 1.3 GB as rows; budgets need every minute of the window, since
its edge moves by the minute; older time is for reports. Decision: three tiers (slo.ledger_units): minutes of the
present six hours as rows, closed blocks of six hours packed with every minute, and what is longer back than the SLO's
window (and 35 days) put together to days of hours. Packing is spread over the appends. Consequences: whatever an SLO's
window and its alerts ask is exact to the minute; a window asked beyond that is exact to the hour, spenders to the day;
an append that reaches back merges into packed blocks, except into days of hours, whose minutes count as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from slo.definition import definition
from slo.facts import ENGINE, REPLICA, Fact
from slo.ledger_blocks import Row, Spent
from slo.ledger_file import LedgerDamagedError, LedgerError, connect, set_aside
from slo.ledger_reader import MARK, LedgerReader, dump
from slo.ledger_spend import HOUR_TILES, Tile, add
from slo.ledger_units import BLOCK_MINUTES, DAY_MINUTES, HOUR_MINUTES, OPEN_MINUTES, TILE_MINUTES
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.observed import Slice

__all__ = ["Ledger", "LedgerDamagedError", "LedgerError"]


BLOCK_TILES = BLOCK_MINUTES // TILE_MINUTES
SPEND_OPEN_MINUTES = 15
"""What replicas spent in an hour is packed this long after its end."""
KEPT_MINUTES = 35 * DAY_MINUTES
"""Minutes are kept this long at least, and as long as an SLO's window and the margin; before that, hours."""
KEPT_MARGIN_MINUTES = 5 * DAY_MINUTES
FORGET_MINUTES = 410 * DAY_MINUTES
"""Nothing is kept longer: no window is longer than 400 d."""
ENGINE_SECONDS = 8 * 86400
"""How engines stood is kept this long: there may be one such fact a figure, replica and five minutes."""
PACKED_AT_LEAST, PACKED_PART = 8, 30
"""An append packs so many groups, or that part of all: each is packed within half an hour, and no minute takes long."""
THINNED_PART = 1000
"""An append puts one day of so many groups together, so that all have their turn each day."""


class Ledger(LedgerReader):
    """One file, one writing process; several threads take turns. How to read it: slo.ledger_reader.

    `messages` says what was found and done at open (a damaged file set aside, an old one rewritten).
    """

    def __init__(self, path: Path) -> None:
        self._kept: dict[str, int] = {}
        self._day = -1
        self.thinning = True
        """Whether old days are put together: not while somebody fills them in."""
        super().__init__(path)

    def register(self, slos: Sequence[Slo]) -> Mapping[str, int]:
        """Revision of each SLO by id. A changed definition of what is counted starts a new one.

        A definition that was counted before, and comes back, goes on with its old revision: the time between is
        unobserved. An objective is not part of it.
        """
        with self._transaction():
            for slo in slos:
                text = definition(slo)
                self._db.execute("UPDATE slos SET active = (definition = ?) WHERE slo_id = ?", (text, slo.id))
                self._db.execute(
                    "INSERT INTO slos (slo_id, revision, definition, active) "
                    "SELECT ?1, 1 + (SELECT count(*) FROM slos WHERE slo_id = ?1), ?2, 1 "
                    "WHERE NOT EXISTS (SELECT 1 FROM slos WHERE slo_id = ?1 AND definition = ?2)",
                    (slo.id, text),
                )
                self._kept[slo.id] = max(KEPT_MINUTES, slo.window.seconds // MINUTE_SECONDS + KEPT_MARGIN_MINUTES)
        with self._guard():
            self._load()
        return {slo.id: self._active[slo.id] for slo in slos}

    def renew(self, why: str) -> str:
        """Set the damaged file aside and start a fresh one in its place, without any SLO; what is to be said of it."""
        with self._guard():
            self._db.close()
            message = set_aside(self.path, why)
            self._db = connect(self.path)
            self._load()
        return message

    def append(
        self,
        slices: Iterable[Slice],
        state: Mapping[str, bytes] | None = None,
        facts: Iterable[Fact] = (),
        *,
        mark: bytes | None = None,
    ) -> None:
        """Add slices, the tally's state and facts in one transaction. A slice that is there already is not added.

        `mark` is kept for who fills in the past (slo.backfill).

        Raises LedgerError, with nothing written, for a full disk, an unknown revision, and where simulated and real
        counts of one SLO would mix.
        """
        try:
            with self._transaction():
                self._append(slices)
                self._db.executemany(
                    "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)",
                    [(f.time, f.kind, dump(sorted(f.labels.items())), f.value, f.text) for f in facts],
                )
                if mark is not None:
                    self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (MARK, mark))
                changed = self._write_state(state) if state is not None else self._state
        except BaseException:
            with self._guard():
                self._load()  # what was remembered of rows that are not there is forgotten
            raise
        self._state = changed

    def _append(self, slices: Iterable[Slice]) -> None:
        keys: dict[tuple[str, int, Group, bool], int] = {}
        by_group: dict[int, list[Slice]] = {}
        before: tuple[object, ...] = ()
        many: list[Slice] = []
        newest = self._newest
        for one in slices:
            wanted = (one.slo_id, one.revision, one.group, one.simulated)
            if wanted != before:  # of what was filled in, most follow one of their own
                before = wanted
                grp = keys.get(wanted)
                if grp is None:
                    grp = keys[wanted] = self._group(one)
                many = by_group.setdefault(grp, [])
            many.append(one)
            newest = max(newest, one.start)
        self._newest = newest
        self._through.clear()
        spend_from = self._spend_start()
        opened: list[tuple[int, int, Row]] = []
        spend: list[tuple[int, int, Tile]] = []
        for grp, many in by_group.items():
            fresh = self._only_new(grp, many)
            if fresh:
                opened += self._add_minutes(grp, fresh, spend, spend_from)
        self._units.add_open(opened)
        self._spend.add(spend, self._spend_over())
        self._keep_house()

    def _only_new(self, grp: int, slices: list[Slice]) -> list[Slice]:
        """Those whose minute is not there yet, each minute once."""
        numbers = [one.start // MINUTE_SECONDS for one in slices]
        there: set[int] = set()
        younger = min(numbers) > self._units.last.get(grp, -1)
        if younger and len(set(numbers)) == len(numbers):
            return slices
        if not younger:
            there = self._units.counted(grp, min(numbers), max(numbers) + 1)
            self._kept_sums.clear()
        fresh = []
        for minute, one in zip(numbers, slices, strict=True):
            if minute not in there:
                there.add(minute)
                fresh.append(one)
        return fresh

    def _add_minutes(
        self, grp: int, slices: list[Slice], spend: list[tuple[int, int, Tile]], spend_from: int
    ) -> list[tuple[int, int, Row]]:
        """Pack what is of closed blocks; give the rows of open ones, and add what the last day spent to `spend`."""
        newest = self._newest // MINUTE_SECONDS
        opened: list[tuple[int, int, Row]] = []
        closed: dict[int, dict[int, Row]] = {}
        tiles: dict[int, dict[str, list[float]]] = {}
        rolling = self._rolling.get(grp)
        block, tile = -1, -1  # slices come in order of time: most are of the block and tile of the one before
        rows: dict[int, Row] | None = None
        whole = float(MINUTE_SECONDS)
        for _, _, _, start, good, upper, total, observed, spenders, _ in slices:
            minute = start // MINUTE_SECONDS
            row = (total - good, total - upper, total, observed if observed == whole else round(observed, 3))
            if minute // BLOCK_MINUTES != block:
                block = minute // BLOCK_MINUTES
                rows = None if self._units.is_open(grp, block, newest) else closed.setdefault(block, {})
            if rows is None:
                opened.append((grp, minute, row))
            else:
                rows[minute] = row
            if rolling is not None:
                rolling.add(minute, row)
            if start // TILE_SECONDS != tile:
                tile = start // TILE_SECONDS
                spent = tiles.setdefault(tile, {})
            add(spent, spenders)
        last = max(one.start for one in slices) // MINUTE_SECONDS
        self._units.last[grp] = max(last, self._units.last.get(grp, last))
        spent_in: dict[int, dict[int, Spent]] = {block: self._open_spent(grp, block) for block in closed}
        for tile, spent in tiles.items():
            of_block = spent_in.get(tile // BLOCK_TILES)
            pairs = {self._replica(replica): pair for replica, pair in spent.items() if any(pair)}
            if of_block is not None:
                _add_tile(of_block, tile % BLOCK_TILES, pairs)
            if tile >= spend_from and pairs:
                spend.append((grp, tile, pairs))
        for block, some in closed.items():
            self._units.merge(grp, block, some, spent_in[block])
        return opened

    def _open_spent(self, grp: int, block: int) -> dict[int, Spent]:
        """What the rows of a block spent, if it is not packed yet."""
        spent: dict[int, Spent] = {}
        if not self._units.packed(grp, block):
            first = block * BLOCK_TILES
            for tile, pairs in self._spend.tiles(grp, first, first + BLOCK_TILES):
                _add_tile(spent, tile - first, pairs)
        return spent

    def _spend_over(self) -> int:
        """The first hour whose tiles are not to be packed yet."""
        return (self._newest // MINUTE_SECONDS - SPEND_OPEN_MINUTES) // HOUR_MINUTES

    def _keep_house(self) -> None:
        """Pack blocks that are over, put old days together, forget what is too old: a few groups with each append."""
        newest = self._newest // MINUTE_SECONDS
        units = self._units
        over = newest - BLOCK_MINUTES - OPEN_MINUTES
        blocks = ((grp, first // BLOCK_MINUTES) for grp, first in units.open.items())
        due = [(grp, block) for grp, block in blocks if block * BLOCK_MINUTES <= over]
        some = max(PACKED_AT_LEAST, len(units.last) // PACKED_PART)
        self._spend.pack(self._spend_over(), some)
        for grp, block in due[:some]:
            units.merge(grp, block, {}, self._open_spent(grp, block))
        old = [
            grp
            for (slo_id, _, _), grp in self._groups.items()
            if self.thinning
            and units.oldest.get(grp, newest) < newest - self._kept.get(slo_id, KEPT_MINUTES) - DAY_MINUTES
            and units.oldest[grp] < units.last[grp] - 2 * DAY_MINUTES  # no day that is still being written
        ]
        for grp in old[: max(1, len(units.last) // THINNED_PART)]:
            units.thin(grp)
        self._spend_from = self._spend_start()
        self._spend.forget(self._spend_from)
        day = newest // DAY_MINUTES
        if day != self._day:
            self._day = day
            units.forget(newest - FORGET_MINUTES)
            before = (newest - FORGET_MINUTES) * MINUTE_SECONDS
            self._db.execute("DELETE FROM facts WHERE time < ? AND kind != ?", (before, REPLICA))
            for kind in sorted(ENGINE):
                self._db.execute("DELETE FROM facts WHERE kind = ? AND time < ?", (kind, self._newest - ENGINE_SECONDS))

    def _write_state(self, state: Mapping[str, bytes]) -> dict[str, bytes]:
        self._db.executemany("DELETE FROM state WHERE part = ?", [(p,) for p in self._state if p not in state])
        self._db.executemany(
            "INSERT OR REPLACE INTO state VALUES (?, ?)",
            [(part, body) for part, body in state.items() if self._state.get(part) != body],
        )
        return dict(state)

    def _group(self, one: Slice) -> int:
        slo = self._slos.get((one.slo_id, one.revision))
        if slo is None:
            raise LedgerError(f"{one.slo_id}: revision {one.revision} is not registered in {self.path}")
        key, simulated = slo
        if simulated is None:
            self._db.execute("UPDATE slos SET simulated = ? WHERE key = ?", (one.simulated, key))
            self._slos[(one.slo_id, one.revision)] = (key, one.simulated)
        elif simulated != one.simulated:
            old, new = ("simulated", "real") if simulated else ("real", "simulated")
            raise LedgerError(
                f"{one.slo_id}: {self.path} holds {old} counts, {new} ones are not mixed with them; "
                "use another data directory, or keep simulated replicas out by the SLO's selector"
            )
        wanted = (one.slo_id, one.revision, one.group)
        found = self._groups.get(wanted)
        if found is None:
            cursor = self._db.execute("INSERT INTO groups (slo, labels) VALUES (?, ?)", (key, dump(one.group)))
            assert cursor.lastrowid is not None
            found = self._groups[wanted] = cursor.lastrowid
            self._groups_of.setdefault((one.slo_id, one.revision), []).append(one.group)
        return found

    def _replica(self, name: str) -> int:
        found = self._replicas.get(name)
        if found is None:
            cursor = self._db.execute("INSERT INTO replicas (name) VALUES (?)", (name,))
            assert cursor.lastrowid is not None
            found = self._replicas[name] = cursor.lastrowid
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _add_tile(spent: dict[int, Spent], at: int, pairs: Tile) -> None:
    """Add a tile, by its place in the block."""
    for replica, (bad, total) in pairs.items():
        spent.setdefault(replica, Spent()).add(at, at // HOUR_TILES, bad, total)
