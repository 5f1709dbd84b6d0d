"""How the values of a panel look: colours, thresholds, texts in place of values, links. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "text"

Threshold = tuple[float | None, str]
"""From this value on (None: from the start) this colour."""
NO_TRAFFIC = "No traffic"


@dataclass(frozen=True, slots=True)
class Look:
    """How the values of a panel are shown, besides their unit."""

    thresholds: Sequence[Threshold] = ((None, GREEN),)
    mappings: Sequence[Mapping[str, Any]] = ()
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    no_value: str = NO_TRAFFIC
    color: str = "thresholds"
    custom: Mapping[str, Any] | None = None
    overrides: Sequence[Mapping[str, Any]] = ()
    links: Sequence[Mapping[str, Any]] = ()


def value_mapping(texts: Mapping[str, tuple[str, str]]) -> Mapping[str, Any]:
    """A mapping of values (as text) to a text and a colour."""
    options = {v: {"text": t, "color": c, "index": i} for i, (v, (t, c)) in enumerate(texts.items())}
    return {"type": "value", "options": options}


def special_mapping(match: str, shown: str, color: str = GREY) -> Mapping[str, Any]:
    """A mapping of null, nan or null+nan to a text."""
    return {"type": "special", "options": {"match": match, "result": {"text": shown, "color": color, "index": 99}}}


def by_names(names: Sequence[str], **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """An override for columns or series of these names; property names as Grafana has them, `__` for a dot.

    Of Grafana's matchers this is the one whose options are an object, as its schema wants of all of them; it wants the
    same of a property's value, so that a column has no unit of its own: its title tells it.
    """
    options = {"mode": "include", "names": list(names), "prefix": "All:", "readOnly": False}
    pairs = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byNames", "options": options}, "properties": pairs}


def link(title: str, url: str) -> Mapping[str, Any]:
    """A data link; opens in a new tab, so that the board stays. Grafana's schema wants all of a board link's keys."""
    board_link = {"type": "link", "icon": "", "tooltip": "", "tags": [], "asDropdown": False}
    return {**board_link, "title": title, "url": url, "targetBlank": True, "includeVars": False, "keepTime": False}
