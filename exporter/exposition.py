"""Snapshot → one page in Prometheus' text format 0.0.4, encoded once and then handed out as bytes.

Status: stands. Context: from one collection to the next a page keeps its lines and changes a few of its values.
Decision: the order of lines and everything in them but the value is kept for as long as the snapshot has the same
series, by identity; of the values only those that changed are written anew. The age of the snapshot alone is written
for each request, at the end. Consequences: sources must keep their Series; one that makes new ones is slow, not wrong.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterable

from exporter.metrics import agent
from exporter.model import Family, Labels, Series, Snapshot, labels_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GZIP = 31
"""zlib's window bits for a gzip header and trailer."""
_GZIP_LEVEL = 1
"""A page is repetitive: level 1 makes it about a tenth, higher levels cost more time than they save."""
_EDGE_LABEL = "le"


class Page:
    """One snapshot as bytes. `plain` and `gzipped` add the age line as of `now` (unix seconds)."""

    def __init__(self, body: bytes, age_prefix: str, taken_at: float) -> None:
        self.body = body
        self.taken_at = taken_at
        self._age_prefix = age_prefix
        self._packed: tuple[bytes, zlib._Compress] | None = None

    def plain(self, now: float | None = None) -> bytes:
        """The page."""
        return self.body + self._age(now)

    def gzipped(self, now: float | None = None) -> bytes:
        """The page as one gzip member; the body is compressed on the first call alone."""
        if self._packed is None:
            packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
            self._packed = packer.compress(self.body) + packer.flush(zlib.Z_SYNC_FLUSH), packer
        head, packer = self._packed
        packer = packer.copy()
        return head + packer.compress(self._age(now)) + packer.flush()

    def _age(self, now: float | None) -> bytes:
        age = max(0.0, (time.time() if now is None else now) - self.taken_at)
        return f"{self._age_prefix}{age:.3f}\n".encode()


class Exposition:
    """Encodes the snapshots of one agent. `node` labels the age line."""

    def __init__(self, *, node: str) -> None:
        age = Series(agent.SNAPSHOT_AGE, labels_of({"node": node}))
        self._age_prefix = _head(age.family) + _line_start(age)
        self._series: list[Series] = []
        self._order: list[int] = []
        self._starts: list[str] = []
        self._values: list[float] = []
        self._texts: list[str] = []

    def encode(self, snapshot: Snapshot) -> Page:
        """The page of one snapshot."""
        readings = snapshot.readings
        series = [reading.series for reading in readings]
        if series != self._series:  # Series compare by identity
            self._learn(series)
        values, texts = self._values, self._texts
        for place, origin in enumerate(self._order):
            value = readings[origin].value
            if value != values[place]:
                values[place] = value
                texts[place] = number(value)
        lines = [""] * (2 * len(texts))
        lines[::2] = self._starts
        lines[1::2] = texts
        body = "".join(lines)
        return Page((body + "\n" if body else "").encode(), self._age_prefix, snapshot.taken_at)

    def _learn(self, series: list[Series]) -> None:
        """Group the lines by family, in order of first appearance, and write all of them but the values."""
        groups: dict[str, list[int]] = {}
        for origin, one in enumerate(series):
            groups.setdefault(one.family.name, []).append(origin)
        kept = {id(one): start for one, start in zip(self._in_order(), self._bare_starts(), strict=True)}
        order: list[int] = []
        starts: list[str] = []
        for origins in groups.values():
            for rank, origin in enumerate(origins):
                one = series[origin]
                start = kept.get(id(one)) or _line_start(one)
                order.append(origin)
                starts.append(("\n" if starts else "") + (_head(one.family) if rank == 0 else "") + start)
        self._series, self._order, self._starts = series, order, starts
        self._values = [math.nan] * len(order)
        self._texts = [""] * len(order)

    def _in_order(self) -> Iterable[Series]:
        return (self._series[origin] for origin in self._order)

    def _bare_starts(self) -> Iterable[str]:
        return (start.rpartition("\n")[2] for start in self._starts)


def number(value: float) -> str:
    """A sample value as Prometheus reads it: whole numbers without a fraction, as dcgm-exporter writes them."""
    if value != value:  # noqa: PLR0124  NaN is the one number that is not itself; cheaper here than math.isnan
        return "NaN"
    if value in (math.inf, -math.inf):
        return "+Inf" if value > 0 else "-Inf"
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return repr(float(value))


def _head(family: Family) -> str:
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.type.value}\n"


def _line_start(series: Series) -> str:
    """A line up to its value."""
    return f"{series.name}{_label_text(series.labels)} "


def _label_text(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(_edge(name, value))}"' for name, value in labels) + "}"


def _edge(name: str, value: str) -> str:
    """Bucket edges in float form, so that "1" and "1.0" are one series."""
    if name != _EDGE_LABEL:
        return value
    edge = float(value)
    return repr(edge) if math.isfinite(edge) else "+Inf"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
