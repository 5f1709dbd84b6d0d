"""vLLM under Ray: the page of a Ray node on which vLLM's figures stand, and what of it becomes which family.

Imports exporter.engines.vllm, exporter.engines.ray_serve and below. Ray prints vLLM's names with `ray_` before them and
`_` for `:` (until 2025 the `:` stayed), and adds its own labels. What is said in vllm.py of the figures holds here.

- One page has all replicas of a node. Their series are held apart by `dp_rank`, which is Ray's ReplicaId (before that
  label was there, the first eight letters of its WorkerId), with vLLM's own rank behind it where that is not 0. A sum
  over replicas would fall when one of them goes, and a counter that falls looks like one that began anew.
- HTTP is counted by Serve's proxy for the node (see ray_serve.py), not by vLLM, and carries the model's name where the
  node has one model alone. Serve's request times are left out: vLLM's are there.

What vLLM under Ray does not tell: its configuration, and when an engine's process started. Counters that never moved
are not printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.engines import ray_serve, vllm
from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import Finder, Found, index, named
from exporter.metrics import llm
from exporter.page import Layout


@dataclass(frozen=True, slots=True)
class VllmRay:
    """The reader of vLLM's figures on a Ray node's page."""

    kind: str = "vllm"
    serves_openai: bool = False  # the page is the node's, the API is Serve's

    def recognises(self, layout: Layout) -> bool:
        """A page with vLLM's names as Ray prints them."""
        return any(one.name.startswith(ray_serve.VLLM_PREFIXES) for one in layout.series)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        engines: dict[str, Found] = {}
        for name, found in page.items():
            prefix = next((prefix for prefix in ray_serve.VLLM_PREFIXES if name.startswith(prefix)), None)
            if prefix:
                engines[vllm.PREFIX + name.removeprefix(prefix)] = found
        models = named(engines, "model_name")
        builder = PlanBuilder(self.kind, replica, models)
        vllm.add_figures(Finder(engines, builder, _own))
        only_model = {llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {}
        serve = {name: found for name, found in page.items() if "http_request_latency" not in name}
        ray_serve.add_http(builder, serve, dict.fromkeys(named(serve, "application"), only_model))
        builder.ranks += vllm.ranks_of(engines, _who)
        return builder.build(len(layout.series))


ENGINE = VllmRay()


def _who(labels: Mapping[str, str]) -> str:
    """Which engine of the node a series is of."""
    replica = labels.get("ReplicaId") or labels.get("WorkerId", "")[:8]
    rank = labels.get("engine", "")
    return replica if rank in ("", "0") else f"{replica}-{rank}"


def _own(labels: Mapping[str, str]) -> dict[str, str] | None:
    return {"dp_rank": _who(labels), llm.MODEL_NAME_LABEL: labels.get("model_name", "")}
