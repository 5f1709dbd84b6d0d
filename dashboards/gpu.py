"""The node and GPU board: what is wrong with this hardware, whom does it hurt, and since when?

Imports the catalogue and the tools beside it. Its panels of figures are in figures.py.

Decision (accepted). Context: a fleet's GPUs are thousands of lines. Decision: the board opens with one node; links from
other boards name theirs, and more can be chosen. Consequences: what compares nodes is on the fleet board.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.figures import heat_panels, link_panels, memory_panels, work_panels
from dashboards.framing import framed
from dashboards.hardware import clock_events, hardware_annotations, health_timeline
from dashboards.layout import Cell, Section
from dashboards.links import GPU_UID, MODEL_BOARD_OF_ROW
from dashboards.panels import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Look,
    Query,
    link,
    state_timeline,
    table,
    value_mapping,
)
from exporter import xid
from exporter.metrics import gpu, health

RUNBOOK = link("Runbook", "${page:raw}/runbooks/GpuXidFatal.md")
"""Served by the SLO service beside the rules."""
XID_CATALOGUE = link("NVIDIA's XID catalogue", "https://docs.nvidia.com/deploy/xid-errors/")
ACTIONS = {"1": "GPU reset", "2": "reboot", "3": "drain P2P", "4": "drain and reset"}
"""What the driver can ask for, as the catalogue's family says it."""

_GPU = "cluster, node, gpu"
_XID_COLORS = {"fatal": RED, "hardware": RED, "warn": ORANGE, "app": YELLOW}


def gpu_board(*, page_url: str) -> grafana.Dashboard:
    """The board, the same for every fleet. `page_url` is the SLO service's address."""
    here = q.GPUS[-1]
    return framed(
        title="Node and GPU",
        uid=GPU_UID,
        description="One node's GPUs: health, errors, heat, work, memory, links, and who uses them.",
        hours=6,
        variables=[
            variables.datasource(),
            variables.cluster(str(health.SEEN)),
            variables.few_nodes(),
            variables.gpu(),
            variables.model_name(),
            variables.page(page_url),
        ],
        annotations=hardware_annotations(),
        sections=[
            Section(
                "Is it well?",
                [
                    Cell(health_timeline(here), 24, 7),
                    Cell(clock_events(here), 14, 7),
                    Cell(_recovery(), 10, 7),
                    Cell(_xids(), 12, 8),
                    Cell(_last_xids(), 12, 8),
                ],
            ),
            Section("Who uses it?", [Cell(_pods(), 12, 8), Cell(_engines(), 12, 8)]),
            Section("Is it hot, is it slow?", heat_panels()),
            Section("What is it doing?", work_panels()),
            Section("Is its memory sound?", memory_panels()),
            Section("Are its links sound?", link_panels()),
            Section("What do we not see?", [Cell(_missing(), 24, 8)]),
        ],
    )


def _recovery() -> grafana.Panel:
    asked = f"max by ({_GPU}) ({q.select(health.RECOVERY_ACTION, *q.GPUS)}) > 0"
    colors = {"1": ORANGE, "2": RED, "3": ORANGE, "4": RED}
    return state_timeline(
        title="Recovery that the driver asks for",
        unit="none",
        description="A row for each GPU whose driver asks for a reset, a reboot or a drain. It will not get well "
        "before: drain its workload and do what is asked, at the next quiet hour if the GPU still serves.",
        queries=[Query(asked, "{{cluster}} {{node}} GPU {{gpu}}")],
        look=Look(
            ((None, ORANGE),),
            mappings=[value_mapping({code: (text, colors[code]) for code, text in ACTIONS.items()})],
            no_value="Nothing asked for",
        ),
    )


def _xids() -> grafana.Panel:
    # A code is told from a count by its word, since Grafana maps values of all columns alike.
    new = f"sum by ({_GPU}, xid, class) ({q.increase(q.select(health.XID_ERRORS, *q.GPUS))}) > 0"
    texts = {f"XID {x.code}": (f"{x.code} {x.text}", _XID_COLORS.get(x.kind, GREY)) for x in xid.CATALOGUE.values()}
    return table(
        title="XID errors in this time",
        unit="short",
        description="New XID errors by GPU, code and class. fatal and hardware: drain the GPU and follow the "
        "runbook; app: the workload's own bug, give it to its owner; sympathetic: look at the other code of the "
        "same time.",
        columns={"New": f'label_replace({new}, "xid", "XID $1", "xid", "(.+)")'},
        look=Look(
            ((None, GREY),),
            decimals=0,
            mappings=[value_mapping(texts)],
            no_value="No XID errors",
            links=[RUNBOOK, XID_CATALOGUE],
        ),
        sort_by=("New", True),
    )


def _last_xids() -> grafana.Panel:
    by = f"{_GPU}, pci_bus_id, UUID, err_code, err_msg"
    return table(
        title="Last XID of each GPU",
        unit="none",
        description="The last XID that each GPU reported since its agent started, however long ago. Compare its bus "
        "address with the kernel's log of the node. For a case at the vendor, note the UUID.",
        columns={"Last XID": f"max by ({by}) ({q.select(gpu.XID_LAST, *q.GPUS)}) > 0"},
        hidden=["Last XID"],
        look=Look(((None, GREY),), no_value="No GPU has reported one", links=[RUNBOOK, XID_CATALOGUE]),
        sort_by=("gpu", False),
    )


def _pods() -> grafana.Panel:
    by = f"{_GPU}, namespace, pod, sharing"
    return table(
        title="Pods that hold it",
        unit="none",
        description="Pods that hold a GPU or a part of it, now. Tell their owners before draining. A GPU without a "
        "row is free, or its agent has no access to the kubelet.",
        columns={"Held": f"group by ({by}) ({q.owning_pod(q.select(gpu.POD_INFO, *q.GPUS))})"},
        hidden=["Held"],
        look=Look(((None, GREY),), no_value="No pod is known to hold a GPU"),
        sort_by=("gpu", False),
    )


def _engines() -> grafana.Panel:
    return table(
        title="Engines on it",
        unit="none",
        description="Replicas that run on these GPUs. If their model is slow and this GPU is ill, move the replica "
        "first; its board is a click away.",
        columns={"Seat": q.seats(q.GPUS[-1])},
        hidden=["Seat"],
        look=Look(((None, GREY),), no_value="No engine is known to run here", links=[MODEL_BOARD_OF_ROW]),
        sort_by=("gpu", False),
    )


def _missing() -> grafana.Panel:
    gone = f"max by ({_GPU}, family, reason) ({q.select(health.READING_MISSING, *q.GPUS)}) == 1"
    return table(
        title="Figures that a GPU does not give",
        unit="none",
        description="Figures that are absent, with the reason. unsupported: this model has none, nothing to do. "
        "no_permission: give the agent the rights its notes ask for. lost, timeout: see the health above. "
        "error: read the agent's log.",
        columns={"Missing": gone},
        hidden=["Missing"],
        look=Look(((None, GREEN),), no_value="Every figure is there"),
        sort_by=("reason", False),
    )
