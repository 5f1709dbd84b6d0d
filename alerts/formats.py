"""Rule groups in the forms of those who evaluate them. Imports alerts.rules, alerts.settings and PyYAML.

- prometheus: `rules.yaml`. Thanos' ruler reads the same file.
- vmalert: `rules.yaml` again, with rules that bear to see what others recorded an evaluation late (alerts.counts).
- operator: `prometheusrule.yaml`, PrometheusRule objects with the labels by which a Prometheus selects them.
- mimir: `mimir.yaml`, as `mimirtool rules load` takes it. Its defaults are 20 rules a group and 70 groups a tenant.

Decision (accepted). Context: one group an SLO lets rulers shard and keeps one SLO's trouble from another's, but 35 SLOs
fill a tenant of Mimir. Decision: a group an SLO unless `--pack` is given; packed groups hold whole groups of one
interval, in order, so that rules still see what those before them recorded. Constants read nothing and are put together
by themselves, which leaves room for a second SLO: about 55 SLOs fit. Consequences: packed SLOs wait for each other, and
an SLO that is taken away moves those behind it: their alerts begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from alerts.rules import HEADER, MAX_RULES, dump
from alerts.settings import Settings

FORMATS = ("prometheus", "operator", "mimir", "vmalert")
MAX_GROUPS = 70
"""Groups a tenant, as Mimir's ruler allows by default."""
MAX_OBJECT_BYTES = 400_000
"""Of one PrometheusRule. The operator puts it into one ConfigMap, of which it fills half a megabyte."""

RULES = Path("rules.yaml")
OPERATOR = Path("prometheusrule.yaml")
MIMIR = Path("mimir.yaml")
FILES = (RULES, OPERATOR, MIMIR)

Group = dict[str, Any]


def render(form: str, groups: Sequence[Group], settings: Settings) -> tuple[Path, str]:
    """(file name, text) of rule groups in one of FORMATS."""
    if form == "operator":
        return OPERATOR, HEADER + "---\n".join(dump(one) for one in _objects(groups, settings))
    if form == "mimir":
        return MIMIR, HEADER + dump({"namespace": settings.mimir.namespace, "groups": list(groups)})
    return RULES, HEADER + dump({"groups": list(groups)})


def pack(groups: Iterable[Group]) -> list[Group]:
    """Groups of the same interval put together, as many as fit into MAX_RULES, in order."""
    packed: dict[str, list[Group]] = {}

    def put(name: str, interval: str, rules: list[Any]) -> None:
        alike = packed.setdefault(name, [])
        if alike and len(alike[-1]["rules"]) + len(rules) <= MAX_RULES:
            alike[-1]["rules"] += rules
        elif rules:
            alike.append({"name": f"{name}-{len(alike) + 1}", "interval": interval, "rules": rules})

    for group in groups:
        interval, rules = group["interval"], group["rules"]
        put(f"gpufleet-constants-{interval}", interval, [rule for rule in rules if _constant(rule)])
        put(f"gpufleet-{interval}", interval, [rule for rule in rules if not _constant(rule)])
    return [group for alike in packed.values() for group in alike]


def _constant(rule: Mapping[str, Any]) -> bool:
    """Whether it reads no series."""
    return "record" in rule and str(rule["expr"]).startswith("vector(")


def too_many(groups: Sequence[Group], *, packed: bool) -> str:
    """What to know before Mimir refuses; empty where it does not."""
    if len(groups) <= MAX_GROUPS:
        return ""
    least = "" if packed else "write them with --pack, "
    return (
        f"{len(groups)} groups, and Mimir takes {MAX_GROUPS} a tenant unless told otherwise: {least}"
        f"raise ruler_max_rule_groups_per_tenant, or spread the SLOs over tenants"
    )


def read_groups(text: str) -> list[Group]:
    """The groups of a file in any of the forms. Raises yaml.YAMLError, and ValueError where it is none of them."""
    found: list[Group] = []
    try:
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
            found += document.get("spec", document)["groups"]
        for group in found:
            group["name"], [rule["expr"] for rule in group["rules"]]
    except (TypeError, KeyError, AttributeError):
        raise ValueError("not a rule file") from None
    return found


def _objects(groups: Sequence[Group], settings: Settings) -> Iterator[dict[str, object]]:
    """PrometheusRule objects, each small enough."""
    names = settings.operator
    for number, part in enumerate(_parts(groups)):
        name = names.name if number == 0 else f"{names.name}-{number + 1}"
        labels = {"app.kubernetes.io/name": "gpufleet", **names.labels}
        yield {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name, "namespace": names.namespace, "labels": labels},
            "spec": {"groups": part},
        }


def _parts(groups: Sequence[Group]) -> Iterator[list[Group]]:
    part: list[Group] = []
    size = 0
    for group in groups:
        bytes_ = len(dump(group).encode())
        if part and size + bytes_ > MAX_OBJECT_BYTES:
            yield part
            part, size = [], 0
        part.append(group)
        size += bytes_
    yield part
