"""Panels of XID errors and of what the driver asks for. Imports the agent's XID catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import GREY, ORANGE, RED, YELLOW, Look, link, value_mapping
from dashboards.panels import Query, state_timeline, table
from dashboards.per_gpu import GPU, grown
from dashboards.plots import listing
from exporter import xid
from exporter.metrics import gpu, health

OTHER_RUNBOOK = "GpuXidFatal"
"""Of the classes that alert nobody: it says what is to be done for every word of `action`."""
RUNBOOKS = {"hardware": "GpuXidHardware", "app": "GpuXidRepeated", "info": "GpuRecoveryNeeded"}
"""Class of an XID → the alert that treats it, whose name its runbook has; a test holds it against the alerts."""
RUNBOOK = link("Runbook", "${page:raw}/runbooks/${__data.fields.runbook}.md")
"""From a row with a runbook's name; served by the SLO service beside the rules."""
XID_CATALOGUE = link("NVIDIA's XID catalogue", "https://docs.nvidia.com/deploy/xid-errors/")
RECOVERY = {"1": "GPU reset", "2": "reboot", "3": "drain P2P", "4": "drain and reset"}
"""What the driver can ask for, as the catalogue's family says it."""

_COLORS = {"fatal": RED, "hardware": RED, "warn": ORANGE, "app": YELLOW}


def xid_panels() -> list[Cell]:
    """What was reported in the time chosen, and each GPU's last one."""
    return [Cell(_new(), 14, 8), Cell(_last(), 10, 8)]


def recovery() -> grafana.Panel:
    """What drivers ask for, over time."""
    asked = f"max by ({GPU}) ({q.select(health.RECOVERY_ACTION, *q.GPUS)}) > 0"
    colors = {"1": ORANGE, "2": RED, "3": ORANGE, "4": RED}
    return state_timeline(
        title="Recovery that the driver asks for",
        unit="none",
        description="A row for each GPU whose driver asks for a reset, a reboot or a drain. It will not get well "
        "before: drain its workload and do what is asked, at the next quiet hour if the GPU still serves.",
        queries=[Query(asked, "{{cluster}} {{node}} GPU {{gpu}}")],
        look=Look(
            ((None, ORANGE),),
            mappings=[value_mapping({code: (text, colors[code]) for code, text in RECOVERY.items()})],
            no_value="Nothing asked for",
        ),
    )


def texts() -> dict[str, tuple[str, str]]:
    """What stands for "XID 79" and for a word of `action`, each with its colour."""
    codes = {f"XID {x.code}": (f"{x.code} {x.text}", _COLORS.get(x.kind, GREY)) for x in xid.CATALOGUE.values()}
    return {**codes, **{word: (sentence, GREY) for word, sentence in xid.ACTIONS.items()}}


def _with_runbook(expr: str) -> str:
    """The series with a label `runbook`, by their label `class`."""
    expr = f'label_replace({expr}, "runbook", "{OTHER_RUNBOOK}", "", "")'
    for kind, name in RUNBOOKS.items():
        expr = f'label_replace({expr}, "runbook", "{name}", "class", "{kind}")'
    return expr


def _new() -> grafana.Panel:
    new = f"{grown(health.XID_ERRORS, f'{GPU}, xid, class')} > 0"
    info = f"group by (cluster, node, xid, action) ({q.select(health.XID_INFO, q.CLUSTER, q.NODE)})"
    told = (
        f"({new}) * on (cluster, node, xid) group_left (action) {info} or {new} unless on (cluster, node, xid) {info}"
    )
    # A code is told from a count by its word, since Grafana maps values of all columns alike.
    return table(
        title="XID errors in this time",
        unit="short",
        description="New XID errors by GPU, code and class, and what is to be done. fatal and hardware: drain the GPU "
        "and follow the runbook; app: the workload's own bug, give it to its owner; sympathetic: look at the other "
        "code of the same time. What the driver asks for above stands above the action here.",
        columns={"New": f'label_replace({_with_runbook(told)}, "xid", "XID $1", "xid", "(.+)")'},
        look=Look(
            ((None, GREY),),
            decimals=0,
            mappings=[value_mapping(texts())],
            no_value="No XID errors",
            links=[RUNBOOK, XID_CATALOGUE],
        ),
        sort_by=("New", True),
    )


def _last() -> grafana.Panel:
    coded = f'label_replace({q.select(gpu.XID_LAST, *q.GPUS)}, "xid", "$1", "err_code", "(.+)")'
    last = f"(max by ({GPU}, pci_bus_id, UUID, xid, err_msg) ({coded}) > 0)"
    info = f"group by (cluster, node, xid, class) ({q.select(health.XID_INFO, q.CLUSTER, q.NODE)})"
    told = f"{last} * on (cluster, node, xid) group_left (class) {info}"
    return listing(
        title="Last XID of each GPU",
        description="The last XID that each GPU reported since its agent started, however long ago. Compare its bus "
        "address with the kernel's log of the node. For a case at the vendor, note the UUID.",
        expr=_with_runbook(f"{told} or {last} unless on (cluster, node, xid) {info}"),
        no_value="No GPU has reported one",
        sort_by="gpu",
        links=[RUNBOOK, XID_CATALOGUE],
    )
