"""Bars and sparklines as inline SVG, drawn by the server, so that they are there before and without any script.

Each carries its figures as text. Nothing is styled inline (the page's policy forbids it): classes say what is meant.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from slo.page.text import percent

WIDTH, HEIGHT, PAD = 132, 30, 2

Trend = Sequence[tuple[int, float | None]]


def sparkline(trend: Trend, window: str, state: str) -> Markup:
    """Budget left over the window. Gaps are gaps; the line of no budget is drawn where it was reached."""
    seen = [(t, left) for t, left in trend if left is not None]
    if len(seen) < 2:
        return Markup('<span class="none">not enough history</span>')
    start, end = trend[0][0], trend[-1][0]
    low = min(0.0, *(left for _, left in seen))
    span = max(1.0, 1.0 - low)

    def point(t: int, left: float) -> str:
        x = PAD + (WIDTH - 2 * PAD) * (t - start) / max(1, end - start)
        y = PAD + (HEIGHT - 2 * PAD) * (1.0 - min(1.0, left)) / span
        return f"{x:.1f} {y:.1f}"

    runs: list[list[str]] = [[]]
    for t, left in trend:
        if left is None:
            runs.append([])
        else:
            runs[-1].append(point(t, left))
    path = "".join(f"M{'L'.join(_corners(run))}" for run in runs if run)
    zero = PAD + (HEIGHT - 2 * PAD) / span
    label = f"Budget left over {window}: from {percent(seen[0][1])} to {percent(seen[-1][1])}, lowest "
    label += percent(min(left for _, left in seen))
    last = point(*seen[-1]).split()
    return Markup(  # noqa: S704 - figures of our own, and a window that has been parsed
        f'<svg class="spark {state}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{escape(label)}"><path class="zero" d="M{PAD} {zero:.1f}H{WIDTH - PAD}"/>'
        f'<path class="line" d="{path}"/><circle cx="{last[0]}" cy="{last[1]}" r="2"/></svg>'
    )


def _corners(run: list[str]) -> list[str]:
    """Without the points inside flat stretches: most budgets hardly move, and a thousand are on one page."""
    height = [point.split()[1] for point in run]
    flat = [0 < i < len(run) - 1 and height[i - 1] == height[i] == height[i + 1] for i in range(len(run))]
    return [point for point, inside in zip(run, flat, strict=True) if not inside]


def bar(remaining: float | None, bounds: tuple[float, float] | None, state: str, width: int = 120) -> Markup:
    """Budget left as a bar; what lies between the two bounds is hatched. Decoration: its number stands beside it."""

    def x(value: float) -> float:
        return round(max(0.0, min(1.0, value)) * width, 1)

    parts = [f'<rect class="track" width="{width}" height="8" rx="2"/>']
    if remaining is not None:
        if bounds is not None and bounds[1] > bounds[0]:
            parts.append(f'<rect class="maybe" width="{x(bounds[1])}" height="8" rx="2"/>')
        parts.append(f'<rect class="fill" width="{x(remaining)}" height="8" rx="2"/>')
    return Markup(  # noqa: S704 - figures of our own
        f'<svg class="bar {state}" viewBox="0 0 {width} 8" width="{width}" height="8" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(parts)}</svg>'
    )
