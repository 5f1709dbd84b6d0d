"""SLO files for engines that nobody has written any for: one service a model, from what the engine's page says.

Imports the catalogue and gpufleet.discovery. The files are ordinary ones, read like any other, so that people can
take them as a start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from exporter.metrics.llm import MODEL_NAME_LABEL, TARGET_LABEL
from gpufleet.discovery import FoundEngine

_LONGEST_NAME = 40


def text(engines: Sequence[FoundEngine]) -> str:
    """One YAML document for each model served; an engine that did not say what it serves is selected by its target."""
    services: dict[str, dict[str, str]] = {}
    for engine in engines:
        for model in engine.models:
            selector = {MODEL_NAME_LABEL: model}
            services[_free(model, services, selector)] = selector
        if not engine.models:
            selector = {TARGET_LABEL: engine.target}
            services[_free(f"engine-{engine.target}", services, selector)] = selector
    return _HEAD + "---\n".join(_document(name, selector) for name, selector in services.items())


_HEAD = """\
# Written by `gpufleet up` at each start, from what the engines said they serve.
# To have your own: copy this file to a directory, change it, and give the directory with --slos.
"""


def _document(service: str, selector: dict[str, str]) -> str:
    return f"""\
apiVersion: gpufleet/v1
service: {service}
selector: {json.dumps(selector)}
slos:
  - {{name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}}
  - {{name: tpot, signal: tpot, threshold: 50ms, objective: 95%, window: 30d}}
  - {{name: availability, signal: availability, objective: 99.9%, window: 30d}}
"""


def _free(wanted: str, taken: dict[str, dict[str, str]], selector: dict[str, str]) -> str:
    """A service's name, like a DNS label, that no other selector has."""
    base = re.sub(r"[^a-z0-9]+", "-", wanted.rsplit("/", 1)[-1].lower()).strip("-")[:_LONGEST_NAME].strip("-")
    base = base if base[:1].isalpha() else f"model-{base}".strip("-")
    name, number = base, 1
    while name in taken and taken[name] != selector:
        number += 1
        name = f"{base}-{number}"
    return name
