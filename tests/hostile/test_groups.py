"""A label that somebody fills with request ids: so many groups count, further ones are refused, and that is said."""

from dataclasses import replace
from decimal import Decimal

import pytest

from exporter.metrics import llm
from exporter.page import PageSample
from slo import counting
from slo import plan as plans
from slo.counting import Tally
from slo.model import Method, Slo
from slo.observed import Scrape
from slo.windows import parse_window

MOST = 5
NOON = 1_795_176_000.0
SLO = Slo(
    "chat", "ttft", "ttft", Decimal("0.95"), window=parse_window("30d"), method=Method.OCCURRENCES,
    threshold_seconds=Decimal("0.5"),
)  # fmt: skip
BY_TENANT = replace(SLO, group_by=("tenant",))


def scrape(at: float, tenants: list[str], count: float) -> Scrape:
    """One replica's histogram for each tenant."""
    bucket = llm.TIME_TO_FIRST_TOKEN.bucket
    base = (("engine", "vllm"), ("model_name", "m"), ("target", "t:1"))
    series = [
        PageSample(bucket, tuple(sorted((*base, ("le", le), ("tenant", one)))))
        for one in tenants
        for le in ("0.5", "+Inf")
    ]
    return Scrape("http://agent", at, series, [count] * len(series), series)


def test_groups_are_so_many_and_those_that_were_first_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (plans, counting):
        monkeypatch.setattr(module, "MOST_GROUPS", MOST)
    tally = Tally([BY_TENANT])
    first = [f"a{number}" for number in range(MOST)]
    counted: set[str] = set()
    for step in range(40):
        now = NOON + step * 5
        fresh = [f"r{step}-{number}" for number in range(20)]  # sorted behind, and before, those that are known
        tally.feed(scrape(now, [*first, *fresh, f"A{step}"] if step > 2 else first, float(step)))
        counted.update(dict(one.group)["tenant"] for one in tally.close(now))
    assert counted == set(first)
    assert [text for text in tally.notices if f"more than {MOST} groups" in text] == [
        "chat-ttft: more than 5 groups; further ones are not counted: see what http://agent puts into its group_by "
        "labels, and group by others"
    ]
    again = Tally([BY_TENANT], tally.state())
    again.feed(scrape(NOON + 300, [*first, "b"], 300.0))
    again.feed(scrape(NOON + 305, [*first, "b"], 305.0))
    assert {dict(one.group)["tenant"] for one in again.close(NOON + 500)} <= set(first)
