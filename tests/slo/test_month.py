"""Some days of the benchmark's month, which knows its own truth: night and day, incidents, restarts, pods that go."""

import pytest

from slo.ledger import Ledger
from tests.bench.month import DAY, HOUR, NODES, PODS_EACH, START, Month, count, objective


@pytest.mark.parametrize(
    ("churning", "zeros"), [(False, True), (True, True), (True, False)], ids=["steady", "churning", "births above 0"]
)
def test_the_ledger_counts_a_month_as_it_was(tmp_path, churning, zeros):
    month, slo = Month(days=3, churning=churning, zeros=zeros), objective(3)
    ledger = Ledger(tmp_path / "ledger.db")
    assert count(month, ledger).notices == []
    found = ledger.counts(slo.id, (), month.since, month.until)
    assert (found.bad, found.total) == month.truth.counts(month.since, month.until)
    assert found.coverage >= 0.999
    for day in range(month.since, month.until, DAY):
        one = ledger.counts(slo.id, (), day, day + DAY)
        assert (one.bad, one.total) == month.truth.counts(day, day + DAY)
    hours = [at // HOUR * HOUR for at in (month.since + HOUR, month.until)]  # spenders are kept for whole hours
    spenders = ledger.spenders(slo.id, (), *hours)
    assert tuple(map(sum, zip(*spenders.values(), strict=True))) == month.truth.counts(*hours)
    assert len(spenders) > NODES * PODS_EACH if churning else len(spenders) == NODES * PODS_EACH
    ledger.close()


def test_the_month_has_what_is_hard_to_count():
    pages = list(Month(days=3, churning=True, zeros=False).pages())
    births = {target: failed for seen in pages for target, _, _, failed in reversed(seen.pods) if failed is not None}
    assert any(births.values()), "no error series that is born above 0"
    processes: dict[str, set[float]] = {}
    for seen in pages:
        for target, started, _, _ in seen.pods:
            processes.setdefault(target, set()).add(started)
    assert any(len(starts) > 1 for starts in processes.values()), "no restart"
    idle = Month(days=1)
    for _ in idle.pages():
        pass
    two_at_night = START // DAY * DAY + DAY + 2 * 3600
    assert idle.truth.counts(two_at_night + 60, two_at_night + 2 * 3600) == (0, 0)
