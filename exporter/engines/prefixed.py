"""What the engines' files have in common whose names all begin alike: how such a page is recognised and opened.

Imports exporter.engines.finder and below. An engine whose page needs more before its figures are found has a `plan` of
its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import Finder, Found, index, named, plain
from exporter.metrics import llm
from exporter.page import Layout


@dataclass(frozen=True, slots=True)
class Opened:
    """A page being planned. `only_model` are the labels of what counts for the whole server."""

    page: Mapping[str, Found]
    models: tuple[str, ...]
    builder: PlanBuilder
    finder: Finder

    @property
    def only_model(self) -> dict[str, str]:
        """The model's label where the server has one model alone; else none."""
        return {llm.MODEL_NAME_LABEL: self.models[0]} if len(self.models) == 1 else {}


class PrefixedEngine(ABC):
    """An engine by how its names begin. `model` is the label that names the model, `rank` the data-parallel rank's."""

    kind: ClassVar[str]
    prefix: ClassVar[str]
    serves_openai: ClassVar[bool] = True
    model: ClassVar[str] = "model_name"
    rank: ClassVar[str] = ""
    nameless: ClassVar[tuple[str, ...]] = ()
    """What the label says where the model has no name."""

    def recognises(self, layout: Layout) -> bool:
        """A page with the engine's names; where nothing was served yet, they may only be declared."""
        names = (*layout.types, *(one.name for one in layout.series))
        return any(name.startswith(self.prefix) for name in names)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, self.model, unknown=self.nameless)
        builder = PlanBuilder(self.kind, replica, models)
        finder = Finder(page, builder, plain(self.model, rank=self.rank, unknown=self.nameless))
        self.find(Opened(page, models, builder, finder))
        return builder.build(len(layout.series))

    @abstractmethod
    def find(self, opened: Opened) -> None:
        """Find the figures and the ranks."""
