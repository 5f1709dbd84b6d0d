"""promtool's notation: series, questions, and what is asked of every course of traffic. Imports alerts.scenarios."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from alerts.promql import select
from alerts.scenarios import Firing, Scenario, Shape, expected, longest, total_after
from slo import names
from slo.model import Matcher, Slo

Samples = list[float | None]
"""Values of one series at even steps; None where there is none."""

FIRING = 'alertstate="firing"'


def questions(
    shape: Shape, scenario: Scenario, after: int, at: int, *, apart: Collection[str] = ()
) -> list[dict[str, object]]:
    """What is asked `after` so many tiles of a course, which is tile `at` of the test: alerts, events, no NaN.

    Nothing is asked of the alerts over the windows `apart`.
    """
    slo = shape.slo
    alerts, samples = burning(slo, expected(slo, scenario.tiles, after), apart=apart)
    ratio = select(names.ERROR_RATIO, *matchers(slo))
    whole = matchers(slo, Matcher(names.LABEL_WINDOW, "=", longest(shape).text))
    counted = f"round(sum({select(names.TOTAL_SUM, *whole)}))"
    return [
        question(alerts, at, samples),
        question(counted, at, [{"labels": "{}", "value": total_after(shape, scenario, after)}]),
        question(f"count({ratio} != {ratio})", at, []),  # true of NaN alone
    ]


def burning(slo: Slo, firing: Iterable[Firing], *, apart: Collection[str] = ()) -> tuple[str, list[object]]:
    """Which alerts on the SLO's budget fire, and the answer; those over the windows `apart` left out."""
    unasked = f',window!~"{"|".join(apart)}"' if apart else ""
    alerts = f'ALERTS{{{names.LABEL_ID}="{slo.id}",{FIRING},alertname=~"SloErrorBudget.+"{unasked}}}'
    samples: list[object] = [
        {"labels": f'{{alertname="{f.alert}",severity="{f.severity}",window="{f.window}"}}', "value": 1}
        for f in firing
        if f.window not in apart
    ]
    return f"count by (alertname, severity, window) ({alerts})", samples


def written(series: str, samples: Samples) -> dict[str, str]:
    """A series in promtool's notation, runs of equal steps shortened."""
    return {"series": series, "values": " ".join(_runs(samples))}


def _runs(samples: Samples) -> Iterable[str]:
    for missing, run in groupby(samples, lambda value: value is None):
        values = list(run)
        if missing:
            yield "stale" if len(values) == 1 else f"stale _x{len(values) - 1}"
        else:
            yield from _steps([value for value in values if value is not None])


def _steps(values: Sequence[float]) -> Iterable[str]:
    start = 0
    while start < len(values):
        end = start + 1
        step = values[end] - values[start] if end < len(values) else 0.0
        while end < len(values) and values[end] - values[end - 1] == step:
            end += 1
        yield f"{values[start]:.0f}{step:+.0f}x{end - start - 1}" if end - start > 1 else f"{values[start]:.0f}"
        start = end


def matchers(slo: Slo, *more: Matcher) -> tuple[Matcher, ...]:
    """What selects recorded series of an SLO, with more."""
    return (Matcher(names.LABEL_ID, "=", slo.id), *more)


def lone() -> list[dict[str, object]]:
    """One series without labels, of value 1."""
    return [{"labels": "{}", "value": 1}]


def question(expr: str, after: int, samples: Sequence[object], minutes: int = 5) -> dict[str, object]:
    """A question `after` so many steps of `minutes`."""
    return {"expr": expr, "eval_time": f"{after * minutes}m", "exp_samples": list(samples)}
