"""Probes of engines that were found: one beside each engine that serves the OpenAI API where its page is.

Imports exporter.sources.{engine,probe}.

Status: accepted. Context: what serves on an address is known from its page alone; some pages (Triton's, a Ray node's)
have an address of their own, at which a probe would fail for ever. Decision: an engine is probed from when its page was
first seen and said that it serves the API there, until the finder lets go of it; its kind may change meanwhile.
Consequences: an engine that never had a page is down by `llm_engine_up`, not by a probe. One probe stands for each
engine, so that never more than one is in flight a target; it starts when it is first collected, since of two sources of
one name the collector takes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from exporter.model import InputError, Source
from exporter.sources.engine import EngineSource
from exporter.sources.probe import ProbeSource

Make = Callable[[EngineSource], ProbeSource | None]

_log = logging.getLogger(__name__)


class Probing:
    """The probes of one finder. `make` builds that of one engine; None where that one is not to be probed."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._probes: dict[EngineSource, ProbeSource | None] = {}

    @property
    def found(self) -> Sequence[Source]:
        """The probes."""
        return tuple(probe for probe in self._probes.values() if probe is not None)

    def follow(self, engines: Iterable[EngineSource]) -> None:
        """These engines exist now, and no others."""
        known = self._probes
        self._probes = {one: known[one] if one in known else self._made(one) for one in engines if one.serves_openai}

    def _made(self, engine: EngineSource) -> ProbeSource | None:
        try:
            return self._make(engine)
        except InputError as error:
            _log.warning("%s: not probed: %s", engine.name, error)
            return None


def nothing(_engine: EngineSource) -> ProbeSource | None:
    """The `make` that probes nothing."""
    return None
