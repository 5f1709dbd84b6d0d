"""Native histograms as cumulative buckets: never a wrong count, and always the nearest edges that there are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.signals.native_buckets import cumulative, edges_around

latencies = st.lists(st.floats(1e-3, 1e3), max_size=60)


def buckets(observed: list[float], schema: int) -> list[tuple[float, float, float]]:
    """What a client of that resolution would tell: (lower, upper], those in use alone."""
    wide = 2.0**-schema
    counts: dict[int, int] = {}
    for one in observed:
        at = math.ceil(math.log2(one) / wide)
        counts[at] = counts.get(at, 0) + 1
    return [(2 ** ((at - 1) * wide), 2 ** (at * wide), float(n)) for at, n in counts.items()]


@given(latencies, st.integers(-4, 8), st.sampled_from([0.05, 0.3, 0.5, 1.0, 2.5]))
def test_every_count_that_is_told_is_true(observed, schema, threshold):
    for edge, count in cumulative(buckets(observed, schema), edges_around(threshold)):
        assert count == sum(1 for one in observed if one <= edge * (1 + 1e-9))


@given(latencies, st.integers(-4, 8), st.sampled_from([0.05, 0.3, 1.7]))
def test_the_edges_of_the_resolution_are_always_among_them(observed, schema, threshold):
    told = dict(cumulative(buckets(observed, schema), edges_around(threshold)))
    wide = 2.0**-schema
    at = math.ceil(math.log2(threshold) / wide)
    for number in (at - 1, at):
        assert any(math.isclose(edge, 2 ** (number * wide), rel_tol=1e-8) for edge in told)


@pytest.mark.parametrize("schema", range(9))
def test_a_power_of_two_is_exact_at_every_resolution(schema):
    observed = [0.49, 0.5, 0.500001, 0.7]
    assert dict(cumulative(buckets(observed, schema), edges_around(0.5)))[0.5] == 2


def test_once_told_and_halved_the_coarser_edges_were_there_before():
    observed = [0.2, 0.29, 0.31, 0.8]
    fine, coarse = (dict(cumulative(buckets(observed, schema), edges_around(0.3))) for schema in (5, 2))
    assert set(coarse) <= set(fine)
    assert all(fine[edge] == count for edge, count in coarse.items())


def test_custom_edges_are_exact_on_an_edge_alone():
    custom = [(0.1, 0.3, 4.0), (0.3, 1.0, 2.0)]
    assert dict(cumulative(custom, edges_around(0.3)))[0.3] == 4
    assert 0.4 not in dict(cumulative(custom, edges_around(0.4)))
