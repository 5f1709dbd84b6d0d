"""Budgets and burn-rate alerts from counts: known figures, order and bounds whatever is counted."""

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from math import exp, lgamma
from math import log as log_of

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slo.budget import Budget, Counts, budget, budget_remaining
from slo.burn import alert_state, burn_rate, detection_seconds, evidence, exhausted, low_traffic_evidence
from slo.model import Method, Slo, Weight
from slo.windows import alert_windows, parse_window

NOW = 1_790_000_000.0
DAY = 86400


def slo(objective: str = "0.95", window: str = "30d", method: Method = Method.OCCURRENCES) -> Slo:
    return Slo("chat", "ttft", "ttft", Decimal(objective), parse_window(window), method)


def counts(good: float, total: float, upper: float | None = None, observed: float = 30.0 * DAY) -> Counts:
    return Counts(good, good if upper is None else upper, total, observed, 30.0 * DAY)


@st.composite
def counted(draw) -> Counts:
    total = draw(st.integers(0, 10**9))
    upper = draw(st.integers(0, total))
    return counts(draw(st.integers(0, upper)), total, upper)


slos = st.builds(lambda o: slo(str(o)), st.decimals("0.5", "0.99999", places=5))


def test_the_design_s_example():
    """960 good of 1000 at 95 %: a fifth of the budget is left, and at a pace of 1 it lasts a fifth of the window."""
    found = budget(slo(), counts(960, 1000), now=NOW, pace=1.0)
    assert found.remaining == pytest.approx(0.2)
    assert found.remaining_bounds == (found.remaining, found.remaining)
    assert found.exhausted_at == pytest.approx(NOW + 6 * DAY)


def test_nothing_seen_is_unknown_and_a_watched_window_without_events_is_untouched():
    assert budget(slo(), counts(0, 0, observed=0), now=NOW, pace=None) == Budget(None, None, None)
    assert budget(slo(), counts(0, 0), now=NOW, pace=None) == Budget(1.0, (1.0, 1.0), None)


def test_when_a_budget_ends():
    spent = counts(940, 1000)
    assert budget(slo(), spent, now=NOW, pace=0.0).exhausted_at == NOW  # when it ended is not known
    assert budget(slo(), spent, now=NOW, pace=9.9, exhausted_since=NOW - 60).exhausted_at == NOW - 60
    left = counts(960, 1000)
    assert budget(slo(), left, now=NOW, pace=0.0).exhausted_at is None
    assert budget(slo(), left, now=NOW, pace=None).exhausted_at is None
    assert budget(slo(), left, now=NOW, pace=0.19).exhausted_at is None  # it outlasts this window
    assert budget(slo(), left, now=NOW, pace=0.21).exhausted_at == pytest.approx(NOW + 0.2 / 0.21 * 30 * DAY)


@given(slos, counted())
def test_bounds_are_in_order_and_the_pessimistic_side_is_the_headline(one, seen):
    found = budget(one, seen, now=NOW, pace=1.0)
    assert found.remaining is not None
    assert found.remaining_bounds is not None
    low, high = found.remaining_bounds
    assert found.remaining == low <= high <= 1.0


@given(slos, counted(), st.integers(1, 10**6))
def test_a_bad_event_never_raises_a_budget_and_a_good_one_never_lowers_it(one, seen, more):
    now = budget_remaining(one, seen.bad, seen.total)
    assert budget_remaining(one, seen.bad + more, seen.total + more) <= now
    assert budget_remaining(one, seen.bad, seen.total + more) >= now


@given(slos, counted(), st.floats(0.001, 1000), st.floats(0.001, 1000))
def test_a_faster_pace_ends_a_budget_no_later(one, seen, pace, more):
    slow = budget(one, seen, now=NOW, pace=pace).exhausted_at
    fast = budget(one, seen, now=NOW, pace=pace + more).exhausted_at
    if slow is not None:
        assert fast is not None
        assert NOW <= fast <= slow <= NOW + 30 * DAY


@given(slos, counted())
def test_a_burn_rate_of_one_over_the_window_leaves_nothing(one, seen):
    assume(seen.total > 0)
    rate = burn_rate(one, seen)
    assert rate is not None
    if one.method is Method.OCCURRENCES:
        assert budget_remaining(one, seen.bad, seen.total) == pytest.approx(1 - rate, abs=1e-9 * max(1, rate))
    optimistic = burn_rate(one, seen, optimistic=True)
    assert optimistic is not None
    assert optimistic <= rate


def test_a_window_without_events_has_no_burn_rate_and_its_alert_is_unknown():
    window = alert_windows(slo())[0]
    assert burn_rate(slo(), counts(0, 0)) is None
    assert alert_state(slo(), window, counts(0, 1000), counts(0, 0)).state == "unknown"
    assert alert_state(slo(), window, counts(0, 0), counts(0, 0)).state == "unknown"


def test_an_alert_fires_on_both_windows_only_beyond_its_factor_and_only_on_what_is_certain():
    one = slo()
    window = alert_windows(one)[0]
    assert (window.severity, window.error_ratio(one)) == ("page", Decimal("0.720"))
    at, beyond, well = counts(280, 1000), counts(279, 1000), counts(900, 1000)
    assert alert_state(one, window, beyond, beyond).state == "firing"
    assert alert_state(one, window, at, at).state == "inactive"
    assert alert_state(one, window, beyond, well).state == "inactive"
    assert alert_state(one, window, well, beyond).state == "inactive"
    undecided = counts(0, 1000, upper=500)  # between two edges: perhaps all bad, perhaps half
    assert alert_state(one, window, undecided, undecided).state == "undecided"
    assert alert_state(one, window, undecided, well).state == "inactive"


@pytest.mark.parametrize(
    ("method", "severity", "needed"),
    [
        (Method.OCCURRENCES, "page", 10),
        (Method.OCCURRENCES, "ticket", 5),
        (Method.TIMESLICES, "page", 3),
        (Method.TIMESLICES, "ticket", 3),
    ],
)
def test_few_events_are_no_evidence_however_bad(method, severity, needed):
    one = slo("0.9999", method=method)
    window = next(row for row in alert_windows(one) if row.severity == severity and not row.low_traffic)
    assert evidence(one, window) == needed
    good = window.long_seconds // 60 - needed if method is Method.TIMESLICES else 0
    few, enough = counts(good + 1, good + needed), counts(good, good + needed)
    assert alert_state(one, window, few, few).state == "inactive"
    assert alert_state(one, window, enough, few).state == "firing"


@given(slos, st.integers(0, 10), st.integers(1, 400), st.integers(1, 100))
def test_what_nobody_watched_counts_as_clean(one, row, watched, percent):
    """A new SLO, or one that was watched again: its alerts say what they would after a clean past of that length."""
    window = alert_windows(one)[row % len(alert_windows(one))]
    seen = min(60 * watched, window.long_seconds)
    bad, before = percent * 10 * seen, 1000 * (window.long_seconds - seen)
    young = Counts(1000 * seen - bad, 1000 * seen - bad, 1000 * seen, seen, window.long_seconds)
    clean = Counts(young.good + before, young.good + before, young.total + before, window.long_seconds)
    limit = float(window.error_ratio(one))
    if abs(bad / clean.total / limit - 1) > 1e-6:
        assert alert_state(one, window, young, young).state == alert_state(one, window, clean, young).state


def test_a_new_slo_opens_no_ticket_over_days_for_its_first_hours():
    one = slo("0.999")
    slow = min(alert_windows(one), key=lambda row: row.factor)
    assert (slow.long, slow.factor) == ("3d", 1)
    hours = counts(49_900, 50_000, observed=6.0 * 3600)  # twice what is allowed, for six hours: a 60th of the budget
    assert alert_state(one, slow, hours, hours).state == "inactive"
    longer = counts(299_400, 300_000, observed=36.1 * 3600)
    assert alert_state(one, slow, longer, longer).state == "firing"
    assert not exhausted(one, hours, one.window.seconds)
    assert exhausted(one, counts(49_000, 50_000, observed=1.6 * DAY), one.window.seconds)
    assert not exhausted(one, counts(49_000, 50_000, observed=1.4 * DAY), one.window.seconds)


@pytest.mark.parametrize(("allowed", "least"), [(1, 8), (7, 15), (20, 27), (46, 47), (100, 101), (1000, 1001)])
def test_a_ticket_stands_out_from_chance_at_half_the_allowed_pace(allowed, least):
    """That a service at half of it has so many by chance is less likely than one in 100,000."""
    one = slo("0.9999")
    slow = min(alert_windows(one), key=lambda row: row.factor)
    total = allowed * 10_000
    for bad, state in ((least, "firing"), (least - 1, "inactive")):
        held = counts(total - bad, total)
        assert alert_state(one, slow, held, held).state == state
    log = [n * log_of(allowed / 2) - allowed / 2 - lgamma(n + 1) for n in range(least, least + 1000)]
    assert sum(map(exp, log)) < 1e-5


def test_a_page_waits_for_no_chance():
    for objective in ("0.9", "0.99", "0.9999"):
        one = slo(objective)
        for window in (row for row in alert_windows(one) if row.severity == "page"):
            total = int(10 / window.error_ratio(one))  # ten bad ones are just beyond the factor
            if Decimal(10) / total > window.error_ratio(one):
                held = counts(total - 10, total)
                assert alert_state(one, window, held, held).state == "firing"


def test_tokens_of_one_request_are_no_evidence():
    one = replace(slo("0.9999"), weight=Weight.TOKENS)
    slow = min(alert_windows(one), key=lambda row: row.factor)
    for bad, state in ((15_000, "firing"), (14_900, "inactive")):
        held = counts(70_000_000 - bad, 70_000_000)
        assert alert_state(one, slow, held, held).state == state


def test_conditions_of_others_ask_for_their_own_evidence_alone():
    one = slo("0.9999")
    theirs = replace(min(alert_windows(one), key=lambda row: row.factor), evidence=2)
    held = counts(19_997, 20_000, observed=60.0)
    assert alert_state(one, theirs, held, held).state == "firing"


@given(slos, st.integers(1, 100), st.integers(1, 6))
def test_detection_is_when_a_window_that_fills_with_failure_passes_the_factor(one, percent, row):
    """The window fills with a steady failure after a clean past; the alert fires when it is said to, not before."""
    windows = alert_windows(one)
    window = windows[row % len(windows)]
    ratio = Decimal(percent) / 100
    said = detection_seconds(one, window, ratio)

    def firing(seconds: float) -> bool:
        def held(span: int) -> Counts:
            bad = float(ratio) * min(seconds, span)
            return Counts(span - bad, span - bad, span, span, span)

        return alert_state(one, window, held(window.long_seconds), held(window.short_seconds)).state == "firing"

    if said is None:
        assert not firing(window.long_seconds * 0.999)
    elif float(ratio) * window.short_seconds > 10:  # enough events at one a second
        assert firing(float(said) * 1.001 + 11 / float(ratio))
        assert not firing(float(said) * 0.999)


@pytest.mark.parametrize(("objective", "needed"), [("0.9999", 4), ("0.99", 4), ("0.95", 5), ("0.9", 6), ("0.5", 53)])
def test_the_ticket_for_low_traffic_asks_for_what_chance_does_not_give(objective, needed):
    one = slo(objective)
    window = next(row for row in alert_windows(one) if row.low_traffic)
    assert evidence(one, window) == needed == low_traffic_evidence(one.budget_ratio)
    short = counts(0, 1)
    assert alert_state(one, window, counts(0, needed), short).state == "firing"
    assert alert_state(one, window, counts(0, needed - 1), short).state == "inactive"
    assert alert_state(one, window, counts(needed // 3 + 1, needed + needed // 3 + 1), short).state == "inactive"


def test_minutes_know_no_low_traffic():
    assert not any(row.low_traffic for row in alert_windows(slo(method=Method.TIMESLICES)))


class Month:
    """A seeded month of requests: 3 an hour from 22 to 6 o'clock, 600 an hour by day; `error` of them fail by chance.

    From `failing` on, a minute of the month, all do.
    """

    def __init__(self, seed: int, error: float, failing: int | None = None) -> None:
        dice = random.Random(seed)
        total, bad = [0], [0]
        for hour in range(30 * 24):
            by_minute = Counter(dice.choices(range(60), k=3 if hour % 24 >= 22 or hour % 24 < 6 else 600))
            for minute in range(60):
                n = by_minute[minute]
                down = failing is not None and hour * 60 + minute >= failing
                total.append(total[-1] + n)
                bad.append(bad[-1] + (n if down else sum(dice.random() < error for _ in range(n))))
        self.total, self.bad = total, bad

    def firing(self, one: Slo, minute: int) -> set[str]:
        def held(seconds: int) -> Counts:
            since = max(0, minute - seconds // 60)
            total, bad = self.total[minute] - self.total[since], self.bad[minute] - self.bad[since]
            return Counts(total - bad, total - bad, total, seconds, seconds)

        states = [alert_state(one, row, held(row.long_seconds), held(row.short_seconds)) for row in alert_windows(one)]
        return {state.window.severity for state in states if state.state == "firing"}


@pytest.mark.parametrize("objective", ["0.999", "0.99", "0.95", "0.9"])
def test_calm_months_alert_nobody_and_a_total_failure_at_night_opens_a_ticket_within_three_hours(objective):
    one = slo(objective)
    for seed in range(5):
        calm = Month(seed, error=float(one.budget_ratio) / 5)
        assert not any(calm.firing(one, minute) for minute in range(0, 30 * 1440, 20))
        night = 20 * 1440 + 22 * 60 + 7 * seed  # right after the day's traffic
        down = Month(seed, error=float(one.budget_ratio) / 5, failing=night)
        assert any("ticket" in down.firing(one, night + minute) for minute in range(0, 180))


def test_detection_in_minutes_waits_for_the_evidence():
    one = slo("0.9999", method=Method.TIMESLICES)
    window = alert_windows(one)[0]
    assert detection_seconds(one, window, Decimal(1)) == 180
    assert detection_seconds(one, window, Decimal("0.1")) == 1800
    assert detection_seconds(one, window, Decimal("0.04")) is None  # 2.4 minutes an hour


def test_a_minute_that_nobody_watched_spends_nothing_of_a_budget_of_minutes():
    month = slo(method=Method.TIMESLICES, objective=Decimal("0.999"))  # 43.2 bad minutes in 30 d
    assert budget_remaining(month, 2, 4) == budget_remaining(month, 2, 43_200) == pytest.approx(1 - 2 / 43.2)
    assert burn_rate(month, counts(2, 4)) == pytest.approx(500)  # what was seen was this bad
