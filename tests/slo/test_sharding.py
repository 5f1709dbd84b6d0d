"""Shards: every SLO is kept once, by the same shard for ever, and bad words are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.sharding import Shard, parse_shard


@given(slo_id=st.text(max_size=50), count=st.integers(1, 40))
def test_each_slo_is_kept_by_one_shard(slo_id, count):
    assert sum(Shard(number, count).keeps(slo_id) for number in range(count)) == 1


def test_the_hash_stays_what_it_was():
    kept = [[f"service-{n}" for n in range(8) if Shard(shard, 3).keeps(f"service-{n}")] for shard in range(3)]
    assert kept == [
        ["service-3", "service-4", "service-6"],
        ["service-2"],
        ["service-0", "service-1", "service-5", "service-7"],
    ]


@pytest.mark.parametrize("text", ["", "4/4", "0/0", "-1/4", "0/1001", "0.5/2", "1", "1 /2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match="is no shard"):
        parse_shard(text)


def test_a_shard_is_read_as_it_is_written():
    assert str(parse_shard("3/12")) == "3/12"
