"""The OpenAPI document: operations written by hand, schemas made from slo.objects. A test holds it to the routes."""

from __future__ import annotations

from typing import Any

import msgspec

from slo.attribution import BY
from slo.hardware_objects import HardwareObject
from slo.objects import AttributionObject, ErrorObject, ExclusionList, Health, History, SloList, SloObject

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"


def _param(name: str, where: str, text: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": where, "required": required, "description": text, "schema": schema}


_ID = _param("id", "path", "`<service>-<name>`", {"type": "string"}, required=True)
_GROUP = {
    "name": "group",
    "in": "query",
    "style": "deepObject",
    "description": "One of several groups, written `group.<label>=<value>`; needed where an SLO has more than one.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_WINDOW = _param(
    "window",
    "query",
    "How far back, like 5m, 1h or 30d; the SLO's own window unless told otherwise.",
    {"type": "string"},
)

_BACK = _param("window", "query", "How far back, from 5m up; 1d unless told otherwise.", {"type": "string"})
_UUID = _param("key", "path", "The GPU's UUID", {"type": "string"}, required=True)
_NODE = _param("key", "path", "The node's name", {"type": "string"}, required=True)


def _answer(text: str, body: type) -> Json:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": _REF.format(name=body.__name__)}}},
    }


def _get(summary: str, body: type, parameters: tuple[Json, ...] = (), failures: tuple[str, ...] = ()) -> Json:
    texts = {"400": "A parameter is wrong", "404": "No such SLO or group", "503": "Not ready, or failing"}
    responses = {"200": _answer("OK", body)}
    for code in failures:
        responses[code] = _answer(texts[code], Health if code == "503" else ErrorObject)
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}


def _text(summary: str, media: str) -> Json:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK", "content": {media: {}}}}}}


def document() -> Json:
    """The whole document, as JSON values."""
    limit = _param("limit", "query", "Objects a page, 1 to 1000.", {"type": "integer", "minimum": 1, "maximum": 1000})
    cursor = _param("cursor", "query", "`next` of the page before.", {"type": "string"})
    until = _param("until", "query", "Where the window ends, RFC 3339; now unless told.", {"type": "string"})
    by = _param("by", "query", "What spenders are told apart by.", {"type": "string", "enum": list(BY)}, required=True)
    one = ("400", "404")
    _, schemas = msgspec.json.schema_components(
        [SloList, SloObject, History, ExclusionList, AttributionObject, HardwareObject, Health, ErrorObject],
        ref_template=_REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gpufleet SLO service",
            "version": "1.0",
            "description": "Error budgets, burn rates, and who spent them. Read only.",
        },
        "paths": {
            "/api/v1/slos": _get("All SLOs, worst first", SloList, (limit, cursor), ("400",)),
            "/api/v1/slos/{id}": _get("One SLO, or one group of it", SloObject, (_ID, _GROUP), one),
            "/api/v1/slos/{id}/history": _get("What was counted, in steps", History, (_ID, _GROUP, _WINDOW), one),
            "/api/v1/slos/{id}/attribution": _get(
                "Who spent the budget", AttributionObject, (_ID, _GROUP, by, _WINDOW, until), one
            ),
            "/api/v1/gpus/{key}": _get("One GPU and what it spent of every SLO", HardwareObject, (_UUID, _BACK), one),
            "/api/v1/nodes/{key}": _get("One node and what it spent of every SLO", HardwareObject, (_NODE, _BACK), one),
            "/api/v1/exclusions": _get("What was left out of budgets, and why", ExclusionList),
            "/healthz": _get("Whether the service works", Health, (), ("503",)),
            "/readyz": _get("Whether budgets have been computed", Health, (), ("503",)),
            "/metrics": _text("Budgets and burn rates for Prometheus", "text/plain"),
            "/openapi.json": _text("This document", "application/json"),
        },
        "components": {"schemas": schemas},
    }
