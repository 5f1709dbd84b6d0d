"""Panels of a GPU's figures over time: heat, clocks, power, work. Imports the catalogue and the tools beside it.

Names and units are dcgm-exporter's: MHz, MiB, mJ. What Grafana knows a unit for is scaled to it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import Look
from dashboards.panels import Query, stat
from dashboards.per_gpu import GPU, LEGEND, columns, figure, grown, lines, per_second
from dashboards.plots import plot
from exporter.metrics import gpu, health, profiling
from exporter.model import Family

MILLIJOULE_PER_WATT_HOUR = 3_600_000
NANOSECONDS = 1_000_000_000

_NODE = "cluster, node"


def heat_panels() -> list[Cell]:
    """Temperatures, clocks and power."""
    return [
        Cell(
            lines(
                "Temperature",
                "celsius",
                "Of the GPU and of its memory, and the least limits of the node's GPUs. Near its limit a GPU takes its "
                "clocks back. Compare it with the GPUs beside it: one that is hotter has a fan, a pump or a cold plate "
                "to look at; all together are the room.",
                {"": figure(gpu.GPU_TEMP), "memory ": figure(gpu.MEMORY_TEMP)},
                of_node={
                    "meant to work up to": _limit(gpu.GPU_MAX_TEMP),
                    "memory meant to work up to": _limit(gpu.MEM_MAX_TEMP),
                    "slows down at": _limit(gpu.SLOWDOWN_TEMP),
                    "shuts down at": _limit(gpu.SHUTDOWN_TEMP),
                },
            ),
            12,
            10,
        ),
        Cell(
            lines(
                "Clocks",
                "hertz",
                "SM and memory clocks, and the node's limits. A busy GPU below its neighbours is held down: the "
                "timeline above says by what. Below what was asked for by someone's setting: put it back. Low clocks "
                "on an idle GPU are normal.",
                {"SM ": f"1000000 * {figure(gpu.SM_CLOCK)}", "memory ": f"1000000 * {figure(gpu.MEM_CLOCK)}"},
                of_node={
                    "SM asked for": f"1000000 * {_limit(gpu.APP_SM_CLOCK)}",
                    "SM highest": f"1000000 * {_limit(gpu.MAX_SM_CLOCK)}",
                },
            ),
            12,
            10,
        ),
        Cell(
            lines(
                "Power",
                "watt",
                "Power drawn now, and the node's lowest limit in force. A flat top at the limit is the cap; power_cap "
                "beside it says how much of the time it was felt. A busy GPU far below its neighbours is waiting: for "
                "data, for another GPU, for clocks.",
                {"": figure(gpu.POWER_USAGE)},
                of_node={"limit": _limit(gpu.POWER_LIMIT_ENFORCED)},
            ),
            8,
            9,
        ),
        Cell(_held_down(), 8, 9),
        Cell(
            lines(
                "Degrees left before it slows down",
                "celsius",
                "What is left before heat costs speed, as the driver says it. Under 5 degrees: look at the airflow "
                "before the next hot day does.",
                {"": figure(gpu.TEMP_MARGIN)},
            ),
            8,
            9,
        ),
        Cell(_violations(), 8, 9),
        Cell(_clock_events(), 8, 9),
        Cell(_energy(), 8, 9),
        Cell(_limits(), 24, 7),
    ]


def work_panels() -> list[Cell]:
    """How busy, as the driver says, and as the profiling counters do."""
    return [
        Cell(
            lines(
                "Utilisation",
                "percent",
                "Share of time in which any kernel ran, in which memory was copied, and of the video engines. 100 % "
                "says busy, not well used: read it with the profiling figures beside it.",
                {
                    "": figure(gpu.GPU_UTIL),
                    "memory copy ": figure(gpu.MEM_COPY_UTIL),
                    "encoder ": figure(gpu.ENC_UTIL),
                    "decoder ": figure(gpu.DEC_UTIL),
                },
                maximum=100,
            ),
            8,
            9,
        ),
        Cell(
            lines(
                "Profiling: engine, SMs, tensor pipe, memory interface",
                "percentunit",
                "Share of time that the parts work. Memory interface near its top: decoding is bound by bandwidth, "
                "larger batches or a smaller type help. Tensor pipe near its top: bound by compute. Both low while "
                "requests wait: the host or the network holds it up. Few warps on busy SMs: small batches.",
                {
                    "engine ": figure(profiling.GR_ENGINE_ACTIVE),
                    "SMs ": figure(profiling.SM_ACTIVE),
                    "warps ": figure(profiling.SM_OCCUPANCY),
                    "tensor ": figure(profiling.PIPE_TENSOR_ACTIVE),
                    "memory ": figure(profiling.DRAM_ACTIVE),
                },
                maximum=1,
                no_value="No profiling figures: see what is missing, below",
            ),
            8,
            9,
        ),
        Cell(_pipes(), 8, 9),
    ]


def _limit(family: Family) -> str:
    return f"min by ({_NODE}) ({q.select(family, *q.GPUS)})"


def _pipes() -> grafana.Panel:
    kinds = {
        "tensor, floats": profiling.PIPE_TENSOR_HMMA,
        "tensor, integers": profiling.PIPE_TENSOR_IMMA,
        "tensor, fp64": profiling.PIPE_TENSOR_DFMA,
        "fp16": profiling.PIPE_FP16_ACTIVE,
        "fp32": profiling.PIPE_FP32_ACTIVE,
        "fp64": profiling.PIPE_FP64_ACTIVE,
        "integers": profiling.PIPE_INT_ACTIVE,
    }
    return plot(
        title="Profiling: pipes by kind of number",
        unit="percentunit",
        description="Mean over the node's chosen GPUs. A model that should run in a small type and shows fp32 is not "
        "using its quantised kernels: look at the engine's log for a fallback.",
        queries=[
            Query(f"avg by ({_NODE}) ({q.select(family, *q.GPUS)})", f"{word} {{{{node}}}} {{{{cluster}}}}")
            for word, family in kinds.items()
        ],
        maximum=1,
        no_value="No profiling figures by kind",
    )


def _held_down() -> grafana.Panel:
    held = f"sum by ({GPU}, cause) ({q.rate(q.select(health.CLOCK_EVENT_SECONDS, *q.GPUS))}) > 0"
    return plot(
        title="Share of time that clocks were held down",
        unit="percentunit",
        description="By cause, as the driver counts it. power_cap near 100 % under load: raise the limit if the "
        "rack bears it, or accept the speed. Thermal causes and power brakes want hands: airflow, inlet "
        "temperature, power supply.",
        queries=[Query(held, f"{{{{cause}}}} {LEGEND}")],
        maximum=1,
        no_value="Never, or the driver does not count it",
    )


def _violations() -> grafana.Panel:
    kinds = {
        "power": gpu.POWER_VIOLATION,
        "heat": gpu.THERMAL_VIOLATION,
        "board": gpu.BOARD_LIMIT_VIOLATION,
        "reliability": gpu.RELIABILITY_VIOLATION,
        "sync boost": gpu.SYNC_BOOST_VIOLATION,
    }
    return lines(
        "Share of time below its clocks, as DCGM counts it",
        "percentunit",
        "DCGM's older figures of the same. Where both stand, trust the one by cause above; where that is absent, the "
        "driver is older and this one is all there is.",
        {f"{word} ": f"{per_second(family)} / {NANOSECONDS} > 0" for word, family in kinds.items()},
        maximum=1,
        no_value="Never, or the driver does not count it",
    )


def _clock_events() -> grafana.Panel:
    began = f"{grown(gpu.CLOCK_EVENTS, f'{GPU}, clock_event')} > 0"
    return stat(
        title="Times that clocks were taken back",
        unit="none",
        description="How often each cause began in the time chosen. Often and short is a limit that is just met: a "
        "little more airflow or power ends it.",
        queries=[Query(began, f"{{{{clock_event}}}} {LEGEND}", instant=True)],
        look=Look(decimals=0, no_value="Never"),
    )


def _energy() -> grafana.Panel:
    used = f"{grown(gpu.TOTAL_ENERGY, _NODE)} / {MILLIJOULE_PER_WATT_HOUR}"
    return stat(
        title="Energy in this time",
        unit="watth",
        description="What the chosen GPUs used in the time chosen above, by node. Set it against the tokens of the "
        "same time before deciding that a node is expensive.",
        queries=[Query(used, "{{node}} {{cluster}}", instant=True)],
        look=Look(no_value="No figure"),
    )


def _limits() -> grafana.Panel:
    return columns(
        "State, fans and power limits",
        "P-state (0 is the fastest), fan and the limits of each GPU's power. GPUs of one kind should be alike: one "
        "whose limit is lower was set so by hand or by the board, and is slower under load. A busy GPU in a P-state "
        "above 2 is held back.",
        {
            "P-state": figure(gpu.PSTATE),
            "Fan, %": figure(gpu.FAN_SPEED),
            "Power now, W": figure(gpu.POWER_INSTANT),
            "Limit in force, W": figure(gpu.POWER_LIMIT_ENFORCED),
            "Limit asked for, W": figure(gpu.POWER_LIMIT),
            "Default, W": figure(gpu.POWER_LIMIT_DEFAULT),
            "Lowest, W": figure(gpu.POWER_LIMIT_MIN),
            "Highest, W": figure(gpu.POWER_LIMIT_MAX),
        },
    )
