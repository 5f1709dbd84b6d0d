"""Every figure of a GPU, through the real nvidia-ml-py over nvml.h's layouts: value for value, unit for unit.

A family without a row here fails. Then what is read how often, and what is missing and why.
"""

from typing import Any

import pytest

from exporter.metrics import gpu, health, mig, nvlink, profiling
from exporter.model import Family
from exporter.simulation import driver
from exporter.simulation.world import ENVIRONMENT, Scenario
from exporter.sources.figure_rules import FAMILIES
from exporter.sources.nvml_fields import LINK_ERRORS, PCIE_ERRORS, held_fields
from exporter.sources.nvml_reading import Gpu
from tests.exporter.collecting import run, up
from tests.exporter.stub_driver import StubDriver

pytestmark = pytest.mark.real

GIB, MIB = 1 << 30, 1 << 20
ALL = "all"
NVLINK5 = {field: 1_000 * field for field in (201, 202, 203, 204, *range(206, 216), 219, 221)}
RARE = {
    **{f"field/{field}": 100 + field for field in (3, 4, 5, 6, 29, 30, 38, 45, 52, 59, 142, 143)},
    **{f"field/{field}": 1 for field in (31, 144, 145)},
    **{f"field/{field}": 5_000_000_000 + field for field in (*range(74, 82), 269, 270, 271)},
    **{f"field/{field}": 10 + field for field in PCIE_ERRORS.values()},
    **{f"field/{field}/{ALL}": value for field, value in NVLINK5.items()},
    **{f"field/{field}/3": 7 * field for field in LINK_ERRORS.values()},
    "field/165/5": 0,
    "field/138/3": 501,
    "field/139/3": 1_001,
    "field/230": 2,
    "nvmlDeviceGetFanSpeed": 33,
    "nvmlDeviceGetPerformanceState": 2,
    "nvmlDeviceGetCurrPcieLinkGeneration": 4,
    "nvmlDeviceGetCurrPcieLinkWidth": 8,
    **{
        f"nvmlDeviceGetRowRemapperHistogram/{name}": 10 + place for place, name in enumerate(("partial", "low", "none"))
    },
    "nvmlDeviceGetCurrentClocksEventReasons": 0x24,  # power cap, software thermal slowdown
    "nvmlDeviceGetGridLicensableFeatures/supported": 1,
    "nvmlDeviceGetGridLicensableFeatures/state": 2,
    "nvmlDeviceGetGpuFabricInfoV/clique": 9,
}
"""Figures that a healthy H200 does not have, or that are 0 there: each other than the next."""

Row = tuple[Family, dict[str, str], float]


def held(cause: str, field: int) -> Row:
    return health.CLOCK_EVENT_SECONDS, {"cause": cause}, (5_000_000_000 + field) / 1e9


ROWS: list[Row] = [
    (gpu.SM_CLOCK, {}, 1980),
    (gpu.MEM_CLOCK, {}, 3201),
    (gpu.MAX_SM_CLOCK, {}, 1985),
    (gpu.MAX_MEM_CLOCK, {}, 3202),
    (gpu.APP_SM_CLOCK, {}, 1975),
    (gpu.APP_MEM_CLOCK, {}, 3200),
    (gpu.MEMORY_TEMP, {}, 58),
    (gpu.GPU_TEMP, {}, 45),
    (gpu.TEMP_MARGIN, {}, 42),
    (gpu.SHUTDOWN_TEMP, {}, 92),
    (gpu.SLOWDOWN_TEMP, {}, 89),
    (gpu.MEM_MAX_TEMP, {}, 95),
    (gpu.GPU_MAX_TEMP, {}, 87),
    (gpu.POWER_USAGE, {}, 321.5),
    (gpu.POWER_INSTANT, {}, 333),
    (gpu.POWER_LIMIT_MIN, {}, 200),
    (gpu.POWER_LIMIT_MAX, {}, 700.5),
    (gpu.POWER_LIMIT_DEFAULT, {}, 700),
    (gpu.POWER_LIMIT_ENFORCED, {}, 650),
    (gpu.POWER_LIMIT, {}, 660),
    (gpu.TOTAL_ENERGY, {}, 123_456_789_000),
    (gpu.PCIE_REPLAY, {}, 3),
    (gpu.PCIE_LINK_GEN, {}, 4),
    (gpu.PCIE_LINK_WIDTH, {}, 8),
    (gpu.PCIE_MAX_LINK_GEN, {}, 5),
    (gpu.PCIE_MAX_LINK_WIDTH, {}, 16),
    (gpu.PCIE_SENT, {}, 5_000_000_000),
    (gpu.PCIE_RECEIVED, {}, 7_000_000_000),
    (gpu.PCIE_CORRECTABLE, {}, 183),
    *((gpu.PCIE_ERRORS, {"kind": kind}, 10 + field) for kind, field in PCIE_ERRORS.items()),
    (gpu.GPU_UTIL, {}, 97),
    (gpu.MEM_COPY_UTIL, {}, 41),
    (gpu.ENC_UTIL, {}, 7),
    (gpu.DEC_UTIL, {}, 8),
    (gpu.PSTATE, {}, 2),
    (gpu.FAN_SPEED, {}, 33),
    (gpu.VGPU_LICENSE, {}, 2),
    (gpu.FB_TOTAL, {}, 141 * 1024),
    (gpu.FB_FREE, {}, 40 * 1024),
    (gpu.FB_USED, {}, 100 * 1024),
    (gpu.FB_RESERVED, {}, 1024),
    (gpu.FB_USED_RATIO, {}, 100 / 140),
    (gpu.BAR1_TOTAL, {}, 256 * 1024),
    (gpu.BAR1_USED, {}, 2 * 1024),
    (gpu.BAR1_FREE, {}, 254 * 1024),
    (gpu.ECC_MODE, {}, 1),
    (gpu.ECC_SBE_VOLATILE, {}, 103),
    (gpu.ECC_DBE_VOLATILE, {}, 104),
    (gpu.ECC_SBE_AGGREGATE, {}, 105),
    (gpu.ECC_DBE_AGGREGATE, {}, 106),
    (gpu.RETIRED_SBE, {}, 129),
    (gpu.RETIRED_DBE, {}, 130),
    (gpu.RETIRED_PENDING, {}, 1),
    (gpu.CORRECTABLE_REMAPPED_ROWS, {}, 242),
    (gpu.UNCORRECTABLE_REMAPPED_ROWS, {}, 243),
    (gpu.ROW_REMAP_PENDING, {}, 1),
    (gpu.ROW_REMAP_FAILURE, {}, 1),
    (gpu.BANKS_MAX, {}, 1919),
    (gpu.BANKS_HIGH, {}, 1),
    (gpu.BANKS_PARTIAL, {}, 10),
    (gpu.BANKS_LOW, {}, 11),
    (gpu.BANKS_NONE, {}, 12),
    (gpu.POWER_VIOLATION, {}, 5_000_000_074),
    (gpu.THERMAL_VIOLATION, {}, 5_000_000_075),
    (gpu.SYNC_BOOST_VIOLATION, {}, 5_000_000_076),
    (gpu.BOARD_LIMIT_VIOLATION, {}, 5_000_000_077),
    (gpu.LOW_UTIL_VIOLATION, {}, 5_000_000_078),
    (gpu.RELIABILITY_VIOLATION, {}, 5_000_000_079),
    (gpu.APP_CLOCKS_VIOLATION, {}, 5_000_000_080),
    (gpu.BASE_CLOCKS_VIOLATION, {}, 5_000_000_081),
    held("power_cap", 74),
    held("thermal", 75),
    held("sw_thermal", 269),
    held("hw_thermal", 270),
    held("hw_power_brake", 271),
    (gpu.CLOCK_EVENT_REASONS, {}, 0x24),
    (health.CLOCK_EVENT_ACTIVE, {"cause": "power_cap"}, 1),
    (health.CLOCK_EVENT_ACTIVE, {"cause": "sw_thermal"}, 1),
    (health.CLOCK_EVENT_ACTIVE, {"cause": "hw_thermal"}, 0),
    (gpu.CLOCK_EVENTS, {"clock_event": "power_cap"}, 0),
    (gpu.XID_LAST, {}, 0),
    (health.RECOVERY_ACTION, {}, 2),
    (mig.MIG_MODE, {}, 0),
    (nvlink.LINK_UP, {"nvlink": "3"}, 1),
    (nvlink.LINK_UP, {"nvlink": "5"}, 0),
    (nvlink.LINK_SPEED, {}, 26_562e6),
    (nvlink.LINK_SENT, {"nvlink": "3"}, 501 * 1024),
    (nvlink.LINK_RECEIVED, {"nvlink": "3"}, 1_001 * 1024),
    *((nvlink.LINK_ERRORS, {"nvlink": "3", "kind": kind}, 7 * field) for kind, field in LINK_ERRORS.items()),
    (nvlink.NVLINK_BANDWIDTH, {}, round((3_000_000 - 30_000) * 1024 / 1e6 / 5)),
    (nvlink.CRC_FLIT, {}, 138),
    (nvlink.CRC_DATA, {}, 145),
    (nvlink.REPLAY, {}, 152),
    (nvlink.RECOVERY, {}, 159),
    (nvlink.TX_PACKETS, {}, 201_000),
    (nvlink.TX_BYTES, {}, 202_000),
    (nvlink.RX_PACKETS, {}, 203_000),
    (nvlink.RX_BYTES, {}, 204_000),
    (nvlink.RX_MALFORMED, {}, 206_000),
    (nvlink.RX_OVERRUN, {}, 207_000),
    (nvlink.RX_ERRORS, {}, 208_000),
    (nvlink.RX_REMOTE, {}, 209_000),
    (nvlink.RX_GENERAL, {}, 210_000),
    (nvlink.INTEGRITY, {}, 211_000),
    (nvlink.DISCARDS, {}, 212_000),
    (nvlink.RECOVERY_OK, {}, 213_000),
    (nvlink.RECOVERY_FAILED, {}, 214_000),
    (nvlink.RECOVERY_EVENTS, {}, 215_000),
    (nvlink.EFFECTIVE, {}, 219_000),
    (nvlink.RX_SYMBOL, {}, 221_000),
    (nvlink.FABRIC_STATUS, {}, 3),
    (nvlink.FABRIC_CLIQUE, {}, 9),
    (nvlink.FABRIC_HEALTH, {}, 0x1AA),
    (profiling.GR_ENGINE_ACTIVE, {}, 0.625),
    (profiling.SM_ACTIVE, {}, 0.55),
    (profiling.SM_OCCUPANCY, {}, 0.25),
    (profiling.PIPE_INT_ACTIVE, {}, 0.125),
    (profiling.PIPE_TENSOR_ACTIVE, {}, 0.21),
    (profiling.PIPE_TENSOR_DFMA, {}, 0.01),
    (profiling.PIPE_TENSOR_HMMA, {}, 0.2),
    (profiling.PIPE_TENSOR_IMMA, {}, 0.005),
    (profiling.DRAM_ACTIVE, {}, 0.34),
    (profiling.PIPE_FP64_ACTIVE, {}, 0.0025),
    (profiling.PIPE_FP32_ACTIVE, {}, 0.065),
    (profiling.PIPE_FP16_ACTIVE, {}, 0.035),
    (profiling.PCIE_TX_BYTES, {}, 2 * MIB),
    (profiling.PCIE_RX_BYTES, {}, 4 * MIB),
    (profiling.NVLINK_RX_BYTES, {}, 300 * MIB),
    (profiling.NVLINK_TX_BYTES, {}, 200 * MIB),
]
ELSEWHERE = {gpu.POD_INFO, gpu.DRIVER_INFO, mig.INSTANCE_INFO}
"""Families of these modules that are not a GPU's own: pods are test_attribution's, the others have tests below."""


def missing(page: Any, **labels: str) -> dict[str, str]:
    found = [dict(one) for one in page.get(health.READING_MISSING.name, {}) if set(labels.items()) <= set(one)]
    return {one["family"]: one["reason"] for one in found}


def test_every_family_of_a_gpu_has_a_row():
    rows = {family.name for family, _, _ in ROWS}
    assert set(FAMILIES) <= rows
    modules = (gpu, nvlink, profiling, mig)
    own = {one for module in modules for one in vars(module).values() if isinstance(one, Family)} - ELSEWHERE
    assert {one.name for one in own} <= rows


def test_every_figure_has_its_name_value_and_unit(stub_driver: StubDriver, until: Any):
    stub_driver.set(RARE)
    now = [100.0]
    source = stub_driver.source(clock=lambda: now[0])

    async def body() -> None:
        await until(source, up)
        stub_driver.set({"field/138/all": 2_000_000, "field/139/all": 1_000_000})
        now[0] += 5
        page = await until(source, up)
        for index in ("0", "1"):
            read = [(family.name, labels, page.all(family.name, gpu=index, **labels)) for family, labels, _ in ROWS]
            assert read == [(family.name, labels, [pytest.approx(value)]) for family, labels, value in ROWS]
        assert health.READING_MISSING.name not in page
        (labels,) = (dict(found) for found in page[gpu.GPU_TEMP.name] if ("gpu", "1") in found)
        assert labels == {
            "gpu": "1",
            "UUID": "GPU-00000001-0000-0000-0000-000000000000",
            "pci_bus_id": "00000000:3C:00.0",
            "device": "nvidia1",
            "modelName": "NVIDIA H200",
            "hostname": "n1",
            "node": "n1",
            "DCGM_FI_DRIVER_VERSION": "580.95.05",
        }
        versions = {"driver_version": "580.95.05", "nvml_version": "13.580.95.05", "cuda_version": "13.0"}
        assert page.all(gpu.DRIVER_INFO.name, node="n1", **versions) == [1]
        assert {dict(one)["nvlink"] for one in page[nvlink.LINK_UP.name]} == {str(link) for link in range(18)}

    run(source, body)


def test_a_healthy_gpu_says_which_figures_it_has_not(stub_driver: StubDriver, until: Any):
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        page = await until(source, up)
        lacking = {gpu.FAN_SPEED, nvlink.CRC_FLIT, nvlink.CRC_DATA, nvlink.REPLAY, nvlink.RECOVERY}
        assert missing(page, gpu="0") == {family.name: "unsupported" for family in lacking}

    run(source, body)


def test_what_a_generation_tells_in_other_figures_is_not_missing(stub_driver: StubDriver, until: Any):
    """Like a V100: it retires pages, remaps no rows, and has no NVLink 5. GPU 1 refuses retired pages for now."""
    links = [f"field/{field}/{link}" for field in (161, 162, 163, 165) for link in range(18)]
    remapping = [f"field/{field}" for field in (142, 143, 144, 145)]
    stub_driver.drop(*links, *remapping, *(key for key in stub_driver.state if "RowRemapper" in key))
    stub_driver.set({"field/29": 1, "field/30": 0, "field/31": 0, "field/29@1": "error 999", "field/30@1": "error 999"})
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        page = await until(source, up)
        first, second = missing(page, gpu="0"), missing(page, gpu="1")
        assert not {name for name in first if "REMAP" in name or "RETIRED" in name}
        assert first[nvlink.RX_ERRORS.name] == "unsupported", "it tells no errors of links at all"
        assert second[gpu.RETIRED_SBE.name] == "error"
        assert second[gpu.ROW_REMAP_FAILURE.name] == "unsupported"

    run(source, body)


def test_what_a_gpu_does_not_give_is_absent_and_says_why(stub_driver: StubDriver, until: Any):
    refused = {
        gpu.ENC_UTIL: {"nvmlDeviceGetEncoderUtilization": "error 3"},
        gpu.POWER_USAGE: {"field/185": "error 3", "nvmlDeviceGetPowerUsage": "error 4"},
        gpu.PCIE_REPLAY: {"field/94": "error 999"},
        gpu.MEMORY_TEMP: {"field/82": 0x7FFFFFF0},
        gpu.TOTAL_ENERGY: {"field/83": 0x7FFFFFFFFFFFFFF0},
        gpu.CORRECTABLE_REMAPPED_ROWS: {"field/142": 0xFFFFFFFF},
        gpu.PSTATE: {"nvmlDeviceGetPerformanceState": 32},
        gpu.BAR1_USED: {"nvmlDeviceGetBAR1MemoryInfo": "error 4"},
        profiling.PIPE_TENSOR_ACTIVE: {"gpm/5": "nan"},
        profiling.SM_ACTIVE: {"gpm/2": "error 3"},
        nvlink.FABRIC_STATUS: {"nvmlDeviceGetGpuFabricInfoV": "error 25"},
        mig.MIG_MODE: {"mig": "error 3"},
    }
    stub_driver.set({key: value for entries in refused.values() for key, value in entries.items()})
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        page = await until(source, up)
        found = missing(page, gpu="0")
        because = {gpu.POWER_USAGE: "no_permission", gpu.PCIE_REPLAY: "error", gpu.BAR1_USED: "no_permission"}
        for family in refused:
            assert page.all(family.name) == []
            assert found[family.name] == because.get(family, "unsupported")
        assert found.keys() >= {gpu.BAR1_TOTAL.name, nvlink.FABRIC_CLIQUE.name}
        assert page.one(gpu.GPU_TEMP.name, gpu="0") == 45

    run(source, body)


@pytest.mark.parametrize("answer", ["error 3", 0])
def test_power_comes_from_its_own_call_where_the_field_does_not_give_it(
    stub_driver: StubDriver, until: Any, answer: object
):
    stub_driver.set({"field/185": answer})
    source = stub_driver.source()

    async def body() -> None:
        for _ in range(2):
            page = await until(source, up)
            assert page.one(gpu.POWER_USAGE.name, gpu="0") == 320
            assert gpu.POWER_USAGE.name not in missing(page)

    run(source, body)


@pytest.mark.parametrize("answer", [{"nvmlGpmQueryDeviceSupport": 0}, {"nvmlGpmQueryDeviceSupport": "error 3"}])
def test_a_gpu_without_gpm_has_no_profiling_figures(stub_driver: StubDriver, until: Any, answer: dict[str, object]):
    stub_driver.set(answer)
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        page = await until(source, up)
        assert not [name for name in page if "_PROF_" in name]
        assert missing(page, gpu="0")[profiling.GR_ENGINE_ACTIVE.name] == "unsupported"

    run(source, body)


def test_a_driver_without_events_says_that_it_tells_no_xids(stub_driver: StubDriver, until: Any):
    stub_driver.set({"nvmlDeviceRegisterEvents": "error 3"})
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        for family in (gpu.XID_LAST, health.XID_ERRORS):
            assert missing(page, gpu="0")[family.name] == "unsupported"
            assert page.all(family.name) == []
        assert page.all(health.HEALTH.name, check="xid") == []

    run(source, body)


def test_a_card_without_nvlink_says_so_once_a_family(stub_driver: StubDriver, until: Any):
    stub_driver.drop("field/91", "field/138/all", "field/139/all")
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        families = (nvlink.LINK_UP, nvlink.LINK_SENT, nvlink.LINK_ERRORS, nvlink.NVLINK_BANDWIDTH)
        assert {missing(page, gpu="1")[family.name] for family in families} == {"unsupported"}
        assert [page.all(family.name) for family in families] == [[]] * len(families)

    run(source, body)


def test_figures_that_move_seldom_are_read_seldom_and_refused_ones_asked_again_later(
    stub_driver: StubDriver, until: Any
):
    now = [0.0]
    stub_driver.set({"gpus": 1, "nvmlDeviceGetEncoderUtilization": "error 3"})
    source = stub_driver.source(clock=lambda: now[0])

    async def seen(seconds: float, family: Family) -> list[float]:
        now[0] = seconds
        return list((await until(source, up)).all(family.name))

    async def body() -> None:
        assert await seen(0, gpu.PSTATE) == [0]
        stub_driver.set({"nvmlDeviceGetPerformanceState": 8, "nvmlDeviceGetTemperature/0": 50, "field/190": 500_000})
        stub_driver.set({"nvmlDeviceGetEncoderUtilization": 5, "field/6": 4})
        assert await seen(5, gpu.GPU_TEMP) == [50]
        assert await seen(10, gpu.PSTATE) == [0]
        assert await seen(25, gpu.ECC_DBE_AGGREGATE) == [0]
        assert await seen(30, gpu.PSTATE) == [8]
        assert await seen(35, gpu.ECC_DBE_AGGREGATE) == [4]
        assert await seen(295, gpu.POWER_LIMIT_ENFORCED) == [650]
        assert await seen(296, gpu.ENC_UTIL) == []
        assert await seen(300, gpu.POWER_LIMIT_ENFORCED) == [500]
        assert await seen(305, gpu.ENC_UTIL) == [5]

    run(source, body)


def test_clock_events_count_the_times_a_cause_began(stub_driver: StubDriver, until: Any):
    source = stub_driver.source()

    async def hold(reasons: int) -> dict[str, float]:
        stub_driver.set({"nvmlDeviceGetCurrentClocksEventReasons@0": reasons})
        page = await until(source, lambda page, _: page.all(gpu.CLOCK_EVENT_REASONS.name, gpu="0") == [reasons])
        return {
            dict(one)["clock_event"]: value for one, value in page[gpu.CLOCK_EVENTS.name].items() if ("gpu", "0") in one
        }

    async def body() -> None:
        assert set((await hold(0x20)).values()) == {0}  # it may have begun long ago
        assert (await hold(0x24))["power_cap"] == 1
        assert (await hold(0))["power_cap"] == 1
        counted = await hold(0x24)
        assert (counted["power_cap"], counted["sw_thermal"], counted["hw_slowdown"]) == (2, 1, 0)

    run(source, body)


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("570.172.08", None),
        ("575.51.03", 251),
        ("580.65.06", 251),
        ("580.76.05", None),
        ("580.82.07", 269),
        ("590.44.01", 269),
        ("", None),
    ],
)
def test_ids_that_were_renumbered_go_by_the_drivers_version(version: str, first: int | None):
    found = [field for field, _ in held_fields(version).values()]
    assert found == ([] if first is None else [first, first + 1, first + 2])


def test_a_driver_that_numbers_them_otherwise_is_asked_otherwise(stub_driver: StubDriver, until: Any):
    stub_driver.set({"driver": "575.51.03", "field/252": 3_000_000_000, "field/270": 9_000_000_000})
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        assert page.one(health.CLOCK_EVENT_SECONDS.name, gpu="0", cause="hw_thermal") == 3
        assert page.all(health.CLOCK_EVENT_SECONDS.name, gpu="0", cause="sw_thermal") == []

    run(source, body)


def test_an_xid_comes_through_the_binding_with_its_gpu(stub_driver: StubDriver, until: Any):
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        stub_driver.xid(1, 79)
        page = await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
        assert page.one(health.XID_ERRORS.name, gpu="1", xid="79") == 1
        assert page.one(health.XID_ERRORS.name, gpu="0", xid="79") == 0

    run(source, body)


def test_a_gpu_that_comes_back_is_read_whole(stub_driver: StubDriver, until: Any):
    source = stub_driver.source()

    async def body() -> None:
        await until(source, up)
        stub_driver.lose(1)
        page = await until(source, lambda page, _: 0 in page.all(health.HEALTH.name, check="lost", gpu="1"))
        assert page.all(gpu.POWER_LIMIT_ENFORCED.name, gpu="1") == []
        assert set(missing(page, gpu="1").values()) == {"lost"}
        assert set(missing(page, gpu="1")) >= set(FAMILIES)
        stub_driver.lose(1, yes=False)
        page = await until(source, lambda page, _: page.all(health.SEEN.name) == [2])
        assert page.one(gpu.POWER_LIMIT_ENFORCED.name, gpu="1") == 650
        assert page.one(nvlink.LINK_UP.name, gpu="1", nvlink="3") == 1

    run(source, body)


class Counting:
    """The simulated driver, which counts the calls that a real one would be asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(driver, name)
        if not name.startswith(("nvmlDevice", "nvmlGpmSampleGet", "nvmlGpmMetricsGet")):
            return found

        def counted(*arguments: Any) -> Any:
            self.calls += 1
            return found(*arguments)

        return counted


def test_a_collection_makes_few_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENVIRONMENT, Scenario().to_json())
    driver.nvmlInit()
    counting = Counting()
    gpus = [Gpu(counting, index, str(index), index=index, driver="580.95.05") for index in range(8)]
    per_collection = []
    for collection in range(61):
        before = counting.calls
        for one in gpus:
            one.read(5.0 * collection)
        per_collection.append((counting.calls - before) / len(gpus))
    first, later = per_collection[0], per_collection[1:]
    assert first < 40
    assert sum(later) / len(later) < 9, "each call more costs 0.03 % of a core on 8 GPUs at 5 s"
    assert max(later) < 20, "GPUs take turns"
