"""What one file of SLOs gave. Imports slo.model alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slo.model import Slo


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file gave: its usable SLOs, and its problems as `file:line: what is wrong, what to do`.

    `unsupported` are SLOs without fault that cannot be counted, with the reason; `notes` say what in a file of another
    format changes nothing here. Both as `file:line: …`.
    """

    path: Path
    slos: tuple[Slo, ...]
    problems: tuple[str, ...]
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
