"""What each check of gpu_health goes by: figures in, verdict out, and no verdict where there are no figures."""

from typing import Any

import pytest

from exporter import health
from exporter.health import HealthWatch, XidWatch

WELL = {
    "clock_events": 0x5,
    "remap_pending": 0,
    "remap_failure": 0,
    "ecc_mode": 1,
    "ecc_dbe_volatile": 0,
    "ecc_sbe_volatile": 12,
    "pcie_link_width": 16,
    "pcie_max_link_width": 16,
    "pcie_link_gen": 5,
    "pcie_max_link_gen": 5,
    "gpu_util": 90,
    "pstate": 0,
    "fabric_state": 3,
    "fabric_status": 0,
    "fabric_health_mask": 0b01_10_10_10_10,
    "nvlink_state/0": 1,
    "nvlink_state/1": 1,
    "nvlink_state/2": 0,
    "nvlink_errors/crc/0": 7,
    "nvlink_errors/recovery/0": 3,
}
BY_FIGURES = set(health.CHECKS) - {health.DRIVER_UNRESPONSIVE, health.LOST, health.XID}


def failing(watch: HealthWatch, now: float = 0.0, **figures: Any) -> set[str]:
    return {check for check, healthy in watch.verdicts({**WELL, **figures}, now).items() if not healthy}


def test_a_gpu_that_is_well_passes_every_check():
    assert HealthWatch(set()).verdicts(WELL, 0.0) == dict.fromkeys(BY_FIGURES, True)


def test_a_check_without_its_figures_is_not_made():
    assert HealthWatch(set()).verdicts({}, 0.0) == {}
    assert HealthWatch(set()).verdicts({**WELL, "fabric_state": 0, "ecc_mode": 0}, 0.0).keys() == BY_FIGURES - {
        health.FABRIC,
        health.ECC,
    }


@pytest.mark.parametrize(
    ("figures", "check"),
    [
        ({"clock_events": 0x20}, health.THERMAL),
        ({"clock_events": 0x40}, health.THERMAL),
        ({"clock_events": 0x80}, health.POWER),
        ({"remap_pending": 1}, health.ROW_REMAP),
        ({"remap_failure": 1}, health.ROW_REMAP),
        ({"ecc_dbe_volatile": 1}, health.ECC),
        ({"retired_pending": 1}, health.ECC),
        ({"pcie_link_width": 8}, health.PCIE),
        ({"pcie_link_width": 8, "gpu_util": 0, "pstate": 8}, health.PCIE),
        ({"fabric_status": 999}, health.FABRIC),
        ({"fabric_health_mask": 0b01}, health.FABRIC),
        ({"fabric_health_mask": 0b01_00_00}, health.FABRIC),
        ({"fabric_health_mask": 0b01_00_00_00}, health.FABRIC),
        ({"fabric_health_mask": 2 << 8}, health.FABRIC),
    ],
)
def test_one_figure_fails_one_check(figures: dict[str, float], check: str):
    assert failing(HealthWatch(set()), **figures) == {check}


def test_a_power_cap_and_corrected_errors_fail_nothing():
    assert failing(HealthWatch(set()), clock_events=0x4, ecc_sbe_volatile=4000) == set()


def test_a_link_that_was_active_and_is_not_fails_until_it_is_back():
    links: set[int] = set()
    watch = HealthWatch(links)
    assert failing(watch) == set()
    assert failing(watch, **{"nvlink_state/1": 0}) == {health.NVLINK}
    assert links == {0, 1}
    assert failing(HealthWatch(links), **{"nvlink_state/1": 0}) == {health.NVLINK}, "over a restart"
    assert failing(watch) == set()


def test_links_that_never_were_active_are_no_fault():
    idle = {f"nvlink_state/{link}": 0 for link in range(3)}
    assert health.NVLINK not in HealthWatch(set()).verdicts({**WELL, **idle}, 0.0)


@pytest.mark.parametrize(
    ("kind", "fails"), [("recovery", True), ("malformed", True), ("crc", False), ("symbol", False)]
)
def test_errors_that_a_healthy_link_does_not_have_fail_for_a_while(kind: str, fails: bool):
    watch = HealthWatch(set())
    key = f"nvlink_errors/{kind}/1"
    assert failing(watch, 0.0, **{key: 40}) == set(), "what happened before is not growth"
    assert failing(watch, 5.0, **{key: 41}) == ({health.NVLINK} if fails else set())
    assert failing(watch, 5.0 + health.GROWTH_SECONDS, **{key: 41}) == ({health.NVLINK} if fails else set())
    assert failing(watch, 6.0 + health.GROWTH_SECONDS, **{key: 41}) == set()
    assert failing(watch, 400.0, **{key: 0}) == set(), "counters that were reset"


def test_a_low_generation_fails_only_where_it_stays_low_under_load():
    watch = HealthWatch(set())
    idle = {"pcie_link_gen": 1, "gpu_util": 0, "pstate": 8}
    for now in (0.0, 1000.0):
        assert failing(watch, now, **idle) == set(), "idle GPUs lower it to save power"
    busy = {"pcie_link_gen": 1}
    assert failing(watch, 1001.0, **busy) == set(), "the generation may have been read while it was idle"
    assert failing(watch, 1001.0 + health.PCIE_SLOW_SECONDS, **busy) == {health.PCIE}
    assert failing(watch, 1100.0) == set()
    assert failing(watch, 1101.0, **busy) == set()


def test_a_fabric_that_is_not_joined_in_time_fails():
    watch = HealthWatch(set())
    for state in (1, 2):
        assert health.FABRIC not in watch.verdicts({**WELL, "fabric_state": state}, 0.0)
    assert failing(watch, health.FABRIC_GRACE_SECONDS + 1, fabric_state=2) == {health.FABRIC}
    assert failing(watch, 400.0) == set()
    assert failing(watch, 401.0, fabric_state=2) == set(), "the grace begins anew"


def test_memory_errors_by_xid_fail_ecc_too():
    watch = XidWatch()
    watch.happened(95)
    assert health.of_xids(watch, {health.ECC: True}, seen=True) == {health.ECC: False, health.XID: False}


def test_where_no_xid_can_be_seen_none_is_no_good_sign():
    watch = XidWatch()
    assert health.of_xids(watch, {}, seen=False) == {}
    watch.driver_asks(2)
    assert health.of_xids(watch, {}, seen=False) == {health.XID: False}
