"""Finds a family's series on a page by the names that an engine gives them. What most engines' files are made of.

Imports exporter.engines.base and below. Bucket edges are written as one number is written everywhere ("1" becomes
"1.0"), and edges in another unit are divided as decimals, so that 100 ms is exactly 0.1 s.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from exporter.engines.base import PlanBuilder, Rank
from exporter.metrics import llm
from exporter.model import Family
from exporter.page import Layout

Found: TypeAlias = list[tuple[int, dict[str, str]]]
"""[(index into the page's values, labels)]."""

Own: TypeAlias = Callable[[Mapping[str, str]], dict[str, str] | None]
"""From a page series' labels to the catalogue's; None where the series does not count."""

Where: TypeAlias = Mapping[str, Iterable[str]]
"""The page's label → the values that count."""

HTTP_CLASSES = ("2xx", "3xx", "4xx", "5xx")

_PREFILLS = {"dynamo_component": "prefill", "worker_type": "prefill"}
"""Labels by which a page under Dynamo says that its engine only prefills."""

_INFERENCE = (
    "/v1/", "/v2/", "/generate", "/api/", "/encode", "/inference", "/invocations", "/pooling", "/classify", "/score",
    "/rerank",
)  # fmt: skip
_OTHER = ("/v1/models", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/loads", "/v1/metrics", "/v1/health")


def is_inference(path: str) -> bool:
    """Whether requests to this path ask for inference, by what OpenAI-compatible servers have in common."""
    return path.startswith(_INFERENCE) and not path.startswith(_OTHER)


def index(layout: Layout) -> dict[str, Found]:
    """Sample name → where it is, for every sample of the page."""
    page: dict[str, Found] = {}
    for at, one in enumerate(layout.series):
        page.setdefault(one.name, []).append((at, dict(one.labels)))
    return page


def named(page: Mapping[str, Found], label: str, *, unknown: Iterable[str] = ()) -> tuple[str, ...]:
    """The models that the page names by `label`, sorted; `unknown` are words that stand for no name."""
    names = {labels.get(label, "") for found in page.values() for _, labels in found}
    return tuple(sorted(names.difference(unknown, ("",))))


def only_prefills(page: Mapping[str, Found], prefix: str) -> bool:
    """Whether the page says, on series that begin with `prefix`, that the answer is made by another engine."""
    return any(
        labels.get(label) == value
        for name, found in page.items()
        if name.startswith(prefix)
        for _, labels in found
        for label, value in _PREFILLS.items()
    )


def edge(text: str, per: int = 1) -> str:
    """A bucket's upper edge as the catalogue writes it, `per` of the page's units making a second."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return repr(float(number / per)) if number.is_finite() else "+Inf"


class Finder:
    """Adds what it finds on one page to a builder. `own` names the replica's part that a page series belongs to."""

    def __init__(self, page: Mapping[str, Found], builder: PlanBuilder, own: Own) -> None:
        self.page = page
        self._builder = builder
        self._own = own

    def histogram(
        self,
        family: Family,
        *names: str,
        per: int = 1,
        where: Where | None = None,
        longest_seconds: float = math.inf,
    ) -> None:
        """Buckets, count and sum under the first of `names` that the page has, newest first.

        Where an observation is beyond the first edge that is not below `longest_seconds`, the sum is left out.
        """
        name = next((name for name in names if name + "_bucket" in self.page or name + "_count" in self.page), "")
        for suffix in ("_bucket", "_count", "_sum"):
            for at, labels, own in self._counting(name + suffix, where):
                if suffix == "_bucket":
                    if "le" not in labels:
                        continue
                    own["le"] = edge(labels["le"], per)
                self._builder.add(at, family, own, suffix, per if suffix == "_sum" else 1)
        if longest_seconds < math.inf:
            self._doubt(family, name, per, where, longest_seconds)

    def _doubt(self, family: Family, name: str, per: int, where: Where | None, longest_seconds: float) -> None:
        """The sums of a histogram stand as long as no observation was beyond belief."""
        edges: dict[tuple[tuple[str, str], ...], dict[float, int]] = {}
        owns: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        for at, labels, own in self._counting(name + "_bucket", where):
            which = tuple(sorted((label, value) for label, value in labels.items() if label != "le"))
            owns[which] = own
            with contextlib.suppress(ValueError):  # an edge that is no number takes no part
                edges.setdefault(which, {})[float(edge(labels.get("le", ""), per))] = at
        for which, found in edges.items():
            believed = min((one for one in found if one >= longest_seconds), default=math.inf)
            if math.inf in found:
                self._builder.add_doubt(family, owns[which], "_sum", found[math.inf], found[believed])

    def value(
        self,
        family: Family,
        *names: str,
        fixed: Mapping[str, str] | None = None,
        where: Where | None = None,
        per: int = 1,
    ) -> None:
        """A counter or a gauge under the first of `names` that the page has, with the labels `fixed` added."""
        name = next((name for name in names if name in self.page), "")
        for at, _, own in self._counting(name, where):
            self._builder.add(at, family, own | dict(fixed or {}), per=per)

    def by(self, family: Family, name: str, ours: str, word: Callable[[str], str], theirs: str) -> None:
        """A counter that is told apart by the page's label `theirs`: `word` gives our word for it, "" to leave out."""
        for at, labels, own in self._counting(name, None):
            ours_is = word(labels.get(theirs, ""))
            if ours_is:
                self._builder.add(at, family, own | {ours: ours_is})

    def failure(self, name: str, where: Where | None = None) -> None:
        """A counter of requests that failed, whatever HTTP counters say of them."""
        for at, _, own in self._counting(name, where):
            self._builder.add_failure(at, own.get(llm.MODEL_NAME_LABEL, ""))

    def start_time(self, labels: Mapping[str, str]) -> None:
        """When the process started, where the page tells for one process."""
        found = self.page.get("process_start_time_seconds", [])
        if len(found) == 1:
            self._builder.add(found[0][0], llm.ENGINE_START_TIME, labels)

    def _counting(self, name: str, where: Where | None) -> Iterable[tuple[int, dict[str, str], dict[str, str]]]:
        for at, labels in self.page.get(name, ()):
            if any(labels.get(label, "") not in values for label, values in (where or {}).items()):
                continue
            own = self._own(labels)
            if own is not None:
                yield at, labels, own


Who: TypeAlias = Callable[[Mapping[str, str]], str]
"""From a page series' labels to the rank it tells of."""


def ranks(
    page: Mapping[str, Found],
    *,
    running: str,
    waiting: Sequence[str] = (),
    work: Sequence[str] = (),
    awake: tuple[str, Where] = ("", {}),
    who: Who = lambda labels: "",
) -> list[Rank]:
    """Where each rank shows that it runs, that requests wait for it, that it works and is awake; each by its names."""

    def at(names: Iterable[str], rank: str, where: Where | None = None) -> tuple[int, ...]:
        return tuple(
            at
            for name in names
            for at, labels in page.get(name, ())
            if who(labels) == rank and all(labels.get(label, "") in values for label, values in (where or {}).items())
        )

    return [
        Rank(rank, at([running], rank), at(waiting, rank), at(work, rank), at([awake[0]], rank, awake[1]))
        for rank in dict.fromkeys(who(labels) for _, labels in page.get(running, ()))
    ]


def by_label(label: str) -> Who:
    """Ranks that are told apart by one label."""
    return lambda labels: labels.get(label, "")


def http_class(status: str) -> str:
    """From "503" or "5xx" to "5xx"; empty for what is no status of an answer."""
    found = status[:1] + "xx"
    return found if found in HTTP_CLASSES else ""


def plain(label: str = "model_name", *, rank: str = "", unknown: Iterable[str] = ()) -> Own:
    """The usual `own`: the model by `label`, the data-parallel rank by `rank`."""
    nameless = frozenset(unknown)

    def own(labels: Mapping[str, str]) -> dict[str, str] | None:
        model = labels.get(label, "")
        found = {llm.MODEL_NAME_LABEL: "" if model in nameless else model}
        return found | {"dp_rank": labels.get(rank, "")} if rank else found

    return own
