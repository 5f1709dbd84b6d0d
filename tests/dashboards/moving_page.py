"""A recorded page of an engine whose counters grow, as if it went on serving. Imports the standard library alone."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?P<labels>\{.*\})? (?P<value>\S+)")
_LE = re.compile(r'[{,]le="([^"]+)"')
_MODEL = re.compile(r'(model_name=)"[^"]*"')
STEP_SECONDS = 0.5
"""Each second one more request ends, which stands in the buckets from here on."""


class MovingPage:
    """The page at `path`, of `model`, with `gauges` as they are told; after `restarts_after` seconds it begins anew."""

    def __init__(self, path: Path, *, model: str, gauges: Mapping[str, float], restarts_after: float = 0.0) -> None:
        self._lines = _MODEL.sub(rf'\1"{model}"', path.read_text(encoding="utf-8")).splitlines()
        self._types = dict(line.split()[2:4] for line in self._lines if line.startswith("# TYPE "))
        self._gauges = gauges
        self._began = time.time()
        self._restarts_after = restarts_after

    def text(self) -> str:
        """The page as it is now."""
        seconds = time.time() - self._began
        restarted = 0 < self._restarts_after < seconds
        if restarted:
            seconds -= self._restarts_after
        started = self._began + restarted * self._restarts_after
        return "\n".join(self._line(line, seconds, started) for line in self._lines) + "\n"

    def _line(self, line: str, seconds: float, started: float) -> str:
        match = _SAMPLE.fullmatch(line)
        if match is None:
            return line
        name, labels, value = match["name"], match["labels"] or "", float(match["value"])
        if name == "process_start_time_seconds":
            value = started
        elif name in self._gauges:
            value = self._gauges[name]
        elif self._types.get(name, "histogram") != "gauge" and not name.endswith("_created"):
            value = value * seconds + self._grown(name, labels, seconds)
        return f"{name}{labels} {value}"

    def _grown(self, name: str, labels: str, seconds: float) -> float:
        """What is added, so that what was 0 moves too."""
        le = _LE.search(labels)
        return seconds * (le is None or float(le[1]) >= STEP_SECONDS)
