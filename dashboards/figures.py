"""Panels of a GPU's figures over time: heat, clocks, power, work, memory, links. Imports the catalogue and the tools.

Names and units are dcgm-exporter's: MHz, MiB, mJ. What Grafana knows a unit for is scaled to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.panels import RED, Look, Query, stat, state_timeline, timeseries, value_mapping
from exporter.metrics import gpu, health, nvlink, profiling
from exporter.model import Family

MILLIJOULE_PER_WATT_HOUR = 3_600_000

_GPU = "cluster, node, gpu"
_LEGEND = "GPU {{gpu}} {{node}} {{cluster}}"


def heat_panels() -> list[Cell]:
    """Temperatures, clocks and power."""
    return [
        Cell(
            _lines(
                "Temperature",
                "celsius",
                "Of the GPU and of its memory. Near its limit a GPU takes its clocks back. Compare it with the GPUs "
                "beside it: one that is hotter has a fan, a pump or a cold plate to look at; all together are the "
                "room.",
                {"": _figure(gpu.GPU_TEMP), "memory ": _figure(gpu.MEMORY_TEMP)},
            ),
            12,
            9,
        ),
        Cell(
            _lines(
                "Clocks",
                "hertz",
                "SM and memory clocks. A busy GPU below its neighbours is held down: the timeline above says by "
                "what. Low clocks on an idle GPU are normal.",
                {
                    "SM ": f"1000000 * {_figure(gpu.SM_CLOCK)}",
                    "memory ": f"1000000 * {_figure(gpu.MEM_CLOCK)}",
                },
            ),
            12,
            9,
        ),
        Cell(
            _lines(
                "Power",
                "watt",
                "Power drawn now. A flat top is the power limit; power_cap beside it says how much of the time it was "
                "felt. A busy GPU far below its neighbours is waiting: for data, for another GPU, for clocks.",
                {"": _figure(gpu.POWER_USAGE)},
            ),
            8,
            9,
        ),
        Cell(_held_down(), 10, 9),
        Cell(_energy(), 6, 9),
    ]


def work_panels() -> list[Cell]:
    """How busy, as the driver says, and as the profiling counters do."""
    return [
        Cell(
            _lines(
                "Utilisation",
                "percent",
                "Share of time in which any kernel ran, in which memory was copied, and of the video engines. 100 % "
                "says busy, not well used: read it with the profiling figures beside it.",
                {
                    "": _figure(gpu.GPU_UTIL),
                    "memory copy ": _figure(gpu.MEM_COPY_UTIL),
                    "encoder ": _figure(gpu.ENC_UTIL),
                    "decoder ": _figure(gpu.DEC_UTIL),
                },
                maximum=100,
            ),
            12,
            9,
        ),
        Cell(
            _lines(
                "Profiling: engine, tensor pipe, memory interface",
                "percentunit",
                "Share of time that the parts work. Memory interface near its top: decoding is bound by bandwidth, "
                "larger batches or a smaller type help. Tensor pipe near its top: bound by compute. Both low while "
                "requests wait: the host or the network holds it up.",
                {
                    "engine ": _figure(profiling.GR_ENGINE_ACTIVE),
                    "tensor ": _figure(profiling.PIPE_TENSOR_ACTIVE),
                    "memory ": _figure(profiling.DRAM_ACTIVE),
                },
                maximum=1,
                no_value="No profiling figures: see what is missing, below",
            ),
            12,
            9,
        ),
    ]


def memory_panels() -> list[Cell]:
    """How full, and how many rows had to be remapped."""
    return [
        Cell(
            _lines(
                "Memory",
                "mbytes",
                "Used, free and reserved. Engines take nearly all at their start, so that full is normal under one: "
                "the KV cache on the inference board says what is in use. Use that grows under anything else is a "
                "leak.",
                {
                    "used ": _figure(gpu.FB_USED),
                    "free ": _figure(gpu.FB_FREE),
                    "reserved ": _figure(gpu.FB_RESERVED),
                },
            ),
            12,
            9,
        ),
        Cell(_remapped(), 6, 9),
        Cell(_remap_failed(), 6, 9),
    ]


def link_panels() -> list[Cell]:
    """PCIe and NVLink."""
    return [
        Cell(
            _lines(
                "PCIe",
                "Bps",
                "Bytes a second over PCIe, sent and received by the GPU. Steady traffic while serving means that "
                "cache or weights are offloaded to the host, or that GPUs talk over PCIe for want of NVLink.",
                {"sent ": _figure(profiling.PCIE_TX_BYTES), "received ": _figure(profiling.PCIE_RX_BYTES)},
            ),
            8,
            8,
        ),
        Cell(
            _lines(
                "PCIe replays",
                "ops",
                "Retries a second. A few at boot are harmless; a steady rate is a bad slot, riser or cable: reseat "
                "the card at the next chance and watch it.",
                {"": f"sum by ({_GPU}) ({q.rate(q.select(gpu.PCIE_REPLAY, *q.GPUS))}) > 0"},
                no_value="No replays",
            ),
            8,
            8,
        ),
        Cell(
            _lines(
                "NVLink bandwidth",
                "MBs",
                "All links of a GPU, both directions. The GPUs of one replica should run alike: one far below the "
                "others has a link down, and all wait for it.",
                {"": _figure(nvlink.NVLINK_BANDWIDTH)},
                no_value="No NVLink, or no figure of it",
            ),
            8,
            8,
        ),
    ]


def _figure(family: Family) -> str:
    return f"max by ({_GPU}) ({q.select(family, *q.GPUS)})"


def _lines(
    title: str,
    unit: str,
    description: str,
    expressions: Mapping[str, str],
    *,
    maximum: float | None = None,
    no_value: str = "No figure",
) -> grafana.Panel:
    """A line a GPU for each expression by its word in the legend."""
    return timeseries(
        title=title,
        unit=unit,
        description=description,
        queries=[Query(expr, f"{word}{_LEGEND}") for word, expr in expressions.items()],
        look=Look(color="palette-classic", minimum=0, maximum=maximum, no_value=no_value),
    )


def _held_down() -> grafana.Panel:
    held = f"sum by ({_GPU}, cause) ({q.rate(q.select(health.CLOCK_EVENT_SECONDS, *q.GPUS))}) > 0"
    return timeseries(
        title="Share of time that clocks were held down",
        unit="percentunit",
        description="By cause, as the driver counts it. power_cap near 100 % under load: raise the limit if the "
        "rack bears it, or accept the speed. Thermal causes and power brakes want hands: airflow, inlet "
        "temperature, power supply.",
        queries=[Query(held, f"{{{{cause}}}} {_LEGEND}")],
        look=Look(color="palette-classic", minimum=0, maximum=1, no_value="Never, or the driver does not count it"),
    )


def _energy() -> grafana.Panel:
    used = f"sum by (cluster, node) ({q.increase(q.select(gpu.TOTAL_ENERGY, *q.GPUS))}) / {MILLIJOULE_PER_WATT_HOUR}"
    return stat(
        title="Energy in this time",
        unit="watth",
        description="What the chosen GPUs used in the time chosen above, by node. Set it against the tokens of the "
        "same time before deciding that a node is expensive.",
        queries=[Query(used, "{{node}} {{cluster}}", instant=True)],
        look=Look(no_value="No figure"),
    )


def _remapped() -> grafana.Panel:
    kinds = {"uncorrectable": gpu.UNCORRECTABLE_REMAPPED_ROWS, "correctable": gpu.CORRECTABLE_REMAPPED_ROWS}
    return stat(
        title="Rows remapped in this time",
        unit="none",
        description="Rows of memory that were replaced in the time chosen. Any uncorrectable one: a reset makes it "
        "take effect, drain the GPU for it. More of them within weeks: ask the vendor for a replacement.",
        queries=[
            Query(
                f"sum by ({_GPU}) ({q.increase(q.select(family, *q.GPUS))}) > 0",
                f"{word} {_LEGEND}",
                instant=True,
            )
            for word, family in kinds.items()
        ],
        look=Look(((None, RED),), decimals=0, no_value="None"),
    )


def _remap_failed() -> grafana.Panel:
    return state_timeline(
        title="Row remap failed",
        unit="none",
        description="GPUs that have no spare rows left for a bad one. Take such a GPU out of service and ask the "
        "vendor for a replacement: a reset does not help.",
        queries=[Query(f"{_figure(gpu.ROW_REMAP_FAILURE)} == 1", _LEGEND)],
        look=Look(((None, RED),), mappings=[value_mapping({"1": ("failed", RED)})], no_value="None failed"),
    )
