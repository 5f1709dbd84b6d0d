"""What is drawn of alerts over time is what they were: held against slo.burn over the same minutes, summed plainly."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from slo.budget import Counts
from slo.burn import alert_state
from slo.burn_history import tracks
from slo.model import Group, Method, Slo
from slo.windows import alert_windows, parse_window

SLO = Slo("chat", "ttft", "ttft", Decimal("0.99"), parse_window("30d"), Method.OCCURRENCES, Decimal("0.5"))
MINUTES = 300
_ORDER = ("unknown", "inactive", "undecided", "firing")


class Minutes:
    """A ledger of (certainly bad, possibly bad, total) minutes from time 0 on; before that it is empty."""

    def __init__(self, minutes: list[tuple[int, int, int]]) -> None:
        self.minutes = minutes

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        held = self.minutes[max(0, int(since) // 60) : max(0, int(until) // 60)]
        good = sum(total - bad - maybe for bad, maybe, total in held)
        return Counts(float(good), float(good + sum(m for _, m, _ in held)), float(sum(t for _, _, t in held)))

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        starts = range(int(since) // step_seconds * step_seconds, int(until), step_seconds)
        return [(at, self.counts(slo_id, group, at, min(at + step_seconds, until))) for at in starts]


minute = st.sampled_from([(0, 0, 100), (0, 0, 0), (1, 0, 100), (30, 0, 100), (0, 40, 100), (100, 0, 100)])
stretches = st.lists(st.tuples(minute, st.integers(1, 90)), min_size=1, max_size=12)


@settings(max_examples=25)
@given(stretches, st.sampled_from([60, 300, 900]))
def test_every_step_says_the_worst_that_was_in_it(parts: list[tuple[tuple[int, int, int], int]], step: int):
    rows = Minutes([one for one, times in parts for _ in range(times)][:MINUTES])
    until = len(rows.minutes) * 60 // step * step
    found = tracks(rows, SLO, (), since=0, until=until, step=step)
    assert [track.window for track in found] == list(alert_windows(SLO))
    for track in found:
        assert [point.start for point in track.points] == list(range(0, until, step))
        for point in track.points:
            seen = [
                alert_state(
                    SLO,
                    track.window,
                    rows.counts("", (), end - track.window.long_seconds, end),
                    rows.counts("", (), end - track.window.short_seconds, end),
                )
                for end in range(point.start + 60, point.start + step + 1, 60)
            ]
            assert point.state == max((s.state for s in seen), key=_ORDER.index)
            assert point.long_burn == max((s.long_burn for s in seen if s.long_burn is not None), default=None)


def test_an_slo_whose_alerts_are_off_has_none_to_draw():
    hour = Slo("chat", "x", "ttft", Decimal("0.9"), parse_window("1h"), Method.OCCURRENCES, Decimal("0.5"))
    assert alert_windows(hour) == ()
    assert tracks(Minutes([(1, 0, 10)] * 60), hour, (), since=0, until=3600, step=60) == []
