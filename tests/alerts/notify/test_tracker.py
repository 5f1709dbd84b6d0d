"""Waiting and going on, held against an observer that remembers every step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.notify.model import Condition
from alerts.notify.tracker import Tracker

STEP = 60.0


def condition(since: float, *, wait: float, keep: float) -> Condition:
    return Condition("ticket", {"alertname": "A"}, {}, since, wait, keep)


@given(
    held=st.lists(st.booleans(), min_size=1, max_size=60),
    wait=st.sampled_from([0.0, 60.0, 300.0]),
    keep=st.sampled_from([0.0, 60.0, 600.0]),
)
def test_it_waits_and_goes_on_as_rules_do(held: list[bool], wait: float, keep: float) -> None:
    tracker = Tracker()
    since: float | None = None
    kept_until = -1.0
    firing = False
    for step, holds in enumerate(held):
        now = step * STEP
        told = tracker.update([condition(now, wait=wait, keep=keep)] if holds else [], now)
        if holds:
            since = now if since is None else since
            firing = firing or now - since >= wait
            kept_until = now + keep
        elif not (firing and now < kept_until):
            since, firing = None, False
        expected = "firing" if firing else "pending" if since is not None else None
        assert [alert.state for alert in told] == ([expected] if expected else [])


def test_what_was_seen_to_begin_earlier_has_waited_already() -> None:
    tracker = Tracker()
    [alert] = tracker.update([condition(0.0, wait=300, keep=0)], 1000.0)
    assert (alert.state, alert.since, alert.fired_at) == ("firing", 0.0, 300.0)


def test_a_restart_is_no_beginning() -> None:
    first = Tracker()
    first.update([condition(0.0, wait=300, keep=0)], 0.0)
    first.update([condition(200.0, wait=300, keep=0)], 400.0)
    second = Tracker(first.firing)
    [alert] = second.update([condition(500.0, wait=300, keep=0)], 500.0)
    assert (alert.state, alert.since) == ("firing", 0.0)
