"""Reads a metrics page fast: the layout of a page is learned once, then only the values are read.

Imports exporter.page_grammar and exporter.model. Used for engines' pages by the agent and for agents' pages by the SLO
service.

Status: accepted. Context: a vLLM page has some 450 series whose names and labels do not change from one scrape to the
next, and reading them by the grammar costs milliseconds every time. Decision: keep the text before each value. A page
fits the known layout when taking those texts off its lines leaves nothing but number characters, and when the lengths
add up, which together prove that every line began as it had to; all of it runs in C over whole lists. A page that does
not fit is read line by line, with a table of known line beginnings, and the grammar for the rest. Consequences: a page
that gained a series costs one slower read; a page with timestamps, exemplars or native histograms is read by the table
at every turn, since its line ends change; the order of lines is part of the layout.

What is refused rather than half read: a body without a newline at its end (a page that was cut short), an empty one,
anything that is not of the grammar (HTML), text behind `# EOF`, invalid UTF-8, more bytes, lines, series or labels than
the limits. A page is judged before it takes memory: of hostile pages of 8 MiB and 50,000 series the worst took 66 MB
and 1.8 s to refuse or learn. Of series that stand twice the first counts, as in Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from math import inf
from typing import NamedTuple

from exporter.page_grammar import NUMBER, GrammarError, PageSample, parse_number, parse_sample, parse_type

__all__ = ["Layout", "Page", "PageError", "PageReader", "PageSample"]

_NUMBER_CHARACTERS = b"0123456789+-.eEINFAinfa"
"""Enough for every number that a page usually has; others take the slower way and are judged there."""


LINES_A_SERIES = 4
"""Lines that a page may have for each series of the limit: HELP, TYPE, UNIT and the sample itself."""

LONGEST_LINE = 64 * 1024
"""Characters of a line; unescaping takes many times the memory of what is escaped."""


class PageError(ValueError):
    """The body is not a metrics page. The message reads `line 12: what is wrong`."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The shape of a page; the same object as long as the shape stays, so that what is derived from it can be kept.

    `series` has no duplicates. `types` maps a family's name, as its TYPE line has it, to its type.
    """

    series: tuple[PageSample, ...]
    types: Mapping[str, str]


class Page(NamedTuple):
    """One reading of a page: `values[i]` belongs to `layout.series[i]`."""

    layout: Layout
    values: list[float]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the fast way needs. `heads` has one text a line: all of a comment, a sample's text before its value."""

    heads: list[bytes]
    is_sample: list[bool]
    is_comment: list[bool]
    is_first: list[bool] | None  # over the samples; set where some series stand twice
    fixed_length: int

    def values(self, body: bytes) -> list[float] | None:
        """The values of all series, or None where the page does not fit."""
        lines = body.split(b"\n")
        if len(lines) != len(self.heads):
            return None
        rests = list(map(bytes.removeprefix, lines, self.heads))
        joined = b"".join(rests)
        # removeprefix leaves a line that begins otherwise as it is; then the lengths do not add up.
        if len(joined) + self.fixed_length != len(body) or joined.translate(None, _NUMBER_CHARACTERS):
            return None
        if any(compress(rests, self.is_comment)):
            return None
        texts = compress(rests, self.is_sample)
        try:
            values = list(map(float, texts))
        except ValueError:
            return None
        if inf in values or -inf in values:  # as it is written, or beyond what a float holds: the grammar judges
            return None
        return values if self.is_first is None else list(compress(values, self.is_first))


class PageReader:
    """Reads the pages of one target. Not thread-safe; keep one for each target."""

    def __init__(self, *, max_bytes: int = 16 * 1024 * 1024, max_series: int = 200_000) -> None:
        self._max_bytes = max_bytes
        self._max_lines = LINES_A_SERIES * max_series
        self._max_series = max_series
        self._layout = Layout((), {})
        self._shape: _Shape | None = None
        self._known: dict[str, PageSample] = {}

    def read(self, body: bytes) -> Page:
        """All series of a page with their values. Raises PageError, after which the reader is as it was."""
        if len(body) > self._max_bytes:
            raise PageError(f"line 1: the page has {len(body)} bytes, more than the limit of {self._max_bytes}")
        if self._shape is not None:
            values = self._shape.values(body)
            if values is not None:
                return Page(self._layout, values)
        return self._learn(body)

    def _learn(self, body: bytes) -> Page:
        """Read line by line: known beginnings by the table, the rest by the grammar; keep what was learned."""
        if not body:
            raise PageError("line 1: the page is empty")
        found = body.count(b"\n")
        if found > self._max_lines:
            raise PageError(f"line {self._max_lines + 1}: the page has {found} lines, more than {self._max_lines}")
        try:
            lines = body.decode().split("\n")
        except UnicodeDecodeError as error:
            number = body.count(b"\n", 0, error.start) + 1
            raise PageError(f"line {number}: not UTF-8") from None
        longest = max(map(len, lines))
        if longest > LONGEST_LINE:
            number = next(number for number, line in enumerate(lines, 1) if len(line) > LONGEST_LINE)
            raise PageError(f"line {number}: the line has more than {LONGEST_LINE} characters")
        learning = _Learning(self._known, self._max_series)
        for number, line in enumerate(lines[:-1], 1):
            try:
                learning.line(line)
            except GrammarError as error:
                raise PageError(f"line {number}: {error}") from None
        if lines[-1]:
            raise PageError(f"line {len(lines)}: the page ends in the middle of a line")
        series = tuple(learning.values)
        if series != self._layout.series or learning.types != self._layout.types:
            self._layout = Layout(series, learning.types)
        self._known = learning.known
        self._shape = learning.shape()
        return Page(self._layout, list(learning.values.values()))


class _Learning:
    """One slower read of a page. `known` has the text of a series (name and labels as written) for each sample line."""

    def __init__(self, known: Mapping[str, PageSample], max_series: int) -> None:
        self.values: dict[PageSample, float] = {}
        self.types: dict[str, str] = {}
        self.known: dict[str, PageSample] = {}
        self._known_before = known
        self._max_series = max_series
        self._heads: list[str] = []
        self._is_sample: list[bool] = []
        self._is_first: list[bool] = []
        self._plain = True
        self._ended = False

    def line(self, line: str) -> None:
        """Take one line. Raises GrammarError."""
        if self._ended:
            raise GrammarError("text after # EOF")
        text = line.strip(" \t")
        self._is_sample.append(text[:1] not in ("", "#"))
        if self._is_sample[-1]:
            self._sample(line)
            return
        found = parse_type(text)
        if found is not None:
            self.types[found[0]] = found[1]
        self._ended = text == "# EOF"
        self._heads.append(line)

    def shape(self) -> _Shape | None:
        """The shape for the fast way, None where lines have more behind their values."""
        if not self._plain:
            return None
        heads = [head.encode() for head in (*self._heads, "")]
        return _Shape(
            heads,
            [*self._is_sample, False],
            [*(not one for one in self._is_sample), True],
            None if all(self._is_first) else self._is_first,
            sum(map(len, heads)) + len(heads) - 1,
        )

    def _sample(self, line: str) -> None:
        head, _, value = line.rpartition(" ")
        sample = self._known_before.get(head)
        plain = sample is not None
        if sample is None and head.count(" "):  # perhaps value and timestamp
            head, value, timestamp = line.rsplit(" ", 2)
            sample = self._known_before.get(head) if NUMBER.fullmatch(timestamp) else None
        if sample is not None and NUMBER.fullmatch(value):
            number = parse_number(value)
        else:
            parsed = parse_sample(line)
            if parsed is None:  # a native histogram, which is no series
                self._plain = False
                return
            sample, number, end, plain = parsed
            head = line[:end]
        first = sample not in self.values
        if first:
            if len(self.values) == self._max_series:
                raise GrammarError(f"more series than the limit of {self._max_series}")
            self.values[sample] = number
        self._is_first.append(first)
        self._heads.append(head + " ")
        self.known[head] = sample
        self._plain &= plain
