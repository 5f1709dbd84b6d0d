"""Alerts come when they should: burns told as soon as computed, calm months silent, a night's failure told by morning.

The tables of all cases and of 20 months are benchmarks: tests/bench/bench_detection.py, bench_calm.py.
"""

from collections.abc import Callable

import pytest

from slo.names import MINUTE_SECONDS, TILE_SECONDS
from tests.bench.by_rules import firing
from tests.bench.calm import CALM, DAY, Month
from tests.bench.detection import Case, by_rules, cases, computed, recorded, told

QUICK = [case for case in cases() if (found := computed(case)) is None or found[0] < 7200]


@pytest.mark.parametrize("case", QUICK, ids="-".join)
def test_the_embedded_way_tells_of_a_burn_within_a_minute_of_the_computed_time(case: Case) -> None:
    found = computed(case)
    if found is None:
        assert all(case.error_ratio <= window.error_ratio(case.slo) for window in case.windows)
        assert told(case, 4 * 3600) is None
    else:
        after = told(case, found[0] + 2 * MINUTE_SECONDS)
        assert after is not None
        assert 0 <= after - found[0] <= MINUTE_SECONDS
        assert after == recorded()[list(cases()).index(case)].told


@pytest.mark.real
@pytest.mark.parametrize(
    "case", [Case("0.999", "total failure", "page"), Case("0.99", "twice the threshold", "page")], ids="-".join
)
def test_the_rules_tell_of_a_burn_within_a_tile_and_its_evaluation(binary: Callable[[str], str], case: Case) -> None:
    found = computed(case)
    assert found is not None
    told = by_rules(case, binary("promtool"), found[0] + 2 * TILE_SECONDS)
    assert told is not None
    assert 0 <= told - found[0] <= 2 * TILE_SECONDS


@pytest.mark.parametrize("objective", ["0.9", "0.95", "0.999"])
def test_a_calm_month_is_silent_and_a_failure_in_any_of_its_nights_opens_a_ticket_within_three_hours(
    objective: str,
) -> None:
    month = Month(1, objective, even=True)
    assert sum(month.failed) > 0
    assert list(month.alerts()) == []
    assert None not in [month.ticket(night) for night in month.nights()]


@pytest.mark.parametrize("objective", ["0.95", "0.999"])
def test_where_requests_come_by_chance_each_night_with_enough_of_them_has_its_ticket(objective: str) -> None:
    month = Month(2, objective)
    assert list(month.alerts()) == []
    nights = [(month.told_enough(night), month.ticket(night)) for night in month.nights()]
    assert sum(enough for enough, _ in nights) > 20
    assert all(after is not None for enough, after in nights if enough)


def test_a_month_that_is_not_calm_is_told_of() -> None:
    assert list(Month(1, "0.999", share=3.0).alerts())


@pytest.mark.real
def test_the_rules_open_the_ticket_of_such_a_night_when_the_service_does(binary: Callable[[str], str]) -> None:
    month = Month(3, "0.999", share=CALM)
    night = next(one for one in month.nights() if month.ticket(one))
    since = night.start - night.start % 5 - DAY
    tiles = month.tiles(since, night.stop, night)
    began = DAY // 5
    fired = firing(binary("promtool"), month.slo, tiles, range(began, len(tiles) + 1))
    assert all(at > min(fired["ticket"]) for at in fired["page"])  # which asks for more failures
    service = month.ticket(night)
    assert service is not None
    assert abs(5 * min(fired["ticket"]) - (night.start - since) - service) <= 10
