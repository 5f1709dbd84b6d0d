"""What changes between two sets of SLOs, in words: budgets that are computed anew or begin anew, alerts, labels. Pure.

Imports slo. A budget begins anew where something else is counted (slo.definition): the old counts are of another thing.
All that is only computed from counts, like an objective, changes the whole past at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from gpufleet.words import duration, percent, percent_exact
from slo.definition import definition
from slo.model import Slo
from slo.signals import unit_of
from slo.windows import AlertWindow, alert_windows


def diff(old: Sequence[Slo], new: Sequence[Slo]) -> str:
    """Everything that changes, by SLO in order of id, ready to print; one line says what does not."""
    before, after = ({slo.id: slo for slo in slos} for slos in (old, new))
    blocks: list[str] = []
    unchanged = 0
    for slo_id in sorted({*before, *after}):
        lines = list(_lines(before.get(slo_id), after.get(slo_id)))
        if not lines:
            unchanged += 1
            continue
        blocks.append("\n".join([slo_id, *(f"  {line}" for line in lines)]))
    if unchanged:
        blocks.append(f"{unchanged} unchanged")
    return "\n\n".join(blocks)


def _lines(old: Slo | None, new: Slo | None) -> Iterator[str]:
    if old is None or new is None:
        one, word = (new, "added") if old is None else (old, "removed")
        assert one is not None
        yield f"{word}: {percent_exact(one.objective)} of {unit_of(one)} over {one.window.words}  ({one.location})"
        what = "its budget begins now" if old is None else "its counts stay in the ledger, nothing watches it"
        yield _line("budget", what)
        yield from (_line("alert", f"{'+' if old is None else '-'} {_alert(one, row)}") for row in alert_windows(one))
        return
    yield from _budget(old, new)
    yield from _alerts(old, new)
    yield from _words(old, new)


def _budget(old: Slo, new: Slo) -> Iterator[str]:
    for what, was, now in _counted(old, new):
        yield _line(what, f"{was} → {now}")
    if old.objective != new.objective:
        allowed = f"{percent(old.budget_ratio)} → {percent(new.budget_ratio)} of {unit_of(new)} may be bad"
        yield _line("objective", f"{percent_exact(old.objective)} → {percent_exact(new.objective)}: {allowed}")
    if old.window != new.window:
        yield _line("window", f"{old.window.words} → {new.window.words}")
    if definition(old) != definition(new):
        yield _line("budget", "begins anew: something else is counted; unobserved until now, unless it was before")
    elif (old.objective, old.window) != (new.objective, new.window):
        yield _line("budget", "computed anew from the same counts")


def _counted(old: Slo, new: Slo) -> Iterator[tuple[str, str, str]]:
    """What is counted otherwise, as (what, was, is)."""
    for what, was, now in (
        ("signal", old.signal, new.signal),
        ("threshold", _threshold(old.threshold_seconds), _threshold(new.threshold_seconds)),
        ("selector", _joined(old.selector), _joined(new.selector)),
        ("series", str(old.indicator or "the agents'"), str(new.indicator or "the agents'")),
        ("bounds", str(old.goodput or "none"), str(new.goodput or "none")),
        ("per_1k_prompt_tokens", duration(old.per_1k_prompt_tokens), duration(new.per_1k_prompt_tokens)),
        ("parts", _parts(old), _parts(new)),
        ("weight", old.weight.value, new.weight.value),
        ("method", old.method.value, new.method.value),
        ("group_by", _joined(old.group_by), _joined(new.group_by)),
        ("edge", old.edge.value, new.edge.value),
        ("max_error_ratio", percent(old.max_error_ratio), percent(new.max_error_ratio)),
        ("scale_to_zero", str(old.scale_to_zero).lower(), str(new.scale_to_zero).lower()),
        ("start_grace", duration(old.start_grace_seconds), duration(new.start_grace_seconds)),
    ):
        if was != now:
            yield what, was, now


def _threshold(seconds: Decimal | None) -> str:
    return "none" if seconds is None else duration(seconds)


def _parts(slo: Slo) -> str:
    return _joined([f"{part.slo.id} {part.weight}" for part in slo.parts if part.slo is not None])


def _joined(parts: Sequence[object]) -> str:
    return ", ".join(sorted(str(part) for part in parts)) or "none"


def _alerts(old: Slo, new: Slo) -> Iterator[str]:
    """Rows that are no longer, and rows that are new: a changed factor is both."""
    was, now = ([_alert(slo, row) for row in alert_windows(slo)] for slo in (old, new))
    yield from (_line("alert", f"- {text}") for text in was if text not in now)
    yield from (_line("alert", f"+ {text}") for text in now if text not in was)
    for severity in ("page", "ticket"):
        one, other = getattr(old, severity), getattr(new, severity)
        if one.disabled != other.disabled:
            yield _line(severity, "disabled" if other.disabled else "enabled")
        if dict(one.labels) != dict(other.labels):
            yield _line(severity, f"labels {_pairs(one.labels)} → {_pairs(other.labels)}")


def _alert(slo: Slo, row: AlertWindow) -> str:
    over = f"{row.long}/{row.short}"
    return f"{row.severity} {over} above {row.factor}, an error ratio of {percent(row.error_ratio(slo))}"


def _words(old: Slo, new: Slo) -> Iterator[str]:
    for what in ("description", "owner"):
        was, now = getattr(old, what), getattr(new, what)
        if was != now:
            yield _line(what, f"{was or 'none'} → {now or 'none'}")
    for what in ("labels", "annotations"):
        was, now = dict(getattr(old, what)), dict(getattr(new, what))
        if was != now:
            yield _line(what, f"{_pairs(was)} → {_pairs(now)}")


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "none"


def _line(title: str, text: str) -> str:
    return f"{title:<15} {text}"
