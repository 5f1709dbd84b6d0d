"""The series that a native SLO on a generic signal names in PromQL, checked.

Imports slo.model, slo.spec.expressions and the format's structs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import UNSET

from slo.model import Indicator
from slo.spec import native
from slo.spec.expressions import NotCountersError, NotPromqlError, Terms, counters, events, selector

_SERIES = {"ratio": ("total", "good", "bad"), "latency": ("metric", "native")}
"""Keys with series of the author's own, by the generic signal that reads them."""
_EXAMPLE = 'http_requests_total{code=~"5.."}'
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Series:
    """The keys of one SLO that hold PromQL. `fault` notes what is wrong, at a key or at the SLO itself."""

    raw: native.Objective
    fault: Callable[..., None]

    def indicator(self, signal: str) -> Indicator | None:
        """What the signal counts; None where it is no generic one, and where something is at fault."""
        wanted = _SERIES.get(signal, ())
        given = [key for keys in _SERIES.values() for key in keys if getattr(self.raw, key) is not UNSET]
        for key in given:
            if key not in wanted:
                able = next(name for name, keys in _SERIES.items() if key in keys)
                self.fault(f"{key} is for signal {able}: remove it, or write signal: {able}", key)
        if signal == "latency":
            return self._histogram(given)
        return self._ratio(given) if signal == "ratio" else None

    def _histogram(self, given: Sequence[str]) -> Indicator | None:
        if "metric" not in given:
            self.fault("signal 'latency' needs a metric: add the histogram's name and matchers, like "
                       'metric: http_request_seconds{job="api"}')  # fmt: skip
            return None
        if self.raw.edge is not UNSET:
            self.fault("edge is for engines, whose edges are known: remove it, and choose an edge as threshold", "edge")
        found = self._series("metric", selector)
        suffix = next((s for s in ("_bucket", "_count", "_sum") if found and found.name.endswith(s)), "")
        if found is None or suffix or any(matcher.label == "le" for matcher in found.matchers):
            if found is not None:
                what = f"write {found.name.removesuffix(suffix)}" if suffix else "leave le out, the threshold sets it"
                self.fault(f"metric {found.name} must name the whole histogram: {what}", "metric")
            return None
        return Indicator(histogram=found, native=self.raw.native is True)

    def _ratio(self, given: Sequence[str]) -> Indicator | None:
        good_or_bad = [key for key in ("good", "bad") if key in given]
        if "total" not in given or len(good_or_bad) != 1:
            self.fault("signal 'ratio' needs total, and either good or bad: write selectors of counters, like "
                       'total: http_requests_total{job="api"}')  # fmt: skip
            return None
        total, other = self._series("total", _terms), self._series(good_or_bad[0], _terms)
        if total is None or other is None:
            return None
        try:
            if good_or_bad == ["good"]:
                if total.minus or other.minus:
                    raise NotCountersError("good and total must be sums")
                return Indicator(total=total.plus, good=other.plus)
            good, bad = events(total, other)
        except NotCountersError as error:
            self.fault(f"{good_or_bad[0]}: {error}: write each as a sum of counters", good_or_bad[0])
            return None
        return Indicator(total=total.plus, good=good, bad=bad)

    def _series(self, key: str, read: Callable[[str], _T]) -> _T | None:
        try:
            return read(str(getattr(self.raw, key)))
        except NotPromqlError as error:
            self.fault(f"{key} is not PromQL ({error}): write a selector, like {_EXAMPLE}", key)
        except NotCountersError as error:
            self.fault(f"{key}: {error}: write a selector, or a sum of rates of selectors, like {_EXAMPLE}", key)
        return None


def _terms(text: str) -> Terms:
    found = counters(text, bare=True)
    if found.by:
        raise NotCountersError("labels to keep apart by are for group_by")
    return found
