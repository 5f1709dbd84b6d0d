"""Alertmanager's configuration as an AlertmanagerConfig of the Prometheus operator (v1alpha1).

Imports alerts.alertmanager, whose document it rewrites: there is one definition of routes and receivers. What receivers
read from files stands in one Secret here, each under its file's name.

The operator holds an AlertmanagerConfig to alerts of its own namespace unless the Alertmanager object says otherwise,
and alerts on SLOs have no namespace: `alertmanagerConfigMatcherStrategy: {type: None}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from alerts import alertmanager
from alerts.rules import HEADER, dump
from alerts.settings import Settings
from exporter.model import InputError
from slo.model import Slo

NOTE = "# The Alertmanager object needs alertmanagerConfigMatcherStrategy: {type: None}; the Secret holds the keys.\n"
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"', re.DOTALL)
_SECRETS = {
    "routing_key_file": "routingKey",
    "api_url_file": "apiURL",
    "auth_password_file": "authPassword",
}
_PAIRS = frozenset({"details", "headers"})
"""Mappings that are lists of key and value there."""
_RENAMED = {"client_url": "clientURL", "links": "pagerDutyLinkConfigs"}


def render(slos: Sequence[Slo], settings: Settings | None = None) -> str:
    """The object. Raises InputError for what it cannot say."""
    to = settings or Settings()
    if to.office_hours is not None and to.office_hours.time_zone != "UTC":
        raise InputError(
            f"office_hours: an AlertmanagerConfig has no time zones, and yours are in {to.office_hours.time_zone}: "
            "write them in UTC, or write --format prometheus and mount alertmanager.yml"
        )
    plain: Mapping[str, Any] = alertmanager.document(slos, to)
    spec = {
        "route": _route(plain["route"]),
        "inhibitRules": [
            {
                "sourceMatch": [_matcher(one) for one in rule["source_matchers"]],
                "targetMatch": [_matcher(one) for one in rule["target_matchers"]],
                "equal": rule["equal"],
            }
            for rule in plain["inhibit_rules"]
        ],
        "receivers": [_receiver(one, to) for one in plain["receivers"]],
    }
    if "time_intervals" in plain:
        spec["muteTimeIntervals"] = [_camel(one) for one in plain["time_intervals"]]
    names = to.operator
    document = {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": {
            "name": names.name,
            "namespace": names.namespace,
            "labels": {"app.kubernetes.io/name": "gpufleet", **names.labels},
        },
        "spec": spec,
    }
    return HEADER + NOTE + dump(document)


def _route(route: Mapping[str, Any]) -> dict[str, object]:
    found = _camel({key: value for key, value in route.items() if key not in ("matchers", "routes")})
    assert isinstance(found, dict)
    if "matchers" in route:
        found["matchers"] = [_matcher(one) for one in route["matchers"]]
    if "routes" in route:
        found["routes"] = [_route(one) for one in route["routes"]]
    return found


def _matcher(text: str) -> dict[str, str]:
    match = _MATCHER.fullmatch(text)
    assert match is not None, text
    label, op, value = match.groups()
    return {"name": label, "matchType": op, "value": re.sub(r"\\(.)", r"\1", value)}


def _receiver(receiver: Mapping[str, Any], settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {"name": receiver["name"]}
    for key, configs in receiver.items():
        if key == "name":
            continue
        written = [_config(config, settings) for config in configs]
        if key == "pagerduty_configs":
            written = [{**config, "url": settings.pagerduty_url} for config in written]
        found[_word(key)] = written
    return found


def _config(config: Mapping[str, Any], settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        if key in _SECRETS:
            found[_SECRETS[key]] = {"name": settings.operator.secret, "key": PurePosixPath(value).name}
        elif key in _PAIRS:
            found[key] = [{"key": name, "value": text} for name, text in value.items()]
        elif key == "links":
            found[_RENAMED[key]] = [{"href": link["href"], "alt": link["text"]} for link in value]
        else:
            found[_RENAMED.get(key, _word(key))] = value
    return found


def _camel(value: Any) -> Any:
    """Keys as Kubernetes writes them, all the way down."""
    if isinstance(value, Mapping):
        return {_word(key): _camel(one) for key, one in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list) else value


def _word(key: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), key)
