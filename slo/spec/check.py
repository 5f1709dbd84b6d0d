"""From a native document to SLOs. What is wrong with one SLO does not hide what is wrong with the next.

Imports slo.model, slo.signals, slo.spec.objective (the checks of one SLO) and the tree.
"""

from __future__ import annotations

import re
from dataclasses import replace

from msgspec import structs

from exporter.decode import MISSING, Problems, decode, suggest
from exporter.yaml_lines import Entry, Node
from slo.model import Location, Slo
from slo.signals import GENERIC, SIGNALS, composite
from slo.spec import native, selectors
from slo.spec.objective import Check
from slo.spec.own_series import Series
from slo.spec.presets import PRESETS

_NAME = re.compile(native.NAME)


def slos_of(file: str, document: Node, problems: Problems) -> list[Slo]:
    """The SLOs of one native document that are without fault; the faults of the others go to `problems`."""
    before = len(problems.found)
    entries = document.mapping or {}
    _keys(document, problems)
    service = _service(document, problems)
    shared = selectors.read(document.at("selector"), problems) if "selector" in entries else {}
    listed = document.at("slos")
    presets = document.at("presets")
    if "presets" in entries and not presets.items:
        problems.add(presets.line, "presets must be a list with at least one: write - {preset: …, window: 30d}")
        return []
    if ("slos" in entries or "presets" not in entries) and not (listed.items and "slos" in entries):
        problems.add(listed.line, "slos must be a list with at least one SLO: write - {name: …, signal: …}")
        return []
    file_is_sound = len(problems.found) == before
    written = listed.items if "slos" in entries and listed.items else ()
    found = [_slo(file, service, shared, node, problems) for node in written]
    for node in (presets.items or ()) if "presets" in entries else ():
        source, nodes = _preset(node, problems)
        made = [_slo(file, service, shared, one, problems) for one in nodes]
        found += [None if slo is None else replace(slo, source=source) for slo in made]
    return [slo for slo in found if slo is not None and file_is_sound]


def _preset(node: Node, problems: Problems) -> tuple[str, list[Node]]:
    """Where a preset's figures are from, and its SLOs as if they were written out."""
    before = len(problems.found)
    use = decode(native.Preset, node, problems, "the preset")
    if use is MISSING or len(problems.found) > before:
        return "", []
    assert isinstance(use, native.Preset)
    preset = PRESETS.get(use.preset)
    if preset is None:
        problems.add(node.at("preset").line, f"preset {use.preset!r} is not known: {suggest(use.preset, PRESETS)}")
        return "", []
    entries = {key: entry for key, entry in (node.mapping or {}).items() if key not in ("preset", "name")}

    def written(text: str) -> Entry:
        return Entry(node.line, Node(node.line, text, text))

    entries.setdefault("objective", written(preset.objective))
    nodes = []
    for signal, threshold in preset.targets:
        name = f"{use.name}-{signal}" if use.name else signal
        own = {"name": written(name), "signal": written(signal), "threshold": written(threshold)}
        nodes.append(Node(node.line, {**own, **entries}))
    return f"{use.preset}: {preset.source}", nodes


def _keys(document: Node, problems: Problems) -> None:
    known = {field.encode_name for field in structs.fields(native.File)}
    of_slos = {field.encode_name for field in structs.fields(native.Objective)}
    for key, entry in (document.mapping or {}).items():
        if key not in known:
            hint = "write it in each SLO under slos" if key in of_slos else suggest(key, known)
            problems.add(entry.line, f"unknown key {key!r} in the file: {hint}")


def _service(document: Node, problems: Problems) -> str:
    """The service's name, "" where it is at fault."""
    if "service" not in (document.mapping or {}):
        problems.add(document.line, "the file has no 'service': add it")
        return ""
    node = document.at("service")
    value = decode(str, node, problems, "service")
    return value if value is not MISSING and _named(value, node, problems, "service") else ""


def _named(value: str, node: Node, problems: Problems, what: str) -> bool:
    if _NAME.fullmatch(value):
        return True
    problems.add(
        node.line, f"{what} {value!r} must be 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"
    )
    return False


def _slo(file: str, service: str, shared: selectors.ByLabel, node: Node, problems: Problems) -> Slo | None:
    before = len(problems.found)
    raw = decode(native.Objective, node, problems, "the SLO")
    if raw is MISSING:
        return None
    assert isinstance(raw, native.Objective)
    check = Check(raw, node, problems)
    given = {**shared, **(selectors.read(node.at("selector"), problems) if raw.selector else {})}
    _named(raw.name, node.at("name"), problems, "name")
    signal = SIGNALS.get(raw.signal)
    if signal is None:
        problems.add(node.at("signal").line, f"signal {raw.signal!r} is not supported: {suggest(raw.signal, SIGNALS)}")
        return None
    parts = check.parts(signal)
    if signal is composite.SIGNAL:
        given = {}
    if raw.signal not in GENERIC:
        check.labels_exist(signal, given)
    indicator = Series(raw, check.fault).indicator(raw.signal)
    method = check.method(signal)
    objective, window = check.objective(), check.window()
    threshold = check.threshold(signal)
    goodput = check.goodput(signal)
    growth, weight = check.growth(signal), check.weight(signal)
    minutes = check.minutes(signal, method)
    group_by = check.group_by()
    labels, annotations = check.labels(raw.labels, "labels"), check.labels(raw.annotations, "annotations")
    page, ticket = check.alerting("page"), check.alerting("ticket")
    edge = check.edge(signal)
    if objective is None or window is None or method is None or len(problems.found) > before or not service:
        return None
    slo = Slo(
        service=service,
        name=raw.name,
        signal=raw.signal,
        objective=objective,
        window=window,
        method=method,
        threshold_seconds=threshold,
        goodput=goodput,
        per_1k_prompt_tokens=growth,
        weight=weight,
        parts=parts,
        selector=tuple(matcher for label in sorted(given) for matcher in given[label]),
        group_by=group_by,
        edge=edge,
        description=raw.description,
        owner=raw.owner,
        labels=labels,
        annotations=annotations,
        page=page,
        ticket=ticket,
        indicator=indicator,
        location=Location(file, node.line),
    )
    slo = replace(slo, **minutes)
    check.alerts_can_fire(slo)
    return slo if len(problems.found) == before else None
