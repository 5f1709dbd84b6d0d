"""The catalogue: every metric name the agent can emit, one constant a family. Imports exporter.model alone.

Adding a figure means adding one constant here; documents, boards and tests follow. Names are a public contract:
changing one needs a line in CHANGELOG.md.
"""

from __future__ import annotations

from exporter.metrics import agent, gpu, health, llm, mig, nvlink, pod, probe, profiling
from exporter.model import Family

CATALOGUE: dict[str, Family] = {
    family.name: family
    for module in (gpu, nvlink, profiling, mig, health, pod, llm, probe, agent)
    for family in vars(module).values()
    if isinstance(family, Family)
}
"""Every family by its name."""

SAMPLE_NAMES: frozenset[str] = frozenset(
    name
    for family in CATALOGUE.values()
    for name in ([family.bucket, family.count, family.sum] if family.type == "histogram" else [family.name])
)
"""Every sample name that can stand on a page."""
