"""Two pages of GPU metrics side by side: an incumbent's and ours. Pure; imports exporter's page, catalogue and naming.

Status: accepted. Context: whoever replaces dcgm-exporter must know beforehand which panels and alerts would go blank.
Decision: a family, a label or a GPU that is there and not here, and a value that differs by a unit's factor on every
GPU, breaks what is built on it; types, values that moved between two scrapes, other words in a label and what is here
alone do not. GPUs are joined by UUID, else by index, and by the MIG instance. Families that an exporter keeps about its
own process are nobody's panel and are left out. Blank numbers of DCGM (2^31 - 16, 2^63 - 16, 2^47 and those near)
are no figures: what has no other there is not missed here. Consequences: exit 0 promises that a board of dcgm-exporter
finds its series; it does not promise equal readings, which two scrapes never are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from exporter.choosing import instead
from exporter.metrics import CATALOGUE, health
from exporter.naming import FAMILY_OF, RENAMED
from exporter.page import PageReader

Key = tuple[tuple[str, str], ...]
Line = tuple[dict[str, str], float]
"""Labels and value."""

OWN_PREFIXES = ("go_", "process_", "promhttp_", "python_", "scrape_")
_IDENTITY = ("UUID", "gpu", "GPU_I_ID")
_FACTORS = {100.0: "100", 1000.0: "1000", 1e6: "1,000,000", 1024.0: "1024", 1048576.0: "1,048,576"}
_NEAR = 0.02
"""How near to a factor all values must be for it to be one of units."""
_BLANK_RANGES = ((0x7FFFFFF0, 0x7FFFFFFF), (0x7FFFFFFFFFFFFFF0, 2.0**63), (2.0**47, 2.0**47 + 16))
_EXAMPLES = 3


class Weight(StrEnum):
    """Whether a difference breaks a board or an alert."""

    BREAKS = "breaks"
    DIFFERS = "differs"
    NOTE = "note"


class Difference(NamedTuple):
    """One row: what it is about, what is there, what is here, and what can be done."""

    weight: Weight
    subject: str
    there: str
    here: str
    hint: str = ""


@dataclass(slots=True)
class GpuPage:
    """One page: types by family, and for each family and GPU its labels and value."""

    types: dict[str, str] = field(default_factory=dict)
    families: dict[str, dict[Key, Line]] = field(default_factory=dict)


def read(body: bytes) -> GpuPage:
    """A page. Raises exporter.page.PageError."""
    layout, values = PageReader().read(body)
    page = GpuPage(types={name: kind for name, kind in layout.types.items() if not name.startswith(OWN_PREFIXES)})
    lines: dict[str, list[Line]] = {}
    for sample, value in zip(layout.series, values, strict=True):
        if not sample.name.startswith(OWN_PREFIXES):
            labels = {name: text for name, text in sample.labels if text}
            lines.setdefault(sample.name, []).append((labels, value))
    page.families = {name: _keyed(of) for name, of in lines.items()}
    return page


def _keyed(lines: list[Line]) -> dict[Key, Line]:
    """One family's lines by GPU and instance, and by the labels that tell several of one GPU apart."""
    groups: dict[Key, list[Line]] = {}
    for line in lines:
        gpu = "UUID" if "UUID" in line[0] else "gpu"
        key = tuple((name, line[0][name]) for name in (gpu, "GPU_I_ID") if name in line[0])
        groups.setdefault(key, []).append(line)
    keyed: dict[Key, Line] = {}
    for key, several in groups.items():
        names = sorted({name for labels, _ in several for name in labels})
        telling = [name for name in names if len({labels.get(name) for labels, _ in several}) > 1]
        for labels, value in several:
            keyed[(*key, *((name, labels[name]) for name in telling if name in labels))] = labels, value
    return keyed


def differences(there: GpuPage, here: GpuPage, *, tolerance: float) -> list[Difference]:
    """Every difference, the grave ones first. `tolerance` is the share by which gauges may differ."""
    found = [*_families(there, here), *_gpus(there, here), *_labels(there, here), *_values(there, here, tolerance)]
    order = list(Weight)
    return sorted(found, key=lambda one: order.index(one.weight))


def _families(there: GpuPage, here: GpuPage) -> Iterator[Difference]:
    for name, lines in there.families.items():
        if name in here.families:
            kinds = there.types.get(name, "untyped"), here.types.get(name, "untyped")
            if kinds[0] != kinds[1]:
                yield Difference(Weight.DIFFERS, f"{name}: type", *kinds, "queries read both alike")
        elif all(_blank(value) for _, value in lines.values()):
            yield Difference(Weight.NOTE, name, "blank numbers", "no", "there is no figure there either")
        else:
            yield Difference(Weight.BREAKS, name, "yes", "no", _setting_for(name, here))
    only = [name for name in here.families if name not in there.families]
    if only:
        yield Difference(Weight.NOTE, f"{len(only)} families", "no", _some(only))


def _setting_for(name: str, here: GpuPage) -> str:
    """Which setting would give a family, or why none can."""
    family = FAMILY_OF.get(name)
    if family is None:
        return instead(name).removeprefix("; ") or "not given by gpufleet"
    shown = RENAMED.get(family.name, family.name) if name == family.name else family.name
    if shown != name and shown in here.families:
        return f"write `profile: {'legacy' if name == family.name else 'dcgm-4.9'}`"
    for labels, _ in here.families.get(health.READING_MISSING.name, {}).values():
        if labels.get("family") in (name, shown):
            return f"this GPU does not give it: {labels.get('reason', '')}"
    return "not on this page: see `counters` and `metrics` in the settings" if family.name in CATALOGUE else ""


def _gpus(there: GpuPage, here: GpuPage) -> Iterator[Difference]:
    before, now = _members(there), _members(here)
    if before and now and not before & now:
        yield Difference(Weight.BREAKS, "GPUs", _some(_names(before)), _some(_names(now)), "is this the same node?")
        return
    for name in _names(before - now):
        yield Difference(Weight.BREAKS, name, "yes", "no", "does the agent see it? gpufleet doctor tells")
    if now - before:
        yield Difference(Weight.NOTE, f"{len(now - before)} GPUs", "no", _some(_names(now - before)))


def _labels(there: GpuPage, here: GpuPage) -> Iterator[Difference]:
    """Names of labels over all common families; then values, of the labels both have."""
    common = [name for name in there.families if name in here.families]
    before, now = (
        {label for name in common for labels, _ in page.families[name].values() for label in labels}
        for page in (there, here)
    )
    for label in sorted(before - now):
        yield Difference(Weight.BREAKS, f"label {label}", "yes", "no", _label_hint(label, now))
    if now - before:
        yield Difference(Weight.NOTE, "labels", "no", _some(sorted(now - before)))
    seen: set[tuple[str, str, str]] = set()
    for name in common:
        for key, (old, _) in there.families[name].items():
            new = here.families[name].get(key, (old, 0.0))[0]
            for label in sorted(old.keys() & new.keys()):
                pair = label, old[label], new[label]
                if old[label] != new[label] and pair not in seen:
                    seen.add(pair)
                    yield Difference(Weight.DIFFERS, f"{_named(key)}: {label}", old[label], new[label])


def _label_hint(label: str, now: set[str]) -> str:
    if label == "Hostname" and "hostname" in now:
        return "write `profile: hostname-upper`"
    if label == "hostname" and "Hostname" in now:
        return "write `profile: legacy`"
    if label in ("pod", "namespace", "container"):
        return "see `pods` in the settings"
    return "not given by gpufleet"


def _values(there: GpuPage, here: GpuPage, tolerance: float) -> Iterator[Difference]:
    for name, lines in there.families.items():
        pairs = [
            (key, old, here.families[name][key][1])
            for key, (_, old) in lines.items()
            if key in here.families.get(name, {}) and not _blank(old)
        ]
        factor = _factor([(old, new) for _, old, new in pairs])
        if factor:
            key, old, new = pairs[0]
            yield Difference(Weight.BREAKS, f"{name}: unit", _number(old), _number(new), factor)
        elif {there.types.get(name), here.types.get(name)} == {"gauge"}:
            apart = [(key, old, new) for key, old, new in pairs if _apart(old, new) > tolerance]
            if apart:
                key, old, new = max(apart, key=lambda one: _apart(one[1], one[2]))
                hint = f"{len(apart)} of {len(pairs)} series; read a moment apart, so noisy"
                yield Difference(Weight.DIFFERS, f"{name}, {_named(key)}", _number(old), _number(new), hint)


def _factor(pairs: Sequence[tuple[float, float]]) -> str:
    """The factor of units between all values that are not 0, in words; empty where there is none."""
    ratios = [new / old for old, new in pairs if old > 0 and new > 0]
    for factor, text in _FACTORS.items():
        for one, word in ((factor, "here is"), (1 / factor, "there is")):
            if ratios and all(abs(ratio / one - 1) < _NEAR for ratio in ratios):
                return f"{word} {text} times as much: another unit"
    return ""


def _apart(old: float, new: float) -> float:
    """How far two values are apart, as a share of the larger one."""
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    return abs(old - new) / max(abs(old), abs(new)) if math.isfinite(old) and math.isfinite(new) else math.inf


def _blank(value: float) -> bool:
    return any(low <= value <= high for low, high in _BLANK_RANGES)


def _members(page: GpuPage) -> set[Key]:
    """The GPUs, and MIG instances, of a page's DCGM families."""
    return {
        tuple(pair for pair in key if pair[0] in _IDENTITY)
        for name, lines in page.families.items()
        if name in FAMILY_OF or name.startswith("DCGM_")
        for key in lines
        if any(name in _IDENTITY for name, _ in key)
    }


def _named(key: Iterable[tuple[str, str]]) -> str:
    return ", ".join(text if name == "UUID" else f"{name} {text}" for name, text in key)


def _names(keys: Iterable[Key]) -> list[str]:
    return sorted(_named(key) for key in keys)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {rest} more" if rest > 0 else "")


def _number(value: float) -> str:
    return f"{value:.6g}"
