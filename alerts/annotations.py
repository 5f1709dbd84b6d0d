"""What an alert tells people beyond its expression, as Prometheus' templates: how fast, how much is left, who spent it.

Imports slo and alerts.counts. Queries in annotations are evaluated only while an alert is pending or fires. A text that
a query fills in is empty where there is no answer.

Who spent most is asked of raw series over the short window, by replica; that is a hint, not the arithmetic of
slo.attribution, which the service's page has (`page_url`).
"""

from __future__ import annotations

from collections.abc import Iterable

from alerts.counts import OPTIMISTIC, Counts
from alerts.promql import LOOK_BACK, duration, rates
from exporter.metrics.llm import TARGET_LABEL
from slo import names
from slo.model import Matcher
from slo.signals.base import MinuteSelectors, Selectors
from slo.windows import AlertWindow, format_window

CULPRIT_SECONDS = 1800
"""Raw series are not asked about more than this."""
_WHERE = (TARGET_LABEL, "node")


def burn_text(counts: Counts, window: AlertWindow) -> str:
    """How fast, over which windows, how much is left and for how long at this pace."""
    labels = _values(counts)
    text = (
        f"burned {{{{ $value | humanize }}}} times the sustainable rate over the last {window.long}, and still does "
        f"over the last {window.short} (limit {window.factor})."
    ) + _asked(" ", _left(counts), labels, _LEFT)
    if counts.slo.window.calendar is not None:
        return text
    lasts = "At this pace it lasts {{ . | first | value | humanizeDuration }}."
    return text + _asked(" ", _lasts(counts, window), labels * 2, lasts)


def burn_facts(counts: Counts, window: AlertWindow) -> dict[str, str]:
    """The same one by one, for those who want fields: annotation → text."""
    labels = _values(counts)
    found = {
        "burn_rate": "{{ $value | humanize }}",
        "error_budget_remaining": _asked("", _left(counts), labels, "{{ . | first | value | humanizePercentage }}"),
    }
    if counts.slo.window.calendar is None:
        ends = f"time() + {_lasts(counts, window)}"
        found["exhausted_at"] = _asked("", ends, labels * 2, "{{ . | first | value | humanizeTimestamp }}")
    return found | _culprit(counts, window)


_LEFT = (
    "{{ $left := . | first | value }}{{ if gt $left 0.0 }}Of the budget {{ $left | humanizePercentage }} is left."
    "{{ else }}The budget is exhausted.{{ end }}"
)


def _left(counts: Counts) -> str:
    return _query(counts, names.ERROR_BUDGET_REMAINING, counts.slo.window.text)


def _lasts(counts: Counts, window: AlertWindow) -> str:
    """Seconds until the budget ends at the pace of the long window; nothing where it has ended.

    Not for calendar windows: when their period began, and how long it is, the service alone knows.
    """
    return (
        f"({_left(counts)} > 0) / ignoring ({names.LABEL_WINDOW}) "
        f"{_query(counts, names.BURN_RATE, window.long)} * {counts.slo.window.seconds}"
    )


def _culprit(counts: Counts, window: AlertWindow) -> dict[str, str]:
    """The replica with most bad events of late; nothing for series of somebody's own, whose replicas are not known."""
    seconds = min(window.short_seconds, CULPRIT_SECONDS)
    bad = _bad_by_replica(counts, seconds)
    if counts.slo.indicator is not None or not bad or "`" in bad:
        return {}
    query = f"topk(1, {bad} > 0)"
    text = (
        "{{ with . | first }}{{ .Labels.target }}{{ with .Labels.node }} on {{ . }}{{ end }}{{ end }}"
        f" has most of what was bad in the last {format_window(seconds)}"
    )
    return {"culprit": _asked("", query, _values(counts) * query.count(f"{counts.by[0]}=%q"), text)}


def _bad_by_replica(counts: Counts, seconds: int) -> str:
    by = ", ".join(_WHERE)

    def total(selectors: Iterable[str]) -> str:
        return (
            f"sum by ({by}) ({rates([_of_alert(counts, one) for one in selectors], seconds + counts.scrape_seconds)})"
        )

    match counts.selectors:
        case MinuteSelectors(up=up):
            return f"sum by ({by}) (1 - avg_over_time({_of_alert(counts, up)}[{duration(seconds * 1000)}]))"
        case Selectors(bad=bad) if bad:
            return total(bad)
        case Selectors(total=all_, good=good, good_upper=upper, whole=False):
            certain = upper if OPTIMISTIC in counts.sides else good
            return f"({total(all_)} - ({total(certain)} or {total(all_)} * 0))"
        case _:
            return ""


def _of_alert(counts: Counts, selector: str) -> str:
    """A selector held to the alert's own labels, whose values printf fills in."""
    fixed = selector.replace("%", "%%").removesuffix("}")
    comma = "" if fixed.endswith("{") else ","
    return f"{fixed}{comma}{','.join(f'{label}=%q' for label in counts.by)}}}"


def _query(counts: Counts, name: str, window: str) -> str:
    """A recorded series of the alert's own group."""
    fixed = counts.recorded(name, Matcher(names.LABEL_WINDOW, "=", window))
    return f"last_over_time({_of_alert(counts, fixed)}[{LOOK_BACK}])"


def _values(counts: Counts) -> list[str]:
    return [f"$labels.{label}" for label in counts.by]


def _asked(before: str, query: str, labels: Iterable[str], text: str) -> str:
    """Text with the result of a query, or nothing where it has none."""
    return f"{before}{{{{ with printf `{query}` {' '.join(labels)} | query }}}}{text}{{{{ end }}}}"
