"""A table that holds what was told last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slo.recent import Recent


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(1, 5))
def test_it_holds_those_that_were_asked_for_or_put_last(turns, most):
    table = Recent(most)
    order: list[int] = []
    for puts, key in turns:
        if puts:
            table.put(key, str(key))
        else:
            assert table.get(key) == (str(key) if key in order else None)
        if puts or key in order:
            order = [*(one for one in order if one != key), key][-most:]
        assert len(table) == len(order)
