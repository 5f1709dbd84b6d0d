"""The grammar of one line of a metrics page: Prometheus text 0.0.4 and OpenMetrics 1.0, both read by one set of rules.

Imports exporter.model alone. `exporter/page.py` calls this for lines it has not met yet, so clarity goes before speed.

Where the two formats or their readers differ, this follows Prometheus' own 0.0.4 lexer: blanks are spaces and tabs, in
any number; only a newline ends a line, so a carriage return is an error; an unknown escape in a label value stays as it
is; a label with an empty value is no label; a label named twice is an error. Timestamps and exemplars are checked and
left out. Quoted names (Prometheus 3) are read. A composite value, `{count:3,sum:4.5,schema:0,…}` as native histograms
have it in OpenMetrics, is no number: such a line is passed over, and makes no series. Other values are decimal, or Inf
or NaN in any case; no digits' underscores, no hexadecimal, nothing beyond 1.8e308.
"""

from __future__ import annotations

import re
from math import isinf
from typing import NamedTuple

from exporter.model import Labels, labels_of

TYPES = frozenset(
    {"counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "stateset", "gaugehistogram"}
)
"""What a TYPE line may say, in either format."""

_NUMBER = (
    r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])"
)
NUMBER = re.compile(_NUMBER, re.ASCII)
"""One value, in full."""
MAX_LABELS = 256
"""Labels that one series may have; vLLM's widest has some forty."""
_BLANKS = re.compile(r"[ \t]*")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_TAIL = re.compile(r"[ \t]*([^ \t#]+)(?:[ \t]+([^ \t#]+))?[ \t]*(#.*)?", re.DOTALL)
_ESCAPE = re.compile(r'\\([\\"n])')
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}
_TYPE = re.compile(r'#[ \t]+TYPE[ \t]+("[^"\\]*(?:\\.[^"\\]*)*"|[^ \t]+)[ \t]*(.*)', re.DOTALL)


_COMPOSITE = re.compile(r"[ \t]*\{[ \t]*[a-z_]+[ \t]*:[^{}\"]*\}(?:[ \t]+[^ \t#\"]+)*[ \t]*(?:#.*)?", re.DOTALL)
"""A composite value and whatever follows it: timestamps, exemplars. No label begins like it, since none has a colon."""


class GrammarError(ValueError):
    """The line is not of the grammar; the message has no line number."""


class PageSample(NamedTuple):
    """The identity of one line of a page: the sample's name and its labels, sorted, without empty ones."""

    name: str
    labels: Labels


class ParsedLine(NamedTuple):
    """One sample line. Name and labels end at `end`; it is `plain` when only one space and the value follow."""

    sample: PageSample
    value: float
    end: int
    plain: bool


def parse_number(text: str) -> float:
    """A value's text as a float."""
    if NUMBER.fullmatch(text) is None:
        raise GrammarError(f"{_short(text)} is not a number")
    number = float(text)
    if isinf(number) and "n" not in text.lower():
        raise GrammarError(f"{_short(text)} is beyond what a number can be")
    return number


def parse_sample(line: str) -> ParsedLine | None:
    """Name, labels and value of a sample line; None where the value is a composite one.

    Timestamp and exemplar are checked and left out.
    """
    at = _skip(line, 0)
    name = ""
    match = _NAME.match(line, at)
    if match is not None:
        name, at = match.group(), match.end()
    labels: Labels = ()
    opening = _skip(line, at)
    if name and _COMPOSITE.fullmatch(line, at):
        return None
    if line[opening : opening + 1] == "{":
        name, labels, at = _labels(line, opening + 1, name)
    if not name:
        raise GrammarError(f"{_short(line)} is not a sample: it does not begin with a metric name")
    if _COMPOSITE.fullmatch(line, at):
        return None
    tail = _TAIL.fullmatch(line, at)
    if tail is None:
        raise GrammarError(f"{_short(name)} has no value")
    value_text, timestamp, exemplar = tail.groups()
    value = parse_number(value_text)
    if timestamp is not None and NUMBER.fullmatch(timestamp) is None:
        raise GrammarError(f"{_short(timestamp)} is not a timestamp")
    if exemplar is not None:
        _exemplar(exemplar)
    return ParsedLine(PageSample(name, labels), value, at, line[at:] == " " + value_text)


def parse_type(line: str) -> tuple[str, str] | None:
    """(family, type) of a TYPE line, None for any other comment."""
    match = _TYPE.fullmatch(line.strip(" \t"))
    if match is None:
        return None
    name, kind = match.group(1), match.group(2).strip(" \t")
    if name.startswith('"'):
        name = _unescape(name[1:-1])
    if kind not in TYPES:
        raise GrammarError(f"{_short(kind)} is not a metric type")
    return name, kind


def _labels(line: str, at: int, name: str) -> tuple[str, Labels, int]:
    """The label pairs from behind the opening brace; a quoted string alone is the metric's name."""
    pairs: dict[str, str] = {}
    while True:
        at = _skip(line, at)
        if line[at : at + 1] == "}":
            return name, labels_of(pairs), at + 1
        quoted = _QUOTED.match(line, at)
        plain = _NAME.match(line, at) if quoted is None else None
        if quoted is not None:
            label, at = _unescape(quoted.group(1)), _skip(line, quoted.end())
        elif plain is not None and ":" not in plain.group():
            label, at = plain.group(), _skip(line, plain.end())
        else:
            raise GrammarError(f"{_short(line[at:])} where a label name or a closing brace should stand")
        if line[at : at + 1] == "=":
            value = _QUOTED.match(line, _skip(line, at + 1))
            if value is None:
                raise GrammarError(f"label {_short(label)} has no quoted value")
            _keep(pairs, label, _unescape(value.group(1)))
            at = _skip(line, value.end())
        elif quoted is not None and not name and not pairs:
            name = label
        else:
            raise GrammarError(f"label {_short(label)} has no value")
        if line[at : at + 1] == ",":
            at += 1
        elif line[at : at + 1] != "}":
            raise GrammarError(f"{_short(line[at:])} where a comma or a closing brace should stand")


def _keep(pairs: dict[str, str], label: str, value: str) -> None:
    """Add one label to those of a series."""
    if label in pairs:
        raise GrammarError(f"label {_short(label)} stands twice")
    if len(pairs) == MAX_LABELS:
        raise GrammarError(f"more labels than the limit of {MAX_LABELS}")
    pairs[label] = value


def _exemplar(text: str) -> None:
    """Check `# {labels} value [timestamp]`."""
    opening = _skip(text, 1)
    if text[opening : opening + 1] != "{":
        raise GrammarError(f"{_short(text)} is not an exemplar")
    name, _, at = _labels(text, opening + 1, "")
    tail = _TAIL.fullmatch(text, at)
    if name or tail is None or tail.group(3) is not None:
        raise GrammarError(f"{_short(text)} is not an exemplar")
    for number in tail.groups()[:2]:
        if number is not None:
            parse_number(number)


def _skip(line: str, at: int) -> int:
    match = _BLANKS.match(line, at)
    assert match is not None  # the pattern matches nothing, too
    return match.end()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED[match.group(1)], text) if "\\" in text else text


def _short(text: str) -> str:
    """The text as an error message shows it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
