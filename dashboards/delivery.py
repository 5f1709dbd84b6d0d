"""Boards as the files that bring them to Grafana: plain JSON, with a provider for provisioning, as ConfigMaps.

Imports boards.py, check.py and PyYAML. Grafana's sidecar (of its Helm chart, and of kube-prometheus-stack) loads every
ConfigMap with the label `grafana_dashboard: "1"`, one board each.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import yaml

from dashboards.boards import to_text
from dashboards.check import MAX_BYTES
from dashboards.normalise import Json
from exporter.model import InputError

FOLDER = "gpufleet"
"""Where boards stand in Grafana."""
PROVIDER_FILE = "provider.yaml"
PROVISIONED_PATH = "/var/lib/grafana/dashboards/gpufleet"
"""Where the provider looks for boards unless told otherwise."""


class Form(StrEnum):
    """How boards are written."""

    JSON = "json"
    PROVISIONED = "provisioned"
    CONFIGMAPS = "configmaps"


def files(
    boards: Mapping[str, Json], form: Form = Form.JSON, *, folder: str = FOLDER, path: str = PROVISIONED_PATH
) -> dict[str, str]:
    """{name of the file: text}. Raises InputError for a board that no ConfigMap can hold."""
    if form is Form.CONFIGMAPS:
        return {f"{uid}.configmap.yaml": _config_map(uid, board, folder) for uid, board in boards.items()}
    found = {f"{uid}.json": to_text(board) for uid, board in boards.items()}
    if form is Form.PROVISIONED:
        found[PROVIDER_FILE] = provider(folder, path)
    return found


def provider(folder: str, path: str) -> str:
    """The file for Grafana's provisioning/dashboards: where the boards lie, and that Grafana does not change them."""
    one = {
        "name": FOLDER,
        "orgId": 1,
        "folder": folder,
        "type": "file",
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": path, "foldersFromFilesStructure": False},
    }
    return yaml.safe_dump({"apiVersion": 1, "providers": [one]}, sort_keys=False)


def _config_map(uid: str, board: Json, folder: str) -> str:
    text = to_text(board)
    if len(text.encode()) > MAX_BYTES:
        raise InputError(
            f"{uid}: over {MAX_BYTES // 1024} KiB, write boards for fewer SLO files: no ConfigMap holds it"
        )
    metadata = {"name": uid, "labels": {"grafana_dashboard": "1"}, "annotations": {"grafana_folder": folder}}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"{uid}.json": text}}
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.CSafeDumper):
    """Writes a board as a block, so that a difference can be read."""


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
