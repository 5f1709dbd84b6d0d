"""Ray Serve: the page of a Ray node, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names are those of ray/serve/_private/proxy_metrics.py in 2026, which Ray
prints with `ray_` before and, for counters, `_total` behind. Where vLLM runs under Ray its figures stand on the same
page; then exporter.engines.vllm_ray reads it.

- HTTP requests are counted by the node's proxy, over routes and methods; Serve's own routes (`/-/…`) are left out. The
  application stands as the model's name, since Serve knows of no model.
- The time of an HTTP request is in milliseconds and counts as request duration where it was answered with 2xx: a
  refusal is quick and would hide slow answers. It ends with the last byte of a stream.

What Ray Serve does not tell: TTFT, TPOT, inter-token latency and tokens; queue times; how requests ended. A
deployment's own counters (`serve_deployment_request_counter`) count one user's request once at every deployment it
passes, and its `processing_latency_ms` is the time in one of them, so neither is used. Requests to replicas past the
proxy (direct ingress) count on the page of the node where they ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import HTTP_CLASSES, Finder, Found, http_class, index, named
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "ray_serve_"
VLLM_PREFIXES = ("ray_vllm_", "ray_vllm:")
_REQUESTS = PREFIX + "num_http_requests_total"


@dataclass(frozen=True, slots=True)
class RayServe:
    """The one reader of Ray Serve without vLLM."""

    kind: str = "ray_serve"
    serves_openai: bool = False  # the page is the node's, the API is Serve's

    def recognises(self, layout: Layout) -> bool:
        """A Ray node's page with Serve's names and none of vLLM's."""
        names = {one.name for one in layout.series}
        serves = any(name.startswith(PREFIX) for name in names)
        return serves and not any(name.startswith(VLLM_PREFIXES) for name in names)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = {name: found for name, found in index(layout).items() if name.startswith(PREFIX)}
        applications = named(page, "application")
        builder = PlanBuilder(self.kind, replica, applications)
        add_http(builder, page, {application: {llm.MODEL_NAME_LABEL: application} for application in applications})
        return builder.build(len(layout.series))


ENGINE = RayServe()


def add_http(builder: PlanBuilder, page: Mapping[str, Found], own: Mapping[str, Mapping[str, str]]) -> None:
    """Requests by status class and their times, from the proxy. `own`: application → our labels."""
    for labels in own.values():
        for code in HTTP_CLASSES:
            builder.add_constant(0.0, llm.HTTP_REQUESTS, {**labels, "code": code})

    def count(labels: Mapping[str, str]) -> dict[str, str] | None:
        ours = own.get(labels.get("application", ""))
        serves_itself = labels.get("route", "").startswith("/-/")
        return None if ours is None or serves_itself else dict(ours)

    finder = Finder(page, builder, count)
    finder.by(llm.HTTP_REQUESTS, _REQUESTS, "code", http_class, "status_code")

    def answered(labels: Mapping[str, str]) -> dict[str, str] | None:
        return count(labels) if http_class(labels.get("status_code", "")) == "2xx" else None

    Finder(page, builder, answered).histogram(llm.REQUEST_DURATION, PREFIX + "http_request_latency_ms", per=1000)
