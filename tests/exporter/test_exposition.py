"""The page: a golden, the reference parser's reading of it, and the shortcuts that must not show."""

import gzip
import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import Exposition, Page
from exporter.metrics import agent, gpu, health, llm
from exporter.model import Family, MetricType, Reading, Series, Snapshot, labels_of

TTFT = llm.TIME_TO_FIRST_TOKEN


def series(family: Family, suffix: str = "", **labels: str) -> Series:
    return Series(family, labels_of(labels), suffix)


def page(readings: Sequence[Reading], exposition: Exposition | None = None, taken_at: float = 100.0) -> Page:
    return (exposition or Exposition(node="n1")).encode(Snapshot(tuple(readings), (), taken_at, 1))


def parsed(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_page_is_written_as_prometheus_writes_it():
    readings = [
        Reading(series(gpu.GPU_TEMP, gpu="0"), 45),
        Reading(series(gpu.TOTAL_ENERGY, gpu="0"), 123456789012),
        Reading(series(gpu.GPU_TEMP, gpu="1", modelName='a "b" \\ c\nd'), 45.5),
        Reading(series(TTFT, "_bucket", le="1"), 7),
        Reading(series(TTFT, "_bucket", le="0.25"), 3),
        Reading(series(TTFT, "_bucket", le="+Inf"), 8),
        Reading(series(TTFT, "_count"), 8),
        Reading(series(TTFT, "_sum"), 9.25),
        Reading(series(gpu.GPU_UTIL, gpu="0"), math.nan),
    ]
    assert page(readings).plain(now=101.25).decode() == (
        "# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).\n"
        "# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n"
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 45\n'
        'DCGM_FI_DEV_GPU_TEMP{gpu="1",modelName="a \\"b\\" \\\\ c\\nd"} 45.5\n'
        "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since the driver was loaded (in mJ).\n"
        "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n"
        'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 123456789012\n'
        f"# HELP llm_time_to_first_token_seconds {TTFT.help}\n"
        "# TYPE llm_time_to_first_token_seconds histogram\n"
        'llm_time_to_first_token_seconds_bucket{le="1.0"} 7\n'
        'llm_time_to_first_token_seconds_bucket{le="0.25"} 3\n'
        'llm_time_to_first_token_seconds_bucket{le="+Inf"} 8\n'
        "llm_time_to_first_token_seconds_count 8\n"
        "llm_time_to_first_token_seconds_sum 9.25\n"
        "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n"
        "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n"
        'DCGM_FI_DEV_GPU_UTIL{gpu="0"} NaN\n'
        f"# HELP gpufleet_snapshot_age_seconds {agent.SNAPSHOT_AGE.help}\n"
        "# TYPE gpufleet_snapshot_age_seconds gauge\n"
        'gpufleet_snapshot_age_seconds{node="n1"} 1.250\n'
    )


def test_an_empty_snapshot_is_a_page():
    assert parsed(page([]).plain(now=100.0)) == {("gpufleet_snapshot_age_seconds", (("node", "n1"),)): 0}


def test_help_is_escaped():
    odd = Family("odd", MetricType.GAUGE, "back\\slash\nand line")
    assert page([Reading(series(odd), 1)]).body.startswith(b"# HELP odd back\\\\slash\\nand line\n# TYPE odd gauge\n")


def test_the_gzipped_page_is_one_member_that_says_the_same():
    taken = page([Reading(series(gpu.GPU_TEMP, gpu="0"), 45)])
    for now in (100.0, 103.5):
        packed = taken.gzipped(now=now)
        assert gzip.decompress(packed) == taken.plain(now=now)
        assert packed.count(b"\x1f\x8b\x08") == 1


FAMILIES = (gpu.GPU_TEMP, health.XID_ERRORS, health.HEALTH, llm.REQUESTS_RUNNING)
NAMED = st.builds(
    lambda family, node, text: series(family, node=node, **({"modelName": text} if text else {})),
    st.sampled_from(FAMILIES),
    st.sampled_from(["a", "b", "c"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\\"'), max_size=8),
)
POOL = st.lists(NAMED, min_size=1, max_size=12, unique_by=lambda one: (one.name, one.labels))
VALUES = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False))


@given(st.data(), POOL)
def test_every_snapshot_of_one_agent_reads_back_whatever_came_before_it(data: st.DataObject, pool: list[Series]):
    exposition = Exposition(node="n1")
    for _ in range(3):
        chosen = data.draw(st.lists(st.sampled_from(pool), unique_by=id))
        readings = [Reading(one, data.draw(VALUES)) for one in chosen]
        body = page(readings, exposition).body
        assert parsed(body) == {(one.name, one.labels): float(value) for one, value in readings}
        heads = [line for line in body.decode().split("\n") if line.startswith("# TYPE")]
        assert len(heads) == len({one.family.name for one in chosen})
