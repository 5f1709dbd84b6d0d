"""What lies between two bucket edges decides: the service says so, and neither pages nor calls the budget spent."""

import pytest

from slo.observed import Slice
from slo.status import assess


@pytest.mark.parametrize(
    ("sure", "possible", "state"),
    [
        (100, 100, "ok"),
        (0, 100, "undecided"),  # all bad or all good
        (0, 99, "undecided"),  # some of the budget is spent for certain
        (0, 0, "paging"),
    ],
)
def test_a_state_is_undecided_where_only_the_edges_know(world, sure, possible, state):
    one = world.slo()
    revision = world.ledger.register([one])[one.id]
    world.ledger.append(
        Slice(one.id, revision, (), t, sure, possible, 100.0, 60.0)
        for t in range(world.noon - 6 * 86400, world.noon, 60)
    )
    found = assess(one, (), world.ledger, revision=revision, now=world.now)
    assert found.state == state
    if state == "undecided":
        assert {alert.state for alert in found.alerts} == {"undecided"}
        assert found.firing is None
        low, high = found.budget.remaining_bounds
        assert low < 0 < high
