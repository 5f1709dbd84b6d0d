"""What was last seen of each GPU, from pages as an agent writes them."""

from __future__ import annotations

from typing import NamedTuple

from exporter.metrics import gpu, health
from slo.inventory import MOST_GONE, Inventory
from slo.observed import Scrape


class OneSeries(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]


def labels(uuid: str, **more: str) -> tuple[tuple[str, str], ...]:
    said = {"UUID": uuid, "gpu": uuid[-1], "node": "n1", "modelName": "H100", "pci_bus_id": "0:1"} | more
    return tuple(sorted(said.items()))


def page(*series: tuple[str, tuple[tuple[str, str], ...], float], time: float = 100.0, source: str = "a") -> Scrape:
    return Scrape(source, time, [OneSeries(*one[:2]) for one in series], [one[2] for one in series], object())


def ill(uuid: str, value: float = 0.0) -> tuple[str, tuple[tuple[str, str], ...], float]:
    return health.HEALTH.name, labels(uuid, check="thermal"), value


def test_a_gpu_is_told_with_its_checks_causes_and_figures():
    seen = Inventory()
    seen.feed(
        page(
            ill("GPU-3"),
            (health.HEALTH.name, labels("GPU-3", check="ecc"), 1.0),
            (health.CLOCK_EVENT_ACTIVE.name, labels("GPU-3", cause="hw_thermal"), 1.0),
            (health.CLOCK_EVENT_ACTIVE.name, labels("GPU-3", cause="gpu_idle"), 1.0),
            (health.CLOCK_EVENT_ACTIVE.name, labels("GPU-3", cause="sw_thermal"), 0.0),
            (gpu.GPU_TEMP.name, labels("GPU-3"), 91.0),
            (gpu.GPU_TEMP.name, labels("GPU-3", GPU_I_ID="1"), 12.0),
            ("llm_engine_up", (("target", "a:1"),), 1.0),
        )
    )
    one = seen.gpu("GPU-3")
    assert one is not None
    assert (one.index, one.node, one.model, one.time) == ("3", "n1", "H100", 100.0)
    assert one.checks == {"thermal": False, "ecc": True}
    assert (one.failing, one.causes) == (("thermal",), ("hw_thermal",))
    assert one.figures == {gpu.GPU_TEMP.name: 91.0}  # the instance's is not the GPU's


def test_a_later_page_of_the_same_layout_is_what_counts():
    seen = Inventory()
    first = page(ill("GPU-3"))
    seen.feed(first)
    seen.feed(Scrape("a", 105.0, first.series, [1.0], first.layout))
    one = seen.gpu("GPU-3")
    assert one is not None
    assert (one.failing, one.time) == ((), 105.0)


def test_a_gpu_that_left_its_page_is_remembered_as_it_was_until_it_is_back():
    seen = Inventory()
    seen.feed(page(ill("GPU-3"), ill("GPU-4", 1.0)))
    seen.feed(page(ill("GPU-4", 1.0), time=200.0))
    gone = seen.gpu("GPU-3")
    assert gone is not None
    assert (gone.time, gone.failing) == (100.0, ("thermal",))
    assert [one.uuid for one in seen.gpus()] == ["GPU-3", "GPU-4"]
    seen.feed(page(ill("GPU-3", 1.0), ill("GPU-4", 1.0), time=300.0))
    back = seen.gpu("GPU-3")
    assert back is not None
    assert (back.time, back.failing) == (300.0, ())


def test_a_gpu_that_moved_to_another_node_is_there():
    seen = Inventory()
    seen.feed(page(ill("GPU-3")))
    seen.feed(page((health.HEALTH.name, labels("GPU-3", check="ecc", node="n2"), 1.0), time=200.0, source="b"))
    seen.feed(page(ill("GPU-4"), time=300.0))
    one = seen.gpu("GPU-3")
    assert one is not None
    assert (one.node, one.time) == ("n2", 200.0)
    assert seen.gpu("GPU-9") is None


def test_of_gpus_without_end_those_that_left_last_are_remembered():
    seen = Inventory()
    step = MOST_GONE // 4
    for turn in range(6):
        seen.feed(page(*(ill(f"GPU-{turn}-{number}") for number in range(step)), time=100.0 + turn))
    assert len(seen.gpus()) == MOST_GONE + step
    assert seen.gpu("GPU-0-0") is None
    assert seen.gpu("GPU-1-0") is not None
