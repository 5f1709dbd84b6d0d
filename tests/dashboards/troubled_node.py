"""What the driver of a node says on which everything is wrong that can be, each on a GPU of its own. Made up.

Imports the stub of the driver. GPU 0 and 4 serve, 1 is cut, 2 has XIDs, 3 is held down, 4 has bad memory, 5 bad links,
6 is held and idle, 7 falls off the bus.
"""

from __future__ import annotations

from exporter import xid
from exporter.health import CLOCK_EVENTS
from exporter.sources.nvml_fields import LINK_ERRORS, NVLINK_TOTALS, PCIE_ERRORS
from tests.exporter.stub_driver import H200, LINKS, StubDriver, instances

CUT, XIDS, HELD_DOWN, BAD_MEMORY, BAD_LINKS, IDLE, LOST = range(1, 8)
GPUS, EXPECTED = 8, 9
PID = 90011
"""A process on the idle GPU, which two pods share."""
_ECC, _RETIRED, _REMAPPED = (3, 4, 5, 6), (29, 30), (142, 143)
_HELD = (*range(74, 82), *range(269, 272))
_OF_ONE_LINK = [field for field in LINK_ERRORS.values() if field < min(NVLINK_TOTALS.values())]


def well(node: int) -> dict[str, object]:
    """A node that has nothing, whose GPUs are those of no other number."""
    uuids = {f"uuid@{gpu}": f"GPU-{node:04d}{gpu:04d}-0000-0000-0000-000000000000" for gpu in range(GPUS)}
    return {**H200, **uuids, "gpus": GPUS, "nvmlDeviceGetFanSpeed": 30}


def first_state() -> dict[str, object]:
    """What is wrong from the start."""
    return {
        **well(0),
        **{key: value for key, value in instances(CUT, 2).items() if "gpu" not in key},
        f"name@{LOST}": "NVIDIA without a price",
        f"field/230@{XIDS}": 2,
        f"field/31@{BAD_MEMORY}": 1,
        **{f"field/{field}@{BAD_MEMORY}": 1 for field in (144, 145)},
        f"nvmlDeviceGetRowRemapperHistogram/none@{BAD_MEMORY}": 3,
        f"nvmlDeviceGetCurrPcieLinkWidth@{BAD_LINKS}": 8,
        f"nvmlDeviceGetGpuFabricInfoV/mask@{BAD_LINKS}": 1,
        f"nvmlDeviceGetUtilizationRates/gpu@{IDLE}": 0,
        f"pids@{IDLE}": PID,
        f"used/{PID}": 3 << 30,
        f"busy/{PID}": 25,
    }


def grown(seconds: float) -> dict[str, object]:
    """What counters say after so long."""
    steps = int(seconds)
    return {
        "field/83": 123_456_789_000 + 700_000 * steps,
        **{f"field/{field}": 5_000_000_000 + 1_000_000 * steps for field in (197, 198)},
        **{f"field/{field}/{link}": 500 + 10_000 * steps for field in (138, 139) for link in range(LINKS)},
        **{f"field/{field}@{HELD_DOWN}": 500_000_000 * steps for field in _HELD},
        **{f"field/{field}@{BAD_MEMORY}": steps for field in (*_ECC, *_RETIRED, *_REMAPPED)},
        **{f"field/{field}@{BAD_LINKS}": steps for field in (94, *PCIE_ERRORS.values())},
        **{f"field/{field}/{link}@{BAD_LINKS}": steps for field in _OF_ONE_LINK for link in range(2)},
    }


def break_down(driver: StubDriver) -> None:
    """All causes hold clocks down, a GPU is lost, and there is an XID of each class and one that nobody knows."""
    driver.set({f"nvmlDeviceGetCurrentClocksEventReasons@{HELD_DOWN}": sum(CLOCK_EVENTS.values())})
    driver.lose(LOST)
    kinds = {one.kind: one.code for one in xid.CATALOGUE.values()}
    for code in (*kinds.values(), 999):
        driver.xid(XIDS, code)
