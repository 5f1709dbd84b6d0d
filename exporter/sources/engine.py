"""An inference engine as a source: reads its metrics page, and says whether the engine can be worked with.

Imports exporter.sources.engine_page and below.

Status: accepted. Context: an engine's /health says 200 while its loop hangs, and a page that is gone, half, or not a
page must never look like an engine with nothing to do. Decision: `llm_engine_up` is 1 only when a whole page of a known
engine came within the deadline and the engine was neither asleep nor stalled. Stalled means: requests running or
waiting, and nothing of what grows with every step grew for `stall_after_seconds`, on any of its ranks. While the page
is away there are no other readings; the models and the kind of the target are remembered, so that its `llm_engine_up 0`
carries the labels it had, until a page of another kind comes from there. Consequences: one hung rank of several makes
the whole target count as not answering. An engine that hangs with nothing to do looks idle, and a request it lets hang
before it counts it as waiting shows nowhere: a probe sees both. One deadline holds for all paths that are tried.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporter.engines import Engine, Plan, Replica
from exporter.facts import EngineAt
from exporter.metrics import llm
from exporter.model import Collected, Family, Health, Reading, SeriesTable, labels_of
from exporter.page import Layout, Page
from exporter.sources.access import OPEN, Access
from exporter.sources.engine_page import AwayError, EnginePage

SIMULATED_GAUGE = "gpufleet_simulated"
"""A page on which this is 1 says that no real engine stands behind it."""

_IN_TIME = "no answer in time"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """What a rank had done when it was last seen to do something or to have nothing to do; whether it had something."""

    work: tuple[float, ...]
    since: float
    busy: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The pod that answers at an engine's URL, and its container where it is known; empty outside of Kubernetes."""

    namespace: str = ""
    pod: str = ""
    container: str = ""


NO_POD = Place()


class EngineSource:
    """One engine. `url` is its base URL, or the URL of its page where the path ends in /metrics.

    `gpus` names the GPUs it runs on, by UUID or by index; `place` is the pod it is known to be in; `access` says how
    to be let in. `configured` are engines that the settings describe, asked before the known ones. `clock` gives
    seconds that never go back. Raises InputError for a URL that cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        gpus: Sequence[str | int] = (),
        place: Place = NO_POD,
        access: Access = OPEN,
        configured: Sequence[Engine] = (),
        deadline_seconds: float = 2.0,
        stall_after_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._page = EnginePage(url, access=access, configured=configured)
        self.name = self._page.name
        self.url = url
        """As it was given."""
        self._node = node
        self._gpus = tuple(str(gpu) for gpu in gpus)
        self.place = place
        """The pod it is in."""
        self._deadline_seconds = deadline_seconds
        self._stall_after_seconds = stall_after_seconds
        self._clock = clock
        self._layout: Layout | None = None
        self._simulated_at: list[int] = []
        self._plan: Plan | None = None
        self._engine: Engine | None = None
        self._replica = self._replica_now(simulated=False)
        self._fact = EngineAt((), ())
        self._models: tuple[str, ...] = ()
        self._table = SeriesTable()
        self._progress: dict[str, _Progress] = {}
        self._last_reason = ""

    async def collect(self) -> Collected:
        """Fetch and read the page once."""
        started = time.perf_counter()
        readings: list[Reading] = []
        try:
            async with asyncio.timeout(self._deadline_seconds):
                engine, page = await self._page.read()
                plan = await self._plan_for(engine, page)
            readings = plan.readings(page.values)
            reason = detail = self._verdict(plan, page.values)
        except TimeoutError:
            reason, detail = _IN_TIME, f"nothing whole within {self._deadline_seconds:g} s"
        except AwayError as error:
            reason, detail = str(error), error.detail
        self._tell(reason, detail)
        readings += self._about(up=not reason)
        health = Health(self.name, not reason, time.perf_counter() - started, reason)
        return Collected(tuple(readings), health, (self._fact_now(),))

    async def close(self) -> None:
        """Close the connection."""
        await self._page.close()

    @property
    def kind(self) -> str:
        """The kind of engine that was last seen there; empty before the first page."""
        return self._engine.kind if self._engine is not None else ""

    @property
    def serves_openai(self) -> bool:
        """Whether an engine was seen there that serves the OpenAI API where its page is."""
        return self._engine is not None and self._engine.serves_openai

    async def _plan_for(self, engine: Engine, page: Page) -> Plan:
        """The plan of the page's layout, derived anew when the layout or what it says of itself has changed."""
        known = page.layout is self._layout
        at = self._simulated_at
        if not known:
            at = [at for at, one in enumerate(page.layout.series) if one.name == SIMULATED_GAUGE]
        simulated = any(page.values[each] == 1 for each in at)
        if self._plan is None or not known or simulated != self._replica.simulated:
            replica = self._replica_now(simulated=simulated)
            plan = await self._page.plan(engine, page.layout, replica)
            if engine is not self._engine:  # another server than before: nothing of the last one holds
                self._engine, self._models, self._progress = engine, (), {}
            self._replica, self._plan = replica, plan
            self._layout, self._simulated_at = page.layout, at
            self._models = plan.models or self._models
            self._table = SeriesTable()
        return self._plan

    def _verdict(self, plan: Plan, values: Sequence[float]) -> str:
        """Empty when the engine can work, else why not."""
        now = self._clock()
        stalled = ""
        for rank in plan.ranks:
            if rank.is_asleep(values):
                return "asleep"
            work = rank.work_done(values)
            progress = self._progress.get(rank.dp_rank)
            wanted = "running" if rank.is_running(values) else "waiting" if rank.is_waiting(values) else ""
            if progress is None or not work or work != progress.work or not wanted or not progress.busy:
                self._progress[rank.dp_rank] = _Progress(work, now, bool(wanted))
            elif now - progress.since >= self._stall_after_seconds:
                stalled = f"stalled: requests {wanted}, no token for {self._stall_after_seconds:g} s"
        return stalled

    def _about(self, *, up: bool) -> list[Reading]:
        """What is said of the target whether its page is there or not."""
        return [self._reading(llm.ENGINE_UP, 1.0 if up else 0.0, model_name=one) for one in self._models or ("",)]

    def _fact_now(self) -> EngineAt:
        """The engine by its labels, for exporter.attribution to find its GPUs."""
        labels = labels_of(self._replica.labels(self.kind))
        if self._fact.labels != labels:
            self._fact = EngineAt(labels, self._gpus)
        return self._fact

    def _reading(self, family: Family, value: float, **labels: str) -> Reading:
        return Reading(self._table.get(family, {**self._replica.labels(self.kind), **labels}), value)

    def _replica_now(self, *, simulated: bool) -> Replica:
        place = self.place
        return Replica(self._page.target, self._node, simulated, place.namespace, place.pod, place.container)

    def _tell(self, reason: str, detail: str) -> None:
        """One log line for each change."""
        if reason == self._last_reason:
            return
        self._last_reason = reason
        if reason:
            _log.warning("%s: %s%s", self.name, reason, f" ({detail})" if detail not in ("", reason) else "")
        else:
            _log.info("%s: answers", self.name)
