"""Panels of a GPU's memory: how full, and how sound. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards.layout import Cell
from dashboards.look import RED, Look
from dashboards.panels import Query, stat
from dashboards.per_gpu import LEGEND, columns, figure, grown, lines, per_second
from dashboards.plots import while_wrong
from exporter.metrics import gpu


def memory_panels() -> list[Cell]:
    """How full it is, its errors, and the rows that had to be replaced."""
    return [
        Cell(
            lines(
                "Memory",
                "mbytes",
                "Used, free and reserved. Engines take nearly all at their start, so that full is normal under one: "
                "the KV cache on the inference board says what is in use. Use that grows under anything else is a "
                "leak.",
                {"used ": figure(gpu.FB_USED), "free ": figure(gpu.FB_FREE), "reserved ": figure(gpu.FB_RESERVED)},
            ),
            12,
            9,
        ),
        Cell(
            lines(
                "Memory errors",
                "ops",
                "ECC errors a second since the driver was loaded. Corrected ones cost nothing; many on one GPU come "
                "before worse. Any uncorrected one ended a process: drain the GPU and reset it.",
                {
                    "corrected ": f"{per_second(gpu.ECC_SBE_VOLATILE)} > 0",
                    "uncorrected ": f"{per_second(gpu.ECC_DBE_VOLATILE)} > 0",
                },
                no_value="No error, or no ECC",
            ),
            6,
            9,
        ),
        Cell(_remapped(), 3, 9),
        Cell(_remap_failed(), 3, 9),
        Cell(_soundness(), 24, 8),
        Cell(_sizes(), 24, 7),
    ]


def _remapped() -> grafana.Panel:
    kinds = {"uncorrectable": gpu.UNCORRECTABLE_REMAPPED_ROWS, "correctable": gpu.CORRECTABLE_REMAPPED_ROWS}
    return stat(
        title="Rows remapped in this time",
        unit="none",
        description="Rows of memory that were replaced in the time chosen. Any uncorrectable one: a reset makes it "
        "take effect, drain the GPU for it. More of them within weeks: ask the vendor for a replacement.",
        queries=[Query(f"{grown(family)} > 0", f"{word} {LEGEND}", instant=True) for word, family in kinds.items()],
        look=Look(((None, RED),), decimals=0, no_value="None"),
    )


def _remap_failed() -> grafana.Panel:
    return while_wrong(
        title="Row remap failed",
        description="GPUs that have no spare rows left for a bad one. Take such a GPU out of service and ask the "
        "vendor for a replacement: a reset does not help.",
        queries=[Query(f"{figure(gpu.ROW_REMAP_FAILURE)} == 1", LEGEND)],
        word="failed",
        no_value="None failed",
        value="1",
    )


def _soundness() -> grafana.Panel:
    return columns(
        "Is its memory wearing out?",
        "Errors and retired pages in the time chosen, what waits for a reset, and how many banks have how many spare "
        "rows left. A row or page that waits: reset the GPU at the next quiet hour. A bank with none left: the next "
        "bad row there cannot be replaced, ask the vendor now. ECC off on a serving GPU: switch it on.",
        {
            "ECC": figure(gpu.ECC_MODE),
            "Corrected": grown(gpu.ECC_SBE_AGGREGATE),
            "Uncorrected": grown(gpu.ECC_DBE_AGGREGATE),
            "Rows wait": figure(gpu.ROW_REMAP_PENDING),
            "Pages wait": figure(gpu.RETIRED_PENDING),
            "Pages retired, single bit": grown(gpu.RETIRED_SBE),
            "Pages retired, double bit": grown(gpu.RETIRED_DBE),
            "Banks with all spare rows": figure(gpu.BANKS_MAX),
            "Most": figure(gpu.BANKS_HIGH),
            "Some": figure(gpu.BANKS_PARTIAL),
            "Few": figure(gpu.BANKS_LOW),
            "None": figure(gpu.BANKS_NONE),
        },
    )


def _sizes() -> grafana.Panel:
    return columns(
        "How full it is now",
        "Memory and BAR1, the window through which other devices reach it. BAR1 that is full stops peer-to-peer "
        "transfers and RDMA: restart what holds it. GPUs of one replica should be filled alike.",
        {
            "Memory, MiB": figure(gpu.FB_TOTAL),
            "Used, %": f"100 * {figure(gpu.FB_USED_RATIO)}",
            "BAR1, MiB": figure(gpu.BAR1_TOTAL),
            "BAR1 used, MiB": figure(gpu.BAR1_USED),
            "BAR1 free, MiB": figure(gpu.BAR1_FREE),
        },
    )
