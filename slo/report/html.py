"""A document as one HTML page that needs nothing else: no script, no address of another host; it prints.

Imports slo.report.document and Jinja2. Text is escaped by the template; charts are drawn here.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from slo.report.document import Chart, Document, Heading, Items, Table, Text

_WIDTH, _HEIGHT = 120, 30
_TOP = 3


def page(document: Document) -> str:
    """The whole page."""
    sections = [
        {"id": f"s{at}", "title": block.text}
        for at, block in enumerate(document.blocks)
        if isinstance(block, Heading) and block.level == 2
    ]
    kinds = {Heading: "heading", Text: "text", Items: "items", Table: "table"}
    blocks = [(f"s{at}", kinds[type(block)], block) for at, block in enumerate(document.blocks)]
    return _template().render(document=document, sections=sections, blocks=blocks, chart=chart)


def chart(cell: Chart) -> Markup:
    """A small line of what was left of a budget, its end, and where nothing is left. Its label says it in words."""
    if len(cell.points) < 2:
        return Markup('<span class="none">{}</span>').format(cell.label)
    times, lefts = [time for time, _ in cell.points], [left for _, left in cell.points]
    low, high = min(0.0, *lefts), max(1.0, *lefts)

    def y(left: float) -> float:
        return round(_TOP + (high - left) / (high - low) * (_HEIGHT - 2 * _TOP), 1)

    span = max(1.0, times[-1] - times[0])
    line = " ".join(f"{round((time - times[0]) / span * _WIDTH, 1)},{y(left)}" for time, left in cell.points)
    tone = "bad" if lefts[-1] <= 0 else "risk" if lefts[-1] < 0.25 else "ok"
    return Markup(
        '<svg class="chart {tone}" viewBox="-2 0 {width} {height}" role="img" aria-label="{label}">'
        '<title>{label}</title><line class="zero" x1="0" x2="{end}" y1="{zero}" y2="{zero}"/>'
        '<polyline points="{line}"/><circle cx="{end}" cy="{last}" r="2"/></svg>'
    ).format(
        tone=tone, width=_WIDTH + 5, height=_HEIGHT, label=cell.label, end=_WIDTH, zero=y(0.0), line=line,
        last=y(lefts[-1]),
    )  # fmt: skip


@cache
def _template() -> Template:
    loader = PackageLoader("slo.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters["tied"] = lambda text: text.replace(" %", "\u00a0%")  # a figure keeps its sign beside it
    environment.tests["chart"] = lambda cell: isinstance(cell, Chart)
    return environment.get_template("document.html")
