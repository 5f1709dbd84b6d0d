"""Output profiles and the choice of families: what the page shows, under which names, in which units."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import choosing, naming
from exporter.agent import Agent
from exporter.choosing import MetricsSettings, read_counters
from exporter.exposition import Exposition
from exporter.metrics import CATALOGUE, gpu, health
from exporter.model import Family, InputError, Reading, Series, Snapshot, labels_of
from exporter.naming import Profile
from exporter.page import PageReader
from exporter.settings import Settings, load

GPU = {"gpu": "0", "UUID": "GPU-1", "hostname": "n1", "node": "n1"}
Lines = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def shown(profile: naming.ProfileName, *readings: tuple[Family, Mapping[str, str], float]) -> tuple[Lines, str]:
    """The lines of a page, but for the age; and the page."""
    taken = tuple(Reading(Series(family, labels_of(labels)), value) for family, labels, value in readings)
    page = Exposition(node="n1", profile=Profile(profile)).encode(Snapshot(taken, (), 100.0, 1))
    for text in (page.plain(), page.openmetrics().plain()):
        layout, values = PageReader().read(text)
        lines = {(one.name, one.labels): value for one, value in zip(layout.series, values, strict=True)}
    del lines["gpufleet_snapshot_age_seconds", (("node", "n1"),)]
    return lines, page.plain().decode()


def of(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_hostname_upper_is_legacy_with_another_label():
    readings = ((gpu.GPU_TEMP, GPU, 40.0), (health.SEEN, {"node": "n1"}, 1.0))
    legacy, _ = shown("legacy", *readings)
    upper, _ = shown("hostname-upper", *readings)
    renamed = {
        (name, of({("Hostname" if k == "hostname" else k): v for k, v in labels})): value
        for (name, labels), value in legacy.items()
    }
    assert upper == renamed
    assert legacy[gpu.GPU_TEMP.name, of(GPU)] == 40.0


@pytest.mark.parametrize(
    ("family", "value", "name", "becomes"),
    [
        (gpu.SM_CLOCK, 1980.0, "DCGM_FI_DEV_SM_CLOCK_HERTZ", 1.98e9),
        (gpu.MEM_CLOCK, 3201.0, "DCGM_FI_DEV_MEMORY_CLOCK_HERTZ", 3.201e9),
        (gpu.GPU_TEMP, 41.0, "DCGM_FI_DEV_GPU_TEMP_CELSIUS", 41.0),
        (gpu.POWER_USAGE, 698.25, "DCGM_FI_DEV_BOARD_POWER_WATTS", 698.25),
        (gpu.TOTAL_ENERGY, 123456789012.0, "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", 123456789.012),
        (gpu.GPU_UTIL, 97.0, "DCGM_FI_DEV_GPU_UTIL_RATIO", 0.97),
        (CATALOGUE["DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL"], 12.0, "DCGM_FI_DEV_NVLINK_THROUGHPUT_TOTAL", 12e6),
        (gpu.XID_LAST, 79.0, "DCGM_FI_DEV_XID_ERROR", 79.0),
        (gpu.FB_USED, 70000.0, "DCGM_FI_DEV_FB_USED", 70000.0),
    ],
    ids=str,
)
def test_dcgm_4_9_has_other_names_in_base_units(family: Family, value: float, name: str, becomes: float):
    lines, text = shown("dcgm-4.9", (family, GPU, value))
    assert lines == {(name, of(GPU)): becomes}
    assert f"# TYPE {name} {family.type.value}\n" in text
    unit = {"HERTZ": "Hz", "TOTAL": "J", "RATIO": "0 to 1"}.get(name.rpartition("_")[2])
    assert unit is None or unit in text or "bytes/s" in text


def test_what_is_missing_is_told_by_the_name_of_the_profile():
    missing = {**GPU, "family": gpu.GPU_TEMP.name, "reason": "unsupported"}
    lines, _ = shown("dcgm-4.9", (health.READING_MISSING, missing, 1.0))
    assert list(lines) == [(health.READING_MISSING.name, of({**missing, "family": "DCGM_FI_DEV_GPU_TEMP_CELSIUS"}))]


def test_every_family_has_a_name_of_its_own_in_every_profile():
    for name in ("legacy", "hostname-upper", "dcgm-4.9"):
        profile = Profile(name)
        assert len({profile.family(family).family.name for family in CATALOGUE.values()}) == len(CATALOGUE)
    assert set(naming.RENAMED.values()).isdisjoint(naming.RENAMED)


@given(st.lists(st.floats(0, 1e15), min_size=1, max_size=3))
def test_a_value_that_changes_is_shown_as_it_is_now(values: list[float]):
    exposition = Exposition(node="n1", profile=Profile("dcgm-4.9"))
    series = Series(gpu.TOTAL_ENERGY, labels_of(GPU))
    for value in values:
        page = exposition.encode(Snapshot((Reading(series, value),), (), 100.0, 1)).plain()
        _, (found, _age) = PageReader().read(page)
        assert found == pytest.approx(value / 1000, rel=1e-12)


COUNTERS = """\
# Format
# DCGM FIELD, Prometheus metric type, help message

DCGM_FI_DEV_GPU_TEMP,    gauge, GPU temperature (in C).
DCGM_FI_DEV_DEC_UTIL ,     gauge, "Decoder utilization, in %."
DCGM_FI_DEV_BOARD_POWER_WATTS, gauge, by its newer name
DCGM_FI_DRIVER_VERSION,        label, Driver Version
DCGM_FI_DEV_BRAND,             label, Device Brand
DCGM_FI_DEV_GPU_UTILL, gauge, misspelt
DCGM_EXP_GPU_HEALTH_STATUS, gauge, of dcgm-exporter itself
dcgm_gpu_temp, gauge, of version 1
"""


def test_a_counters_file_chooses_and_tells_what_it_cannot_have(tmp_path: Path):
    path = tmp_path / "counters.csv"
    path.write_text(COUNTERS)
    counters = read_counters(path)
    assert counters.families == {gpu.GPU_TEMP.name, gpu.DEC_UTIL.name, gpu.POWER_USAGE.name}
    assert counters.left_out == (
        f"{path}:8: DCGM_FI_DEV_BRAND is no label here",
        f"{path}:9: DCGM_FI_DEV_GPU_UTILL is not given here; was DCGM_FI_DEV_GPU_UTIL meant?",
        f"{path}:10: DCGM_EXP_GPU_HEALTH_STATUS is not given here; see gpu_health instead",
        f"{path}:11: dcgm_gpu_temp is not given here",
    )


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("# x\nDCGM_FI_DEV_GPU_TEMP, gauge\n", 2, "has 2 parts, not 3; write `field, type, help`"),
        ("DCGM_FI_DEV_GPU_TEMP, gauge, a, b\n", 1, "has 4 parts, not 3"),
        ("DCGM_FI_DEV_GPU_TEMP, gage, a\n", 1, "`gage` is no type of a metric; write one of gauge, counter"),
        ("GPU_TEMP, gauge, a\n", 1, "`GPU_TEMP` is no field of DCGM; write one as in DCGM_FI_DEV_GPU_TEMP"),
        ('DCGM_FI_DEV_GPU_TEMP, gauge, "a\n', 1, "is not CSV"),
        ("# nothing\n", 1, "chooses no figure that is given here"),
    ],
)
def test_a_counters_file_that_makes_no_sense_is_told_with_its_line(text: str, line: int, told: str, tmp_path: Path):
    path = tmp_path / "counters.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_counters(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert told in str(caught.value)


def families(settings: Settings) -> set[str]:
    text = asyncio.run(Agent(settings).once()).decode()
    return {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}


def test_an_agent_shows_what_was_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "counters.csv"
    path.write_text(COUNTERS)
    everything = families(Settings(gpu="simulated", node="n1"))
    by_file = Settings(gpu="simulated", node="n1", counters=str(path))
    chosen = families(by_file)
    own = {name for name in everything if not name.startswith("DCGM_")}
    assert chosen | {health.READING_MISSING.name} == own | {gpu.GPU_TEMP.name, gpu.DEC_UTIL.name, gpu.POWER_USAGE.name}
    assert f"{path}:9: DCGM_FI_DEV_GPU_UTILL is not given here" in caplog.text
    patterns = MetricsSettings(include=("DCGM_FI_DEV_*_UTIL", "gpu_*"), exclude=("*_DEC_*", "gpu_reading_missing"))
    both = families(Settings(gpu="simulated", node="n1", metrics=patterns))
    assert both - {"gpufleet_snapshot_age_seconds"} == {
        name
        for name in everything
        if (name.startswith("gpu_") and name != "gpu_reading_missing")
        or (name.endswith("_UTIL") and "_DEC_" not in name)
    }


def test_what_was_not_chosen_is_not_said_to_be_missing():
    choice = choosing.Choice(MetricsSettings(exclude=(gpu.GPU_TEMP.name,)), None)
    missing = [
        Reading(Series(health.READING_MISSING, labels_of({"family": family.name, "reason": "lost", **GPU})), 1.0)
        for family in (gpu.GPU_TEMP, gpu.POWER_USAGE)
    ]
    kept = choice.of(Snapshot(tuple(missing), (), 1.0, 1)).readings
    assert [dict(one.series.labels)["family"] for one in kept] == [gpu.POWER_USAGE.name]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("metrics:\n  exclude:\n    - gpu_*\n    - DCGM_FI_DEV_GPU_TMP\n", 4, "was DCGM_FI_DEV_GPU_TEMP meant?"),
        ("metrics:\n  include: [nothing_*]\n", 2, "no family is called `nothing_*`"),
        ("metrics:\n  exclude: [gpufleet_snapshot_age_seconds]\n", 2, "always stays"),
        ("metrics:\n  exclude: ['*']\n", 2, "nothing is left to be shown"),
        ("metrics:\n  only: [gpu_*]\n", 2, "unknown key 'only' in metrics: known are exclude, include"),
        ("profile: dcgm\n", 1, "profile must be one of legacy, hostname-upper, dcgm-4.9, not dcgm"),
    ],
)
def test_a_pattern_that_fits_nothing_is_told_with_its_line(text: str, line: int, told: str, tmp_path: Path):
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert told in str(caught.value)


ROWS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.tuples(
            st.sampled_from(["DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_NONE", "dcgm_x", "#", ""]),
            st.sampled_from(["gauge", " label", "x", '"']),
            st.text(max_size=10),
        ).map(",".join),
    ),
    max_size=6,
)


@given(ROWS)
def test_any_counters_file_is_read_or_told(rows: list[str]):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogatepass", suffix=".csv") as file:
        file.write("\n".join(rows))
        file.flush()
        told, chosen = file.name, {gpu.GPU_TEMP.name}
        try:
            chosen = set(read_counters(Path(file.name)).families)
        except InputError as error:
            told = str(error)
        assert told.startswith(file.name)
        assert chosen == {gpu.GPU_TEMP.name}
