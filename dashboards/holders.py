"""Panels of who uses a GPU: pods, jobs, engines, and the instances that MIG cuts it into.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import MODEL_BOARD_OF_ROW
from dashboards.look import GREY
from dashboards.panels import Query
from dashboards.per_gpu import GPU
from dashboards.plots import listing, plot
from exporter.metrics import gpu, mig, pod, profiling
from exporter.model import Family
from slo.scraped import workload

_INSTANCE = f"{GPU}, {gpu.INSTANCE_LABEL}, {gpu.PROFILE_LABEL}"
_POD = f"{GPU}, namespace, pod"
_IS_INSTANCE = f'{gpu.INSTANCE_LABEL}!=""'
_PLAIN = ((None, GREY),)


def holder_panels() -> list[Cell]:
    """Who holds the GPUs, and how much of a shared one each takes."""
    return [
        Cell(_pods(), 12, 8),
        Cell(_engines(), 12, 8),
        Cell(_share("Memory of pods on shared GPUs", "bytes", pod.MEMORY_USED), 8, 8),
        Cell(_share("Use by pods of shared GPUs", "percentunit", pod.UTILIZATION), 8, 8),
        Cell(_jobs(), 8, 8),
    ]


def mig_panels() -> list[Cell]:
    """Instances, and how busy and how full each is."""
    return [Cell(_instances(), 8, 8), Cell(_instance_work(), 8, 8), Cell(_instance_memory(), 8, 8)]


def _pods() -> grafana.Panel:
    by = f"{_INSTANCE}, namespace, pod, sharing"
    return listing(
        title="Pods that hold it",
        description="Pods that hold a GPU, or a part or an instance of it, now. Tell their owners before draining. A "
        "GPU without a row is free, or its agent has no access to the kubelet.",
        expr=f"group by ({by}) ({workload(q.select(gpu.POD_INFO, *q.GPUS))})",
        no_value="No pod is known to hold a GPU",
        sort_by="gpu",
    )


def _engines() -> grafana.Panel:
    return listing(
        title="Engines on it",
        description="Replicas that run on these GPUs. If their model is slow and this GPU is ill, move the replica "
        "first; its board is a click away.",
        expr=q.seats(q.GPUS[-1]),
        no_value="No engine is known to run here",
        sort_by="gpu",
        links=[MODEL_BOARD_OF_ROW],
    )


def _share(title: str, unit: str, family: Family) -> grafana.Panel:
    by = f"max by ({_POD}) ({workload(q.select(family, *q.GPUS))})"
    return plot(
        title=title,
        unit=unit,
        description="By the driver's list of processes. Where one pod takes what the others need, give it a GPU or a "
        "MIG instance of its own: sharing bounds neither memory nor time.",
        queries=[Query(by, "{{namespace}}/{{pod}} GPU {{gpu}} {{node}} {{cluster}}")],
        no_value="No GPU is shared, or processes are not read",
    )


def _jobs() -> grafana.Panel:
    return listing(
        title="Batch jobs on it",
        description="Jobs of the batch system that run on these GPUs. Hold the queue of the node before draining it.",
        expr=f"group by ({GPU}, {gpu.JOB_LABEL}) ({q.select(pod.JOB_INFO, *q.GPUS)})",
        no_value="No job, or jobs are not read",
        sort_by="gpu",
    )


def _instances() -> grafana.Panel:
    each = f"group by ({_INSTANCE}, mig_uuid) ({q.select(mig.INSTANCE_INFO, *q.GPUS)})"
    mode = f"max by ({GPU}) ({q.select(mig.MIG_MODE, *q.GPUS)})"
    return listing(
        title="MIG instances",
        description="GPUs that are cut into instances, and the instances. MIG on and no instance: the GPU serves "
        "nobody, cut it or switch MIG off.",
        expr=f"({mode} > 0) * on ({GPU}) group_right () {each} or {mode} > 0",
        no_value="No GPU is cut into instances",
        sort_by="gpu",
    )


def _instance_work() -> grafana.Panel:
    return plot(
        title="MIG instances: engine active",
        unit="percentunit",
        description="How busy each instance is. The driver has no utilisation of a GPU that is cut: this is it. An "
        "idle instance beside a full one: cut the GPU another way.",
        queries=[Query(_of_instance(profiling.GR_ENGINE_ACTIVE), _instance_legend())],
        maximum=1,
        no_value="No instances, or no profiling figures",
    )


def _instance_memory() -> grafana.Panel:
    return plot(
        title="MIG instances: memory used",
        unit="mbytes",
        description="Memory of each instance. Engines take nearly all of theirs at their start; use that grows "
        "elsewhere is a leak, and ends at the instance's size.",
        queries=[Query(_of_instance(gpu.FB_USED), _instance_legend())],
        no_value="No instances, or their figures are not read",
    )


def _of_instance(family: Family) -> str:
    return f"max by ({_INSTANCE}) ({q.select(family, *q.GPUS, _IS_INSTANCE)})"


def _instance_legend() -> str:
    return f"{{{{{gpu.PROFILE_LABEL}}}}} {{{{{gpu.INSTANCE_LABEL}}}}} GPU {{{{gpu}}}} {{{{node}}}} {{{{cluster}}}}"
