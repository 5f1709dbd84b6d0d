"""The JSON Schema of one document of the native format, for editors. `python -m slo.spec.schema` writes schema.json.

Imports slo.spec.native alone. Editors complete a file that begins with
`# yaml-language-server: $schema=<where schema.json is>`.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from slo.spec import native

PATH = Path(__file__).with_name("schema.json")


def render() -> str:
    """The schema as it must stand in schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gpufleet SLO file"}
    found = schema | msgspec.json.schema(native.File)
    found["$defs"]["File"]["anyOf"] = [{"required": ["slos"]}, {"required": ["presets"]}]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def generate() -> dict[str, str]:
    """The generated file by its path from the repository's root."""
    return {"slo/spec/schema.json": render()}


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
