"""Selectors of SLO files, by label, as matchers with Prometheus' meaning. Notation: slo.spec.native.

Imports slo.model and the tree. A regular expression is taken only where Python and RE2 read it alike: people try it in
the one, the service and Prometheus match with the other.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

import promql_parser
import re2
from msgspec import UNSET

from exporter.decode import MISSING, Problems, decode
from exporter.yaml_lines import Node
from slo.model import Matcher, compiled
from slo.spec import native

ByLabel = Mapping[str, tuple[Matcher, ...]]

_OWN = frozenset({"le", "code", "__name__"})
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = re.compile(r"\\(.)", re.DOTALL)
_ATOMS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""Escapes and character classes: one character each to what stands around them."""
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


def read(node: Node, problems: Problems) -> ByLabel:
    """The matchers of a selector, by label; faults go to `problems`."""
    given = decode(native.Selector, node, problems, "selector")
    if given is MISSING:
        return {}
    found: dict[str, tuple[Matcher, ...]] = {}
    for label, value in given.items():
        entry = (node.mapping or {})[label]
        if label in _OWN:
            problems.add(entry.line, f"selector: label {label!r} is set by the signal itself: remove it")
        elif not _LABEL_NAME.fullmatch(label) or label.startswith("__"):
            problems.add(entry.line, f"selector: {label!r} is not a label name")
        elif isinstance(value, native.Match):
            found[label] = _match(label, value, entry.node, problems)
        else:
            found[label] = _equal(label, value, entry.node, problems)
    return found


def _match(label: str, value: native.Match, node: Node, problems: Problems) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    if value.regex is not UNSET:
        found += _regex(label, value.regex, node.at("regex"), problems)
    if isinstance(value.not_, native.Regex):
        found += _regex(label, value.not_.regex, node.at("not", "regex"), problems, "!")
    elif value.not_ is not UNSET:
        found += _equal(label, value.not_, node.at("not"), problems, "!")
    if not node.mapping:
        problems.add(node.line, f"selector: {label} says nothing: write a value, a list, {{regex: …}} or {{not: …}}")
    return tuple(found)


def _equal(
    label: str, value: native.Written | list[native.Written], node: Node, problems: Problems, sign: str = ""
) -> tuple[Matcher, ...]:
    if not isinstance(value, list):
        return (Matcher(label, sign + "=", str(value)),)
    if not value:
        problems.add(node.line, f"selector: the list of {label} is empty: write at least one value")
        return ()
    if len(value) == 1:
        return (Matcher(label, sign + "=", str(value[0])),)
    # Only what both languages give a meaning to is escaped, so that rules stay readable.
    either = "|".join(_META.sub(r"\\\g<0>", str(one)) for one in value)
    return (Matcher(label, (sign or "=") + "~", either),)


def _regex(label: str, text: str, node: Node, problems: Problems, sign: str = "=") -> tuple[Matcher, ...]:
    matcher = Matcher(label, sign + "~", text)
    wrong = regex_fault(text)
    if wrong:
        problems.add(node.line, f"selector: {label}: regular expression {text!r} {wrong}")
    return (matcher,)


def regex_fault(text: str) -> str:
    """Why a regular expression cannot be used, "" where Python and RE2 read it alike."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what a later Python will read otherwise
            re.compile(text)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        return f"is not valid: {error}"
    try:
        # The parser's engine knows no look-around, no back references and no atomic groups, as RE2 knows none.
        promql_parser.parse("up{" + str(Matcher("label", "=~", text)) + "}")
    except ValueError:
        return "is not known to RE2: leave out look-around, back references and the like"
    # What Python and the parser's engine read in their own ways, and RE2 not at all.
    bare = _ATOMS.sub("x", text)
    if (
        re.search(r"[*+?}]\+|\{,\d", bare)
        or re.search(r"\(\?[a-z]*[^ims:P)]", bare)
        or set(_ESCAPES.findall(text)) & {"u", "U"}
    ):
        return "is not known to RE2: leave out possessive repeats, {,n}, \\u and flags other than i, m and s"
    repeats = re.findall(r"\{(\d+)(?:,(\d*))?\}", bare)
    if any(int(count or 0) > 1000 for pair in repeats for count in pair):
        return "repeats more than 1000 times, which RE2 refuses: repeat less"
    try:
        compiled(text)
    except re2.error as error:
        return f"is not known to RE2: {bytes(error.args[0]).decode(errors='replace')}"
    return ""
