"""The values that the chart is rendered with in tests: every switch at least once on and once off.

Imports the writers of rules and boards, for what users hand in as text, and PyYAML.
"""

from __future__ import annotations

import copy
import functools
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import alertmanager_operator, rules
from alerts.settings import PagerDuty, Receiver, Settings, Webhook
from dashboards.boards import render as render_boards
from dashboards.boards import to_text
from slo.spec import load
from tests.deploy.chart_values import CHART

Json = dict[str, Any]

OWN = CHART.parent.parent.parent / "gpufleet" / "slos" / "chat.yaml"
NAMESPACE, RELEASE = "gpu-watch", "fleet"
_KPS = {"release": "kube-prometheus-stack"}
_TLS = {"ca": {"secret": {"name": "ca", "key": "ca.crt"}}, "serverName": "gpufleet"}
_LOGIN = {"username": {"name": "login", "key": "user"}, "password": {"name": "login", "key": "password"}}
_MONITOR = {"enabled": True, "labels": _KPS, "tlsConfig": _TLS, "basicAuth": _LOGIN}
_VOLUME = {
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "extraVolumes": [{"name": "more", "secret": {"secretName": "more"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/etc/gpufleet/more", "readOnly": True}],
    "podLabels": {"team": "infra"},
    "podAnnotations": {"note": "x"},
    "nodeSelector": {"pool": "gpu"},
    "affinity": {},
    "tolerations": [{"operator": "Exists"}],
    "priorityClassName": "high",
    "podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}},
    "securityContext": {"capabilities": {"drop": ["ALL"]}},
    "readinessProbe": {"exec": {"command": ["true"]}},
    "livenessProbe": {"failureThreshold": 9},
    "serviceAccount": {"create": True, "name": "named", "annotations": {"a": "b"}},
    "resources": {"limits": {"cpu": "1"}},
}


@functools.cache
def own_texts() -> Mapping[str, str]:
    """What users make of their SLO files and hand to the chart: rules, routes, a board. Cases name them."""
    slos = load([OWN])
    settings = Settings(
        receivers={
            "page": Receiver(pagerduty=PagerDuty("/etc/alertmanager/night.key")),
            "ticket": Receiver(webhook=Webhook("http://tickets.example/hook")),
        }
    )
    return {
        "<rules>": rules.render(slos),
        "<routes>": alertmanager_operator.render(slos, settings),
        "<board>": to_text(render_boards(slos)["gpufleet-slo"]),
    }


@functools.cache
def cases() -> Mapping[str, Json]:
    """Name → values."""
    return {
        "defaults": {},
        "with the operator": {
            "commonLabels": {"owner": "ml"},
            "links": {"page": "https://slo.example/", "board": "https://grafana.example/d/gpufleet-slo"},
            "agent": {"podMonitor": {"enabled": True, "labels": _KPS}, "networkPolicy": {"enabled": True}},
            "slo": {"serviceMonitor": {"enabled": True, "labels": _KPS}, "networkPolicy": {"enabled": True}},
            "prometheusRule": {"enabled": True, "labels": _KPS, "annotations": {"a": "b"}},
            "dashboards": {"enabled": True, "namespace": "grafana"},
            "alertmanagerConfig": {"enabled": True, "labels": {"alertmanager": "main"}, "secret": "pagerduty-keys"},
        },
        "an ordinary user": {
            "rbac": {"create": False},
            "agent": {"podResources": {"enabled": False}, "serviceAccount": {"create": False}, "runtimeClassName": ""},
            "slo": {"serviceAccount": {"create": False}, "persistence": {"enabled": False}},
            "tests": {"enabled": False},
        },
        "every privilege": {
            "agent": {
                "kernelLog": {"enabled": True},
                "hostPID": True,
                "hostNetwork": True,
                "podResources": {"labels": ["team"], "processes": True, "slices": True},
                "discovery": {"enabled": True, "kubernetes": {"label_selector": "app=vllm", "port": 8000}, "probe": {}},
                "statePath": "",
                "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
            },
            "slo": {"networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]}},
        },
        "MIG, without pods": {
            "agent": {"podResources": {"enabled": False}, "migMonitor": {"enabled": True}, "visibleDevices": "mount"}
        },
        "TLS": {
            "agent": {"web": {"secret": "agent-web", "tls": True}, "podMonitor": _MONITOR},
            "slo": {
                "web": {"secret": "slo-web", "tls": True},
                "httpConfigSecret": "asking",
                "serviceMonitor": {**_MONITOR, "honorLabels": False},
            },
        },
        "client certificates": {
            "agent": {
                "web": {"secret": "web", "tls": True, "clientCertificates": True},
                "podMonitor": {**_MONITOR, "honorLabels": False, "interval": "30s"},
            },
            "slo": {"web": {"secret": "web", "tls": True, "clientCertificates": True}},
        },
        "over a Prometheus": {
            "slo": {
                "replicas": 2,
                "prometheus": "http://prometheus.monitoring:9090",
                "tenant": "team-a",
                "paging": {
                    "alertmanagers": ["http://am-0:9093", "http://am-1:9093"],
                    "pagerdutyKeySecret": {"name": "pagerduty"},
                    "settings": {"cluster": "eu-1", "severities": {"page": "critical", "ticket": "warning"}},
                },
                "networkPolicy": {"enabled": True, "to": [{"ports": [{"port": 9090}]}]},
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
                ],
            },
        },
        "SLOs of others": {
            "slos": {"files": {"chat.yaml": OWN.read_text(), "more.yml": _AS_MAPPING}},
            "agent": {"podMonitor": {"enabled": True, "interval": "30s"}},
            "prometheusRule": {"enabled": True, "file": "<rules>"},
            "dashboards": {"enabled": True, "files": {"gpufleet-slo.json": "<board>"}},
            "alertmanagerConfig": {"enabled": True, "file": "<routes>"},
        },
        "SLOs in a ConfigMap": {
            "slos": {"existingConfigMap": "slos"},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "agents alone": {"slo": {"enabled": False}},
        "the service alone": {
            "agent": {"enabled": False},
            "slo": {
                "prometheus": "http://p:9090",
                "persistence": {"storageClassName": "fast", "whenDeleted": "Retain"},
            },
        },
        "agents of others": {
            "agent": {"enabled": False},
            "slo": {
                "agents": ["dns://gpufleet-agent.gpufleet.svc:9400", "https://host-1:9400"],
                "extraArgs": ["--shard=1/2"],
                "networkPolicy": {"enabled": True, "to": [{"ports": [{"port": 9400}]}]},
            },
        },
        "all else": {
            "nameOverride": "g",
            "fullnameOverride": "a-name-that-is-too-long-for-what-is-put-behind-it",
            "listenAddress": "[::]",
            "image": {
                "registry": "registry.example/team/",
                "pullSecrets": [{"name": "pull"}],
                "agent": {"digest": "sha256:" + "0" * 64},
                "slo": {"tag": "1.2.3"},
            },
            "agent": {
                **_VOLUME,
                "config": {
                    "interval": "10s",
                    "labels": {"zone": "a"},
                    "engines": [{"url": "http://10.0.0.1:8000", "probe": {"interval": "30s"}}],
                    "objectives": [{"id": "chat-ttft", "signal": "ttft", "threshold": "450ms"}],
                    "otlp": {"endpoint": "http://collector:4318/v1/metrics"},
                },
                "extraArgs": ["--gpu=none"],
                "port": 9401,
            },
            "slo": {
                **_VOLUME,
                "serviceAccount": {"name": "other"},
                "extraArgs": ["--shard=0/2"],
                "port": 9491,
                "startupProbe": {"failureThreshold": 9},
            },
        },
    }


_AS_MAPPING: Json = {
    "apiVersion": "gpufleet/v1",
    "service": "batch",
    "slos": [{"name": "e2e", "signal": "e2e", "threshold": "60s", "objective": "99%", "window": "7d"}],
}


def filled(values: Any) -> Any:
    """Values with the texts themselves."""
    if isinstance(values, dict):
        return {key: filled(value) for key, value in values.items()}
    return own_texts()[values] if isinstance(values, str) and values.startswith("<") else values


class Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a bare `=` is a string."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


class Helm:
    """The real helm, with this chart. What was rendered once is kept."""

    def __init__(self, binary: Callable[[str], str], folder: Path) -> None:
        self.path, self._folder = binary("helm"), folder
        self._kept: dict[str, list[Json]] = {}

    def run(self, *arguments: str, values: Json | None = None) -> subprocess.CompletedProcess[str]:
        """One command, with values from a file."""
        path = self._folder / "values.yaml"
        path.write_text(yaml.safe_dump(filled(values or {})), encoding="utf-8")
        command = [self.path, *arguments, "--values", str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def render(self, values: Json) -> list[Json]:
        """Every object of a release with these values."""
        done = self.run("template", RELEASE, str(CHART), "--namespace", NAMESPACE, values=values)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.load_all(done.stdout, Loader=Loader) if one]

    def case(self, name: str) -> list[Json]:
        """Of one of the cases."""
        if name not in self._kept:
            self._kept[name] = self.render(dict(cases()[name]))
        return copy.deepcopy(self._kept[name])

    def refusal(self, values: Json) -> str:
        """What helm says to values that it refuses."""
        done = self.run("template", RELEASE, str(CHART), values=values)
        assert done.returncode != 0, "these values were taken"
        return done.stderr


every_case = pytest.mark.parametrize("case", list(cases()))


def named(objects: list[Json], kind: str, suffix: str = "") -> Json:
    """The one object of a kind, or the one whose name ends so."""
    [found] = [one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(suffix)]
    return found


def pods(objects: list[Json]) -> Iterator[tuple[str, Json]]:
    """(component, spec) of every pod there would be."""
    for one in objects:
        template = one["spec"].get("template", one) if one["kind"] in ("DaemonSet", "StatefulSet", "Pod") else None
        if template is not None:
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"]
