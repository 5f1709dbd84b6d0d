"""The kustomize base and what its overlays add, rendered from the chart: there is one definition of the objects.

Helm's own labels are taken off. Settings and SLO files come from generators of kustomize's, so ConfigMaps of the chart
are left out. Runs helm.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from tests.conftest import TOOLS
from tests.deploy.chart_values import CHART

Json = dict[str, Any]

FOLDER = "deploy/kustomize"
NAME = "gpufleet"
OPERATOR = "monitoring.coreos.com/"
_HEADER = "# Generated from deploy/helm/gpufleet, `make generate`; its templates say why things are as they are.\n"
_RELEASE = "release=kube-prometheus-stack"
_HELMS = ("app.kubernetes.io/managed-by", "helm.sh/chart")


def generate() -> dict[str, str]:
    """{path from the repository's root: text}."""
    plain, discovering = _rendered(), _rendered("agent.discovery.enabled=true")
    watched = _rendered(
        "agent.podMonitor.enabled=true",
        f"agent.podMonitor.labels.{_RELEASE}",
        "slo.serviceMonitor.enabled=true",
        f"slo.serviceMonitor.labels.{_RELEASE}",
        "prometheusRule.enabled=true",
        f"prometheusRule.labels.{_RELEASE}",
        "alertmanagerConfig.enabled=true",
    )
    written: dict[str, tuple[list[Json], Callable[[Json], bool]]] = {
        "base/gpufleet.yaml": (plain, lambda one: one["kind"] != "ConfigMap"),
        "components/discovery/access.yaml": (discovering, lambda one: one["kind"].startswith("ClusterRole")),
        "overlays/kube-prometheus-stack/monitors.yaml": (watched, lambda one: one["kind"].endswith("Monitor")),
        "overlays/kube-prometheus-stack/rules.yaml": (watched, lambda one: one["kind"] == "PrometheusRule"),
        "components/pagerduty/routes.yaml": (watched, lambda one: one["kind"] == "AlertmanagerConfig"),
    }
    texts = {f"{FOLDER}/{path}": _text(filter(wanted, objects)) for path, (objects, wanted) in written.items()}
    for settings, objects in (("base", plain), ("components/discovery", discovering)):
        [found] = [one for one in objects if one["kind"] == "ConfigMap" and "agent.yaml" in one["data"]]
        texts[f"{FOLDER}/{settings}/agent.yaml"] = found["data"]["agent.yaml"]
    slos = CHART / "files" / "slos" / "inference.yaml"
    return {**texts, f"{FOLDER}/base/slos/inference.yaml": slos.read_text(encoding="utf-8")}


@functools.cache
def _rendered(*values: str) -> list[Json]:
    """The chart's objects, as they are without Helm. Raises SystemExit where there is no helm."""
    helm = shutil.which("helm") or shutil.which("helm", path=str(TOOLS))
    if helm is None:
        raise SystemExit("helm is not on this machine: bash tests/tools.sh .venv/tools")
    options = [word for value in ("tests.enabled=false", *values) for word in ("--set", value)]
    command = [helm, "template", NAME, str(CHART), "--namespace", NAME, *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [_bare(one) for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def _bare(one: Json) -> Json:
    template = one.get("spec", {}).get("template", {})
    for metadata in filter(None, (one["metadata"], template.get("metadata"))):
        for label in _HELMS:
            metadata["labels"].pop(label, None)
    return one


class _Dumper(yaml.CSafeDumper):
    """Writes texts of several lines as blocks, and shared values in full."""

    def ignore_aliases(self, _data: object) -> bool:
        """No anchors: every object can be read on its own."""
        return True


def _string(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def _text(objects: Iterable[Json]) -> str:
    dumped = (yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000) for one in objects)
    return _HEADER + "---\n".join(dumped)
