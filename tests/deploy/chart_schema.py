"""values.schema.json of the chart, made of values.yaml: unknown keys are refused wherever we know all of them.

What a default does not tell of its type stands in _BY_KEY, which holds for every value of that name, and in _BY_PATH.
Settings of the agent, of alerts, and SLO files have the schemas of their own formats: a typing error is told by `helm
install`, not by a pod that does not start. Imports exporter.settings, alerts.settings and slo.spec.schema.

Draft 7 of JSON Schema, since Helm before 3.18 knows no later one.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from alerts.settings import Settings as AlertSettings
from exporter.settings import Settings as AgentSettings
from slo.spec import schema as slo_schema
from tests.deploy.chart_values import Value, values

Schema = dict[str, Any]

_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECT: Schema = {"type": "object"}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_STRINGS: Schema = {"type": "array", "items": {"type": "string"}}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECRET_KEY: Schema = {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"}
_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
_NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$", "maxLength": 253}
_LINK: Schema = {"type": "string", "pattern": "^(https?://[^\\s]+)?$"}
_PATH: Schema = {"type": "string", "pattern": "^/[^:]*$"}

_BY_KEY: dict[str, Schema] = {
    **dict.fromkeys(("labels", "annotations", "podLabels", "podAnnotations", "nodeSelector", "commonLabels"), _TEXTS),
    **dict.fromkeys(("affinity", "resources", "updateStrategy", "podSecurityContext", "securityContext"), _OBJECT),
    **dict.fromkeys(("startupProbe", "livenessProbe", "readinessProbe", "tlsConfig", "basicAuth"), _OBJECT),
    **dict.fromkeys(("tolerations", "extraEnv", "extraVolumes", "extraVolumeMounts", "pullSecrets"), _OBJECTS),
    **dict.fromkeys(("relabelings", "metricRelabelings", "topologySpreadConstraints", "from", "to"), _OBJECTS),
    "extraArgs": _STRINGS,
    "port": _PORT,
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    **dict.fromkeys(("interval", "scrapeTimeout"), _DURATION),
    **dict.fromkeys(
        ("secret", "httpConfigSecret", "existingConfigMap", "name", "nameOverride", "fullnameOverride"), _NAME
    ),
    **dict.fromkeys(("page", "runbooks", "prometheus"), _LINK),
    "whenDeleted": {"enum": ["Delete", "Retain"]},
    "key": _SECRET_KEY,
    "kubeletPath": _PATH,
    "terminationGracePeriodSeconds": {"type": "integer", "minimum": 0},
}
_BY_PATH: dict[str, Schema] = {
    "links.board": {"type": "string", "pattern": "^(https?://[^\\s]*/gpufleet-slo)?$"},
    "agent.config": {"$ref": "#/definitions/AgentSettings"},
    "agent.podResources.labels": _STRINGS,
    "agent.discovery.kubernetes": {"$ref": "#/definitions/AgentKubernetesSettings"},
    "agent.discovery.probe": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/AgentProbeSettings"}]},
    "agent.statePath": {"anyOf": [{"const": ""}, _PATH]},
    "agent.visibleDevices": {"enum": ["environment", "mount"]},
    "agent.podMonitor.interval": {"type": "string", "pattern": "^([1-9]|[1-9][0-9]|1[01][0-9]|120)s$"},
    "slo.agents": {"type": "array", "items": {"type": "string", "pattern": "^(https?|dns|dns\\+https)://[^\\s]+$"}},
    "slo.paging.alertmanagers": {"type": "array", "items": {"type": "string", "pattern": "^https?://[^\\s]+$"}},
    "slo.paging.settings": {"$ref": "#/definitions/AlertSettings"},
    "slo.persistence.accessModes": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "slo.persistence.size": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([KMGT]i?)?$"},
    "slo.replicas": {"type": "integer", "minimum": 0},
    "slos.files": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z0-9][-A-Za-z0-9._]*\\.ya?ml$"},
        "additionalProperties": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "if": {"properties": {"apiVersion": {"const": "gpufleet/v1"}}, "required": ["apiVersion"]},
                    "then": {"$ref": "#/definitions/File"},
                },
            ]
        },
    },
    "dashboards.files": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z0-9][-a-z0-9]*\\.json$"},
        "additionalProperties": {"type": "string"},
    },
}
_CHARTS_OWN = frozenset({"node", "listen", "state", "web_config", "kernel_log", "pods", "discovery"})
"""Settings of the agent that other values decide."""
_PLAIN: dict[type, str] = {bool: "boolean", int: "integer", str: "string"}


def render() -> str:
    """The schema as it must stand in values.schema.json."""
    root = _section("", values())
    # A chart that has this one as a part hands `global` down to it.
    root["properties"]["global"] = {"type": "object", "description": "Of a chart that this one is a part of."}
    found = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "gpufleet", **root}
    return json.dumps({**found, "definitions": _definitions()}, indent=1, ensure_ascii=False) + "\n"


def kind(value: Value) -> Schema:
    """The schema of one value, without its description. Raises LookupError where its default tells no type."""
    for table, key in ((_BY_PATH, value.path), (_BY_KEY, value.key)):
        if key in table:
            return table[key]
    if type(value.default) not in _PLAIN:
        raise LookupError(f"{value.path}: its default tells no type: add it to a table of chart_schema.py")
    return {"type": _PLAIN[type(value.default)]}


def _section(prefix: str, all_values: list[Value]) -> Schema:
    """One section: its values, and nothing else."""
    properties: Schema = {}
    for one in all_values:
        if not one.path.startswith(prefix) or "." in one.path.removeprefix(prefix):
            continue
        schema = _section(f"{one.path}.", all_values) if one.section else kind(one)
        if one.description:
            # Beside a reference draft 7 hears nothing else.
            schema = {"allOf": [schema]} if "$ref" in schema else schema
            schema = {"description": one.description, **schema}
        properties[one.key] = schema
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _definitions() -> Schema:
    """Schemas of the formats that values carry, those of settings with a prefix to their names."""
    of_agent = _durations(_structs(AgentSettings, "Agent"))
    settings = of_agent["AgentSettings"]
    settings["properties"] = {key: one for key, one in settings["properties"].items() if key not in _CHARTS_OWN}
    of_slos = json.loads(slo_schema.render().replace("#/$defs/", "#/definitions/"))["$defs"]
    return {**_strict(of_agent), **_strict(_structs(AlertSettings, "Alert")), **of_slos}


def _structs(root: type, prefix: str) -> Schema:
    _, found = msgspec.json.schema_components(
        [root], schema_hook=_anything, ref_template=f"#/definitions/{prefix}{{name}}"
    )
    return {f"{prefix}{name}": schema for name, schema in found.items()}


def _anything(kind: type) -> Schema:
    """What the agent's settings hold to no type: figures of a simulation."""
    assert kind is object, kind
    return {"type": ["string", "number", "boolean"]}


def _durations(schema: Any) -> Any:
    """Numbers as the agent's file has them: durations are words there."""
    if isinstance(schema, dict):
        if schema.get("type") == "number":
            return {**schema, "type": ["number", "string"]}
        return {key: _durations(value) for key, value in schema.items()}
    return [_durations(one) for one in schema] if isinstance(schema, list) else schema


def _strict(definitions: Schema) -> Schema:
    """Structs take their own keys and no others; defaults are told by their own documents."""
    for one in definitions.values():
        if "properties" in one:
            one["additionalProperties"] = False
            for field in one["properties"].values():
                field.pop("default", None)
    return definitions
