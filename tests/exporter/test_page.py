"""The page reader against the reference parser, against its own grammar in mid-life, and against damage."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric
from prometheus_client import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.model import labels_of
from exporter.page import LINES_A_SERIES, LONGEST_LINE, Page, PageError, PageReader, PageSample
from exporter.page_grammar import MAX_LABELS

CAPTURES = sorted((Path(__file__).parent.parent / "captures").glob("*.prom"))


def told(page: Page) -> dict[PageSample, str]:
    """What a page says; values as text, so that NaN equals NaN."""
    assert len(page.values) == len(page.layout.series)
    return {sample: repr(value) for sample, value in zip(page.layout.series, page.values, strict=True)}


def told_by(families: Iterable[Metric]) -> dict[PageSample, str]:
    """What the reference says; of series that stand twice the first."""
    found: dict[PageSample, str] = {}
    for each in families:
        for one in each.samples:
            found.setdefault(PageSample(one.name, labels_of(one.labels)), repr(float(one.value)))
    return found


def told_by_reference(text: str) -> dict[PageSample, str]:
    """What the reference parser says of a text page, but for the `_total` that it adds to counters without."""
    declared = {
        line.split()[2] for line in text.splitlines() if line.startswith("# TYPE") and line.endswith(" counter")
    }
    return {
        PageSample(bare if (bare := one.name.removesuffix("_total")) in declared else one.name, one.labels): value
        for one, value in told_by(parse_text(text)).items()
    }


def read(body: bytes | str) -> Page:
    return PageReader().read(body if isinstance(body, bytes) else body.encode())


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_recorded_page_reads_as_the_reference_parser_reads_it(path: Path) -> None:
    body = path.read_bytes()
    reader = PageReader()
    first = reader.read(body)
    again = reader.read(body)
    assert told(first) == told_by_reference(body.decode())
    assert told(again) == told(first)
    assert again.layout is first.layout
    assert first.layout.types == {
        line.split()[2]: line.split()[3] for line in body.decode().splitlines() if line.startswith("# TYPE")
    }


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_known_page_with_new_values_gives_the_new_values_in_the_same_layout(path: Path) -> None:
    body = path.read_bytes()
    reader = PageReader()
    layout = reader.read(body).layout
    pick = random.Random(7)
    texts = ["0", "1e-05", "+Inf", "NaN", "-3.5", "9223372036854775794", "1.7952191534046965e+09", "Infinity"]
    moved = b"\n".join(
        line if line[:1] in (b"#", b"") else line.rpartition(b" ")[0] + b" " + pick.choice(texts).encode()
        for line in body.split(b"\n")
    )
    page = reader.read(moved)
    assert page.layout is layout
    assert told(page) == told_by_reference(moved.decode())


NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
# Backslash, quote, newline, blanks and braces are what grammars trip over.
LABEL_VALUES = st.text(
    st.one_of(st.sampled_from('\\"\n{},= #\tn'), st.characters(exclude_categories=["Cs"])), max_size=8
)
SAMPLES = st.builds(
    lambda name, labels: PageSample(name, labels_of(labels)),
    NAMES,
    st.dictionaries(LABEL_NAMES, LABEL_VALUES.filter(bool), max_size=4),
)
VALUES = st.floats().map(repr)
BLANKS = st.text(" \t", min_size=1, max_size=3)


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@st.composite
def lines(draw: st.DrawFn, sample: PageSample, value: str) -> str:
    """One sample line in any of the ways the formats allow."""
    labels = list(sample.labels)
    if draw(st.booleans()):
        labels.append((draw(LABEL_NAMES.filter(lambda name: name not in dict(labels))), ""))
    space = draw(st.sampled_from(["", " ", "\t "]))
    pairs = f"{space},{space}".join(f'{name}{space}={space}"{escaped(text)}"' for name, text in labels)
    if labels and draw(st.booleans()):
        pairs += ","
    braces = f"{space}{{{space}{pairs}{space}}}" if labels or draw(st.booleans()) else ""
    line = f"{draw(st.sampled_from(['', ' ']))}{sample.name}{braces}{draw(BLANKS)}{value}"
    line += draw(st.sampled_from(["", "", " ", f"{draw(BLANKS)}{draw(st.integers(0, 2**60))}"]))
    if draw(st.integers(0, 4)) == 0:
        line += f' # {{trace_id="{escaped(draw(LABEL_VALUES))}"}} 0.5' + draw(st.sampled_from(["", " 1520879607.789"]))
    return line


@st.composite
def pages(draw: st.DrawFn, known: list[PageSample]) -> tuple[str, dict[PageSample, str]]:
    """A page of some of the known samples, and what it says: the first of those that stand twice."""
    chosen = draw(st.lists(st.sampled_from(known), max_size=8))
    says: dict[PageSample, str] = {}
    text = ""
    for sample in chosen:
        value = draw(VALUES)
        says.setdefault(sample, repr(float(value)))
        text += draw(st.sampled_from(["", "\n", "# HELP a 5\n", "#\n", " # TYPE x_y gauge\n"]))
        text += draw(lines(sample, value)) + "\n"
    return text + draw(st.sampled_from(["", "# EOF\n"])) or "\n", says


@given(st.data())
def test_every_way_of_writing_a_page_reads_as_it_was_meant_through_changes_of_shape(data: st.DataObject) -> None:
    known = data.draw(st.lists(SAMPLES, min_size=1, max_size=6))
    reader = PageReader()
    last: Page | None = None
    for text, says in data.draw(st.lists(pages(known), min_size=1, max_size=4)):
        page = reader.read(text.encode())
        assert told(page) == says
        if last is not None:
            same = page.layout.series == last.layout.series and page.layout.types == last.layout.types
            assert (page.layout is last.layout) == same
        last = page


@given(st.lists(st.tuples(LABEL_VALUES, st.floats(0, 1e9)), max_size=5), LABEL_VALUES)
@settings(max_examples=50)
def test_both_formats_of_the_reference_client_read_as_its_own_parsers_read_them(
    observed: list[tuple[str, float]], trace: str
) -> None:
    registry = CollectorRegistry()
    count = Counter("c", "help 5", ["a"], registry=registry)
    gauge = Gauge("g", 'help "x" \\ y', ["a"], registry=registry)
    histogram = Histogram("h", "help", ["a"], registry=registry)
    Info("i", "help", registry=registry).info({"version": trace})
    for label, value in observed:
        # Its own parser cannot read an exemplar whose label ends in a quote.
        exemplar = {"t": trace[:4].replace('"', "")}
        count.labels(label).inc(value, exemplar=exemplar)
        gauge.labels(label).set(math.nan)
        histogram.labels(label).observe(value, exemplar=exemplar)
    for body, parse in ((text_of(registry), parse_text), (openmetrics_of(registry), parse_openmetrics)):
        assert told(read(body)) == told_by(parse(body.decode()))


def test_timestamps_and_exemplars_may_change_without_changing_layout_or_value() -> None:
    reader = PageReader()
    first = reader.read(b'a_total{x="1 2"} 5 1000\nb_bucket{le="1"} 3 # {t="q # \\""} 0.5 1.5\n')
    again = reader.read(b'a_total{x="1 2"} 7 2000\nb_bucket{le="1"} 4 # {t="} 9"} 0.25\n')
    bare = reader.read(b'a_total{x="1 2"} 8\nb_bucket{le="1"} 5\n')
    assert again.layout is first.layout
    assert bare.layout is first.layout
    assert (first.values, again.values, bare.values) == ([5, 3], [7, 4], [8, 5])


def test_a_series_gained_or_lost_is_a_new_layout_with_values_in_their_places() -> None:
    reader = PageReader()
    reader.read(b'# TYPE a gauge\na{x="1"} 1\na{x="2"} 2\n')
    gained = reader.read(b'# TYPE a gauge\na{x="1"} 3\na{x="3"} 9\na{x="2"} 4\n')
    lost = reader.read(b'# TYPE a gauge\na{x="2"} 5\n')
    retyped = reader.read(b'# TYPE a counter\na{x="2"} 6\n')
    assert [dict(one.labels)["x"] for one in gained.layout.series] == ["1", "3", "2"]
    assert gained.values == [3, 9, 4]
    assert (lost.values, retyped.values) == ([5], [6])
    assert (lost.layout.types, retyped.layout.types) == ({"a": "gauge"}, {"a": "counter"})


def test_a_comment_that_became_something_else_of_its_length_is_noticed() -> None:
    body = b"# TYPE a gauge\na 1\n\nb 2\n"
    for other in (b"# TYPE a other\na 1\n\nb 2\n", b"! TYPE a gauge\na 1\n\nb 2\n", b"# TYPE a gauge\na 1\n5\nb 2\n"):
        reader = PageReader()
        reader.read(body)
        with pytest.raises(PageError):
            reader.read(other)


def test_of_a_series_that_stands_twice_the_first_counts_on_every_read() -> None:
    reader = PageReader()
    for text, expected in (("1 2 3", [1, 3]), ("4 5 6", [4, 6])):
        one, two, three = text.split()
        page = reader.read(f'a{{x="1",y="2"}} {one}\na{{y="2",x="1"}} {two}\nb {three}\n'.encode())
        assert page.values == expected


NATIVE = (
    "count:9,sum:100,schema:0,zero_threshold:0.001,zero_count:4,positive_spans:[0:2,1:2],positive_deltas:[2,1,-3,3]"
)


@pytest.mark.parametrize(
    "line",
    [
        f"h {{{NATIVE}}}",
        f'h{{a="b"}} {{{NATIVE}}}',
        'h{a="} {count:1"} {count:1,sum:2}',
        f'h{{a="b"}} {{{NATIVE}}} 1520879607.789',
        f'h{{a="b"}} {{{NATIVE}}} 1.0 st@0.5 # {{trace_id="x y"}} 0.67 1.5 # {{trace_id="z"}} 1 2',
        'h{a="b"} {count:17,sum:3.5,bucket:[0.1:8,+Inf:17]} 1.0 st@0.5',
    ],
)
def test_a_native_histogram_is_passed_over_and_the_rest_of_the_page_is_read(line: str) -> None:
    reader = PageReader()
    for value in (1, 2):
        page = reader.read(f'# TYPE h histogram\n{line}\nh_bucket{{le="1"}} {value}\n# TYPE g gauge\ng 5\n'.encode())
        assert told(page) == {PageSample("h_bucket", (("le", "1"),)): f"{value}.0", PageSample("g", ()): "5.0"}


@pytest.mark.parametrize("line", ["h {count:1", 'h {count:1} a"b', 'h{a="b"} {}', 'h{a="b"} {count:"1"}', "{count:1}"])
def test_what_only_resembles_a_native_histogram_is_refused(line: str) -> None:
    with pytest.raises(PageError, match=r"line 1: "):
        read(f"{line}\n")


def test_native_histograms_beside_classic_ones_as_the_reference_parser_reads_them() -> None:
    classic = 'h_bucket{le="1.0"} 3\nh_bucket{le="+Inf"} 4\nh_count 4\nh_sum 5\n'
    text = f"# TYPE h histogram\nh {{{NATIVE}}}\n{classic}# EOF\n"
    theirs = [one for each in parse_openmetrics(text) for one in each.samples if one.native_histogram is None]
    assert told(read(text)) == {PageSample(one.name, labels_of(one.labels)): repr(float(one.value)) for one in theirs}


def test_a_quoted_name_is_a_name() -> None:
    page = read('{"my.metric", "a.b"="c"} 1\n{"other"} 2\n# TYPE "my.metric" gauge\n')
    assert page.layout.series == (PageSample("my.metric", (("a.b", "c"),)), PageSample("other", ()))
    assert page.layout.types == {"my.metric": "gauge"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "line 1: the page is empty"),
        (b"a 1\nb 2", "line 2: the page ends in the middle of a line"),
        (b'a 1\nb{x="2', "line 2: the page ends in the middle of a line"),
        (b"<!DOCTYPE html>\n<html></html>\n", "line 1: '<!DOCTYPE html>' is not a sample"),
        (b'{"detail":"Not Found"}\n', "line 1: "),
        (b"a 1\nInf\n", "line 2: 'Inf' has no value"),
        (b"a 1\n\nb x\n", "line 3: 'x' is not a number"),
        (b"a 1_0\n", "line 1: '1_0' is not a number"),
        (b"a 0x10\n", "line 1: '0x10' is not a number"),
        ("a \u0661\n".encode(), "line 1: '\u0661' is not a number"),
        (b"a 1\r\n", "line 1: '1\\r' is not a number"),
        (b"a 1 x\n", "line 1: 'x' is not a timestamp"),
        (b"a 1 2 3\n", "line 1: 'a' has no value"),
        (b'a{x="1",x="2"} 1\n', "line 1: label 'x' stands twice"),
        (b'a{x="1" y="2"} 1\n', "line 1: "),
        (b"a{x=1} 1\n", "line 1: label 'x' has no quoted value"),
        (b'a{x:y="1"} 1\n', "line 1: "),
        (b"# TYPE a countre\n", "line 1: 'countre' is not a metric type"),
        (b"a 1 # nothing\n", "line 1: "),
        (b"a 1\n# EOF\na 2\n", "line 3: text after # EOF"),
        (b'a 1\nb{x="\xff"} 1\n', "line 2: not UTF-8"),
    ],
)
def test_what_is_not_a_page_is_refused_with_its_line_and_the_reader_lives_on(body: bytes, message: str) -> None:
    reader = PageReader()
    good = reader.read(b"a 1\n")
    with pytest.raises(PageError) as raised:
        reader.read(body)
    assert str(raised.value).startswith(message)
    assert reader.read(b"a 2\n").layout is good.layout


def test_limits_on_lines_their_length_and_labels_hold() -> None:
    reader = PageReader(max_series=2)
    reader.read(b"\n" * LINES_A_SERIES * 2)
    with pytest.raises(PageError, match=r"line 9: the page has 9 lines, more than 8"):
        reader.read(b"\n" * (LINES_A_SERIES * 2 + 1))
    with pytest.raises(PageError, match=r"line 2: the line has more than 65536 characters"):
        reader.read(b'a 1\nb{x="' + b"y" * LONGEST_LINE + b'"} 1\n')
    pairs = [f'l{number}="1"' for number in range(MAX_LABELS + 1)]
    assert len(read(f"a{{{','.join(pairs[1:])}}} 1\n").layout.series[0].labels) == MAX_LABELS
    with pytest.raises(PageError, match=r"line 1: more labels than the limit of 256"):
        read(f"a{{{','.join(pairs)}}} 1\n")


LARGE = 2 * 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"\n" * LARGE,
        b"a 1\n" * (LARGE // 4),
        b"a  1 5\n" * (LARGE // 7),
        b'a{b="' + b"\\n" * (LARGE // 2) + b'"} 1\n',
        b"# TYPE " + b"\\" * LARGE + b"\n",
        b"a{" + b",".join(b'l%d="1"' % number for number in range(LARGE // 12)) + b"} 1\n",
        b"".join(b'a{b="%d"} 1\n' % number for number in range(LARGE // 16)),
        b"a" + b" " * LARGE + b"1\n",
        b"a " + b"1" * LARGE + b"\n",
    ],
    ids=["blank", "twice", "slow and twice", "escapes", "type", "labels", "series", "blanks", "digits"],
)
def test_what_a_hostile_page_takes_is_bounded(body: bytes) -> None:
    """Under the limits that engines' pages have, whatever the page makes of them."""
    reader = PageReader(max_bytes=LARGE + 64, max_series=5_000)
    tracemalloc.start()
    try:
        outcome(reader, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * LARGE


def test_limits_on_bytes_and_series_hold_on_the_first_and_on_later_reads() -> None:
    reader = PageReader(max_bytes=40, max_series=2)
    reader.read(b"a 1\nb 1\n")
    with pytest.raises(PageError, match=r"line 3: more series than the limit of 2"):
        reader.read(b"a 1\nb 1\nc 1\n")
    with pytest.raises(PageError, match=r"line 1: the page has 44 bytes, more than the limit of 40"):
        reader.read(b"a 1\nb " + b"1" * 37 + b"\n")


PIECE = b"\n".join((CAPTURES[0].parent / "vllm-0.32.0.prom").read_bytes().split(b"\n")[-60:])
BYTES = st.one_of(
    st.just(b""), st.sampled_from([bytes([one]) for one in b'\n {}",=\\#_eN0.\r\t\xff\x00']), st.binary(max_size=2)
)
EDITS = st.one_of(
    st.tuples(st.integers(0, len(PIECE)), st.integers(0, 12), BYTES),
    BYTES.flatmap(lambda put: st.tuples(st.integers(0, len(PIECE)), st.just(len(put)), st.just(put))),  # same length
)


@given(st.lists(st.lists(EDITS, max_size=4), min_size=1, max_size=3))
@settings(max_examples=300)
def test_a_damaged_page_is_refused_or_read_as_a_fresh_reader_reads_it(
    damages: list[list[tuple[int, int, bytes]]],
) -> None:
    reader = PageReader()
    reader.read(PIECE)
    for edits in damages:
        body = PIECE
        for at, dropped, put in edits:
            body = body[:at] + put + body[at + dropped :]
        assert outcome(reader, body) == outcome(PageReader(), body)


WORDS = st.sampled_from([
    b"a", b"a_total", b"{", b"}", b'"', b"=", b",", b" ", b"\t", b"\n", b"#", b"# ", b"TYPE ", b"HELP ", b"EOF\n", b"1",
    b"-1.5e3", b"NaN", b"+Inf", b"\\", b"\\n", b'l="1"', b"gauge", b"histogram", b"\r", b"\xff", b"\xc3\xa9", b"\x00",
])  # fmt: skip
SOUP = st.one_of(st.binary(max_size=64), st.lists(WORDS, max_size=24).map(b"".join))


@given(st.lists(SOUP, min_size=1, max_size=4))
@settings(max_examples=500)
def test_any_bytes_are_refused_or_read_alike_by_a_reader_of_any_history(bodies: list[bytes]) -> None:
    reader = PageReader(max_bytes=1000, max_series=8)
    for body in bodies:
        assert outcome(reader, body) == outcome(PageReader(max_bytes=1000, max_series=8), body)


def outcome(reader: PageReader, body: bytes) -> dict[PageSample, str] | str:
    """What the reader makes of a body; anything but a page or a PageError ends the test."""
    try:
        return told(reader.read(body))
    except PageError as error:
        return str(error)
