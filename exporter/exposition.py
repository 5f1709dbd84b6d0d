"""Snapshot → one page in Prometheus' text format 0.0.4 or in OpenMetrics 1.0, encoded once, handed out as bytes.

Status: stands. Context: from one collection to the next a page keeps its lines and changes a few of its values.
Decision: the order of lines and everything in them but the value is kept for as long as the snapshot has the same
series, by identity; of the values only those that changed are written anew. The age of the snapshot alone is written
for each request, at the end. Consequences: sources must keep their Series; one that makes new ones is slow, not wrong.

What a family and its labels are called is a matter of the profile (exporter.naming), looked up once for each series.

OpenMetrics has the same lines under other heads, and is put together when first asked for. Its counters end in _total;
DCGM's do not, so there they are of type unknown. Prometheus asks for OpenMetrics first and reads the same series.
"""

from __future__ import annotations

import functools
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from exporter.metrics import agent
from exporter.model import Labels, MetricType, Series, Snapshot, labels_of
from exporter.naming import LEGACY, Convert, Profile
from exporter.text_format import EDGE_LABEL, head, joined, line_start, number, openmetrics_head

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_GZIP = 31
"""zlib's window bits for a gzip header and trailer."""
_GZIP_LEVEL = 1
"""A page is repetitive: level 1 makes it about a tenth, higher levels cost more time than they save."""
_SUFFIXES = ("_bucket", "_count", "_sum", "")


class Page:
    """One snapshot as bytes. `plain` and `gzipped` add the age line as of `now` (unix seconds), and `end`.

    `other` makes the page in OpenMetrics; without it, `openmetrics` is this page.
    """

    def __init__(
        self,
        body: bytes,
        age_prefix: str,
        taken_at: float,
        *,
        end: str = "",
        content_type: str = CONTENT_TYPE,
        other: Callable[[], Page] | None = None,
    ) -> None:
        self.body = body
        self.taken_at = taken_at
        self.content_type = content_type
        self._age_prefix = age_prefix
        self._end = end
        self._other = other
        self._openmetrics: Page | None = None
        self._packed: tuple[bytes, zlib._Compress] | None = None

    def plain(self, now: float | None = None) -> bytes:
        """The page."""
        return b"".join(self.parts(now))

    def parts(self, now: float | None = None) -> tuple[bytes, bytes]:
        """The page in two: what lies ready, and the age line."""
        return self.body, self._age(now)

    def gzipped(self, now: float | None = None) -> bytes:
        """The page as one gzip member; the body is compressed on the first call alone."""
        if self._packed is None:
            packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
            self._packed = packer.compress(self.body) + packer.flush(zlib.Z_SYNC_FLUSH), packer
        head, packer = self._packed
        packer = packer.copy()
        return head + packer.compress(self._age(now)) + packer.flush()

    def openmetrics(self) -> Page:
        """The same in OpenMetrics; made on the first call alone."""
        if self._openmetrics is None:
            self._openmetrics = self if self._other is None else self._other()
        return self._openmetrics

    def _age(self, now: float | None) -> bytes:
        age = max(0.0, (time.time() if now is None else now) - self.taken_at)
        return f"{self._age_prefix}{age:.3f}\n{self._end}".encode()


class _Line(NamedTuple):
    """One series under the names it is shown by, its line up to the value, and how the value becomes what is shown."""

    series: Series
    start: str
    convert: Convert | None


class Exposition:
    """Encodes the snapshots of one agent under a profile's names; `labels` stand on every line, `node` on the age's."""

    def __init__(
        self, *, node: str, labels: Mapping[str, str] = MappingProxyType({}), profile: Profile = LEGACY
    ) -> None:
        age = Series(agent.SNAPSHOT_AGE, labels_of({**labels, "node": node}))
        self._common = dict(labels)
        self._profile = profile
        self._age_prefix = head(age.family) + line_start(age)
        self._age = age
        self._openmetrics = _OpenMetrics((), age)
        self._series: list[Series] = []
        self._order: list[int] = []
        self._lines: list[_Line] = []
        self._starts: list[str] = []
        self._converts: list[Convert | None] = []
        self._values: list[float] = []
        self._texts: list[str] = []

    def encode(self, snapshot: Snapshot) -> Page:
        """The page of one snapshot."""
        readings = snapshot.readings
        series = [reading.series for reading in readings]
        if series != self._series:  # Series compare by identity
            self._learn(series)
        values, texts, converts = self._values, self._texts, self._converts
        for place, origin in enumerate(self._order):
            value = readings[origin].value
            if value != values[place]:
                values[place] = value
                convert = converts[place]
                texts[place] = number(value if convert is None else convert(value))
        lines = [""] * (2 * len(texts))
        lines[::2] = self._starts
        lines[1::2] = texts
        openmetrics, kept, taken_at = self._openmetrics, tuple(texts), snapshot.taken_at
        return Page(joined(lines), self._age_prefix, taken_at, other=lambda: openmetrics.page(kept, taken_at))

    def _learn(self, series: list[Series]) -> None:
        """Group the lines by family, in order of first appearance, and write all of them but the values."""
        groups: dict[str, list[int]] = {}
        for origin, one in enumerate(series):
            groups.setdefault(one.family.name, []).append(origin)
        kept = {id(self._series[origin]): line for origin, line in zip(self._order, self._lines, strict=True)}
        order = [origin for origins in groups.values() for origin in origins]
        lines = [kept.get(id(series[origin])) or self._line(series[origin]) for origin in order]
        starts: list[str] = []
        last = ""
        for line in lines:
            heading = "" if line.series.family.name == last else head(line.series.family)
            starts.append(("\n" if starts else "") + heading + line.start)
            last = line.series.family.name
        self._series, self._order, self._lines, self._starts = series, order, lines, starts
        self._converts = [line.convert for line in lines]
        self._values = [math.nan] * len(order)
        self._texts = [""] * len(order)
        self._openmetrics = _OpenMetrics(tuple(line.series for line in lines), self._age)

    def _line(self, series: Series) -> _Line:
        family, convert = self._profile.family(series.family)
        labels = self._profile.labels(series.family, series.labels)
        if self._common:
            labels = labels_of({**self._common, **dict(labels)})
        if family is not series.family or labels is not series.labels:
            series = Series(family, labels, series.suffix)
        return _Line(series, line_start(series), convert)


class _OpenMetrics:
    """How pages with the same series, given in the order of the page, stand in OpenMetrics."""

    def __init__(self, series: tuple[Series, ...], age: Series) -> None:
        self._series = series
        self._age_prefix = openmetrics_head(age.family) + line_start(age)

    def page(self, texts: Sequence[str], taken_at: float) -> Page:
        """The page of the values in `texts`, which are in the order of the series."""
        order, starts = self._lines
        lines = [""] * (2 * len(texts))
        lines[::2] = starts
        lines[1::2] = [texts[place] for place in order]
        return Page(joined(lines), self._age_prefix, taken_at, end="# EOF\n", content_type=OPENMETRICS_CONTENT_TYPE)

    @functools.cached_property
    def _lines(self) -> tuple[list[int], list[str]]:
        """The places of the series in order, and each line up to its value.

        The lines of one histogram stand together, its buckets by rising edges.
        """
        families: dict[str, int] = {}
        groups: dict[tuple[str, Labels], int] = {}
        keys: list[tuple[int, int, int, float]] = []
        for one in self._series:
            rank = families.setdefault(one.family.name, len(families))
            if one.family.type is not MetricType.HISTOGRAM:
                keys.append((rank, 0, 0, 0.0))
                continue
            group = one.family.name, tuple(pair for pair in one.labels if pair[0] != EDGE_LABEL)
            edge = float(dict(one.labels).get(EDGE_LABEL, math.inf))
            keys.append((rank, groups.setdefault(group, len(groups)), _SUFFIXES.index(one.suffix), edge))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        starts: list[str] = []
        last = ""
        for place in order:
            one = self._series[place]
            heading = "" if one.family.name == last else openmetrics_head(one.family)
            starts.append(("\n" if starts else "") + heading + line_start(one))
            last = one.family.name
        return order, starts
