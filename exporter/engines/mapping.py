"""Any other server, described in the agent's settings: which of its names mean which family, checked at start.

Imports exporter.engines.base and below. A mapping says by which names a page is recognised, which label names the
model, and for each family which of the page's metrics it is, in which unit, where which labels have which values.

Status: accepted. Context: servers and gateways that nobody here has a page of. Decision: the same means as the engines'
own files have (exporter.engines.finder), and no more: no arithmetic, no regular expressions. Consequences: what the
page has not is absent; whether a metric means what its family means, the writer of the mapping answers for. No figure
is taken as a sign of work, so a stall of such a server is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import HTTP_CLASSES, Finder, Own, http_class, index, named
from exporter.metrics import llm
from exporter.model import Family, MetricType
from exporter.page import Layout

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        llm.TIME_TO_FIRST_TOKEN,
        llm.TIME_PER_OUTPUT_TOKEN,
        llm.INTER_TOKEN_LATENCY,
        llm.REQUEST_DURATION,
        llm.QUEUE_TIME,
        llm.PREFILL_TIME,
        llm.DECODE_TIME,
        llm.REQUESTS_RUNNING,
        llm.REQUESTS_WAITING,
        llm.KV_CACHE_USAGE,
        llm.REQUESTS,
        llm.HTTP_REQUESTS,
        llm.TOKENS,
        llm.CACHED_TOKENS,
        llm.PREFIX_CACHE_QUERIES,
        llm.PREFIX_CACHE_HITS,
        llm.PREEMPTIONS,
        llm.REJECTIONS,
        llm.SPEC_DECODE_DRAFT_TOKENS,
        llm.SPEC_DECODE_ACCEPTED_TOKENS,
    )
}
"""What can be mapped. Whether an engine is up is not mapped, it is seen."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "outcome": ("stop", "length", "abort", "error", "other"),
    "code": HTTP_CLASSES,
    "direction": ("input", "output"),
}
"""Labels with a fixed set of values."""
_PER = {"s": 1, "ms": 1000, "us": 1_000_000}
_COPIED = ("code", "reason", "dp_rank")
_ENGINE = re.compile(r"[a-z][a-z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class FamilyMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric of the page that is a family, or a part of it: parts of one series are summed.

    `metric` is the name on the page, a histogram's without `_bucket`. `where`: the page's labels and the values that
    count. `labels`: fixed labels of ours. `copy`: ours from theirs; a `code` copied becomes its class.
    """

    family: str
    metric: str
    unit: Literal["s", "ms", "us"] = "s"
    where: dict[str, str | tuple[str, ...]] = {}
    labels: dict[str, str] = {}
    copy: dict[str, str] = {}


class EngineMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A server. `engine` becomes the label; `recognise` are names that its page has, all of them."""

    engine: str
    recognise: tuple[str, ...]
    model: str = ""
    families: tuple[FamilyMapping, ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """An engine by its mapping."""

    mapping: EngineMapping
    serves_openai: bool = False  # nobody says what it serves

    @property
    def kind(self) -> str:
        """The name that the settings give it."""
        return self.mapping.engine

    def recognises(self, layout: Layout) -> bool:
        """A page that has or declares all the names."""
        return {*layout.types, *(one.name for one in layout.series)}.issuperset(self.mapping.recognise)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the mapping has a family for."""
        page = index(layout)
        model = self.mapping.model
        builder = PlanBuilder(self.kind, replica, named(page, model) if model else ())
        for one in self.mapping.families:
            finder = Finder(page, builder, _own(one, model))
            family = FAMILIES[one.family]
            where = {label: (want,) if isinstance(want, str) else want for label, want in one.where.items()}
            if family.type is MetricType.HISTOGRAM:
                finder.histogram(family, one.metric, per=_PER[one.unit], where=where)
            else:
                finder.value(family, one.metric, where=where)
        return builder.build(len(layout.series))


def engines_of(mappings: Sequence[EngineMapping]) -> tuple[Mapped, ...]:
    """The engines that the settings describe. The mappings must be without problems."""
    return tuple(Mapped(one) for one in mappings)


def problems(mappings: Sequence[EngineMapping], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(where, as in `.mappings[0].engine`; what is wrong and what to do). `known`: engines that need no mapping."""
    seen = set(known)
    for place, one in enumerate(mappings):
        where = f".mappings[{place}]"
        if not _ENGINE.fullmatch(one.engine):
            yield f"{where}.engine", f"`{one.engine}` is no name for an engine; write small letters, digits and _"
        elif one.engine in seen:
            yield f"{where}.engine", f"engine `{one.engine}` is known already; choose another name"
        seen.add(one.engine)
        if not one.recognise:
            yield f"{where}.recognise", "a mapping without names would take every page; name a metric of the page"
        for number, name in enumerate(one.recognise):
            if not _METRIC.fullmatch(name):
                yield f"{where}.recognise[{number}]", f"`{name}` is not a metric's name"
        if not one.families:
            yield f"{where}.families", "a mapping without families gives nothing; map one"
        for number, each in enumerate(one.families):
            for key, problem in _of_family(each):
                yield f"{where}.families[{number}].{key}", problem


def _of_family(one: FamilyMapping) -> Iterator[tuple[str, str]]:
    family = FAMILIES.get(one.family)
    if family is None:
        yield "family", f"`{one.family}` cannot be mapped; known families: {', '.join(FAMILIES)}"
        return
    if not _METRIC.fullmatch(one.metric):
        yield "metric", f"`{one.metric}` is not a metric's name; write it as the page has it"
    if family.type is MetricType.HISTOGRAM and one.metric.endswith(("_bucket", "_count", "_sum")):
        yield "metric", f"{one.family} is a histogram; name `{one.metric}` without its ending"
    if family.type is not MetricType.HISTOGRAM and one.unit != "s":
        yield "unit", f"{one.family} has no unit; leave it out"
    for label, value in one.labels.items():
        allowed = _WORDS.get(label)
        if label not in family.labels or label not in (*_WORDS, *_COPIED):
            yield f"labels.{label}", f"{one.family} has no label `{label}` to set"
        elif allowed is not None and value not in allowed:
            yield f"labels.{label}", f"`{value}` is not a value of `{label}`; write one of {', '.join(allowed)}"
    for label in one.copy:
        if label not in family.labels or label not in _COPIED:
            yield f"copy.{label}", f"`{label}` cannot be copied to {one.family}; set it in `labels` instead"
    for label in ("outcome", "code", "direction", "reason"):
        if label in family.labels and label not in one.labels and label not in one.copy:
            yield "family", f"{one.family} needs a `{label}`; set it in `labels`"


def _own(one: FamilyMapping, model: str) -> Own:
    """The labels of ours for a series of the page; None where it does not count."""

    def own(labels: Mapping[str, str]) -> dict[str, str] | None:
        found = {**one.labels, **{ours: labels.get(theirs, "") for ours, theirs in one.copy.items()}}
        if "code" in one.copy:
            found["code"] = http_class(found["code"])
            if not found["code"]:
                return None
        return {llm.MODEL_NAME_LABEL: labels.get(model, "") if model else "", **found}

    return own
