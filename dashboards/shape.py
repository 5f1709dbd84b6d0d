"""The shape a file must have before the rules look at it: what they read, and of which type. Imports msgspec alone."""

from __future__ import annotations

from typing import Any

import msgspec


class _Part(msgspec.Struct, rename="camel"):
    """Keys that no rule reads are let through."""


class _Target(_Part):
    expr: str = ""
    ref_id: str | None = None


class _Defaults(_Part):
    unit: str | None = None
    no_value: str | None = None


class _FieldConfig(_Part):
    defaults: _Defaults = msgspec.field(default_factory=_Defaults)


class _Panel(_Part):
    type: str
    title: str = ""
    description: str = ""
    targets: list[_Target] = []
    field_config: _FieldConfig = msgspec.field(default_factory=_FieldConfig)
    panels: list[_Panel] = []


class _Variable(_Part):
    name: str


class _Templating(_Part):
    items: list[_Variable] = msgspec.field(name="list", default_factory=list)


class _Annotation(_Part):
    expr: str = ""


class _Annotations(_Part):
    items: list[_Annotation] = msgspec.field(name="list", default_factory=list)


class _Board(_Part):
    panels: list[_Panel]
    uid: str = ""
    templating: _Templating = msgspec.field(default_factory=_Templating)
    annotations: _Annotations = msgspec.field(default_factory=_Annotations)


def misshapen(board: Any) -> str:
    """What is of the wrong type and where ("Expected `str`, got `null` - at `$.panels[0].title`"), or nothing."""
    try:
        msgspec.convert(board, _Board)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
