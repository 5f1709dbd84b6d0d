"""Engines against what is usual for each, GPUs against their peers, switches: facts from pages."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exporter.metrics import gpu, health, llm
from exporter.model import labels_of
from exporter.page import PageSample
from slo.fact_watch import FAMILIES, FactWatch
from slo.facts import (
    HARDWARE,
    KV_CACHE,
    LOAD,
    PREEMPTIONS,
    PROMPTS,
    QUEUE,
    RESTART,
    SLOWER,
    SXID,
    VERSION,
    Fact,
    category_of,
)
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.observed import Scrape, Slice

START = 1_000_000_200.0  # on five minutes
SAID = {"target": "e:1", "model_name": "m", "node": "n1", "namespace": "ns", "pod": "p"}


class Engine:
    """One engine that serves 60 requests a minute of 500 tokens, until a test says otherwise."""

    def __init__(self, **labels: str) -> None:
        self.labels = SAID | labels
        self.version = "1.0"
        self.requests = self.tokens = self.preemptions = 0.0
        self.waiting, self.cache, self.started = 0.0, 0.4, 5.0

    def serve(self, requests: float = 60, tokens: float = 500, preemptions: float = 0) -> None:
        self.requests += requests
        self.tokens += requests * tokens
        self.preemptions += preemptions

    def rows(self) -> list[Any]:
        said = self.labels
        return [
            (llm.ENGINE_UP, said, 1.0),
            (llm.ENGINE_INFO, {**said, "version": self.version}, 1.0),
            (llm.ENGINE_START_TIME, said, self.started),
            (llm.REQUESTS, {**said, "outcome": "stop"}, self.requests),
            (llm.REQUESTS, {**said, "outcome": "error"}, 0.0),
            (llm.REQUESTS_RUNNING, said, 5.0),
            (llm.REQUESTS_WAITING, said, self.waiting),
            (llm.KV_CACHE_USAGE, {**said, "dp_rank": "0"}, self.cache),
            (llm.KV_CACHE_USAGE, {**said, "dp_rank": "1"}, self.cache),
            (llm.TOKENS, {**said, "direction": "input"}, self.tokens),
            (llm.TOKENS, {**said, "direction": "output"}, 9.0),
            (llm.PREEMPTIONS, said, self.preemptions),
        ]


class Pages:
    """One agent whose pages are fed to one watch."""

    def __init__(self) -> None:
        self.watch, self.minute, self.layouts = FactWatch(), 0, {}

    def feed(self, *rows: Any, source: str = "a") -> list[Fact]:
        series = tuple(PageSample(family.name, labels_of(labels)) for family, labels, _ in rows)
        series = self.layouts.setdefault(series, series)
        values = [value for *_, value in rows]
        return self.watch.feed(Scrape(source, START + 60.0 * self.minute, series, values, series))

    def minutes(self, engine: Engine, count: int, **more: Any) -> list[Fact]:
        """So many minutes of serving; what was told."""
        told = []
        for _ in range(count):
            engine.serve(**more)
            told += self.feed(*engine.rows())
            self.minute += 1
        return told


@pytest.fixture
def used() -> tuple[Pages, Engine]:
    """An engine with an hour of the usual behind it."""
    pages, engine = Pages(), Engine()
    assert {fact.kind for fact in pages.minutes(engine, 60)} == {"replica"}
    return pages, engine


@pytest.mark.parametrize(
    ("kind", "more", "state", "words"),
    [
        (LOAD, {"requests": 120}, {}, "e:1: 2 requests/s, usually 1"),
        (PROMPTS, {"tokens": 1000}, {}, "e:1: prompts of 1000 tokens, usually 500"),
        (PREEMPTIONS, {"preemptions": 10}, {}, "e:1: 10 preemptions in 60 s, usually 0"),
        (QUEUE, {}, {"waiting": 12.0}, "e:1: 12 requests waiting, usually 0"),
        (KV_CACHE, {}, {"cache": 0.96}, "e:1: KV cache 96% full, usually 40%"),
    ],
)
def test_what_is_out_of_the_ordinary_is_told_once_in_five_minutes(
    used: tuple[Pages, Engine], kind: str, more: dict[str, float], state: dict[str, float], words: str
) -> None:
    pages, engine = used
    vars(engine).update(state)
    told = [fact for fact in pages.minutes(engine, 10, **more) if fact.kind == kind]
    assert [fact.time - START for fact in told] == [3600.0, 3900.0]
    assert told[-1].text.startswith(words) or kind == LOAD  # the first arrivals of a queue count as load
    assert told[-1].labels["target"] == "e:1"
    assert category_of(kind) == "engine"


def test_nothing_is_usual_before_half_an_hour_was_seen() -> None:
    pages, engine = Pages(), Engine()
    pages.minutes(engine, 20)
    assert pages.minutes(engine, 9, requests=300) == []


def test_a_full_engine_finishes_no_more_yet_its_load_is_seen_by_what_waits(used: tuple[Pages, Engine]) -> None:
    pages, engine = used
    told = []
    for _ in range(5):
        engine.waiting += 60
        told += pages.minutes(engine, 1)
    assert LOAD in {fact.kind for fact in told}


def test_a_long_lasting_state_becomes_the_usual_one(used: tuple[Pages, Engine]) -> None:
    pages, engine = used
    first = pages.minutes(engine, 60, requests=120)
    later = [pages.minutes(engine, 60, requests=120) for _ in range(5)][-1]
    assert (any(f.kind == LOAD for f in first), any(f.kind == LOAD for f in later)) == (True, False)


def test_a_new_process_is_a_restart_by_its_start_or_by_its_counters(used: tuple[Pages, Engine]) -> None:
    pages, engine = used
    engine.started += 100
    engine.requests = engine.tokens = 0.0
    [told] = pages.minutes(engine, 1)
    assert (told.kind, told.labels["how"]) == (RESTART, "started")
    engine.started = float("nan")
    pages.minutes(engine, 5)
    engine.requests = engine.tokens = 0.0
    [again] = pages.minutes(engine, 1)
    assert (again.kind, again.labels["how"]) == (RESTART, "counters")


def test_another_version_or_model_is_told_with_the_one_before(used: tuple[Pages, Engine]) -> None:
    pages, engine = used
    engine.version = "1.1"
    [told] = pages.minutes(engine, 1)
    assert (told.kind, told.labels["version"], told.labels["before"]) == (VERSION, "1.1", "1.0")
    engine.labels = engine.labels | {"model_name": "m2"}
    served = [fact for fact in pages.minutes(engine, 1) if fact.kind == VERSION]
    assert [(fact.labels["version"], fact.labels["before"]) for fact in served] == [("m2", "m")]


def test_a_new_replica_is_news_with_its_version_where_others_ran_another(used: tuple[Pages, Engine]) -> None:
    pages, engine = used
    fresh = Engine(target="e:2")
    fresh.version = "2.0"
    told = {fact.kind: fact for fact in pages.feed(*engine.rows(), *fresh.rows())}
    assert told[RESTART].labels["how"] == "new"
    assert told[VERSION].text == "e:2 runs version 2.0, m ran 1.0 before"
    stranger = Engine(target="e:3")
    assert [fact.kind for fact in pages.feed(*stranger.rows(), source="b")] == ["replica"], "its agent is new too"


def test_a_switchs_errors_are_its_nodes() -> None:
    pages = Pages()
    said = {"nvswitch": "1", "sxid": "20034", "severity": "fatal", "node": "n1"}
    assert pages.feed((health.SXID_ERRORS, said, 0.0)) == []
    [told] = pages.feed((health.SXID_ERRORS, said, 2.0))
    assert (told.kind, told.value, told.text) == (SXID, 2.0, "NVSwitch 1 on n1: SXid 20034, 2 times")
    assert told.kind in HARDWARE


def clocks(*mhz: float, busy: float = 98.0) -> list[Any]:
    """One GPU each, all of one card, with an engine on it."""
    rows: list[Any] = []
    for at, clock in enumerate(mhz):
        card = {"UUID": f"G{at}", "gpu": str(at), "node": "n1", "modelName": "H100"}
        engine = SAID | {"target": f"e:{at}"}
        rows += [(llm.ENGINE_UP, engine, 1.0), (llm.ENGINE_GPU_INFO, {"target": f"e:{at}", "UUID": f"G{at}"}, 1.0)]
        rows += [(gpu.SM_CLOCK, card, clock), (gpu.GPU_UTIL, card, busy)]
    return rows


@pytest.mark.parametrize(
    ("rows", "slow"),
    [
        (clocks(1980, 1980, 1200, 1950), ["G2"]),
        (clocks(1980, 1980, 1900, 1950), []),
        (clocks(1200, 1200, 1200, 1200), []),
        (clocks(1980, 1200), []),
        (clocks(1980, 1980, 300, 1950, busy=3.0), []),
    ],
    ids=["one is slow", "ordinary scatter", "all are", "too few to compare", "idle"],
)
def test_a_gpu_at_work_that_is_slower_than_its_peers_is_told(rows: list[Any], slow: list[str]) -> None:
    pages, told = Pages(), []
    for pages.minute in range(5):
        told += [fact for fact in pages.feed(*rows) if fact.kind == SLOWER]
    assert [fact.labels["UUID"] for fact in told] == slow
    for fact in told:
        assert fact.text == "GPU 2 on n1: SM clock 1200 MHz, its peers' 1965 MHz"
        assert fact.value == pytest.approx(1200 / 1965)


def test_every_family_that_facts_are_made_of_is_asked_for() -> None:
    rows = [*Engine().rows(), *clocks(1.0), (health.SXID_ERRORS, {}, 0.0)]
    assert {family.name for family, *_ in rows} <= {family.name for family in FAMILIES}


def test_how_engines_stood_is_kept_for_days_what_hardware_did_for_good(tmp_path: Path) -> None:
    slo = Slo("chat", "ttft", "ttft", Decimal("0.99"), Window("30d", 30 * 86400), Method.OCCURRENCES, Decimal("0.5"))
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        revision = ledger.register([slo])[slo.id]
        first = int(START)
        facts = [Fact(START, kind, {"target": "e:1"}) for kind in (QUEUE, LOAD, RESTART, SLOWER)]
        for start in (first, first + 9 * 86400):
            ledger.append([Slice(slo.id, revision, (), start, 9.0, 9.0, 10.0, 60.0)], None, facts)
            facts = []
        assert {fact.kind for fact in ledger.facts(0, 2e9)} == {RESTART, SLOWER}
