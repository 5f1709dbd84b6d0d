"""What the panels of one SLO board share: legends, groups, factors, windows and bounds of its SLOs. Imports slo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from dashboards.look import GREEN, ORANGE, RED, YELLOW, link
from exporter.model import SIMULATED_LABEL
from slo import names
from slo.model import Slo, Window
from slo.signals import signal_of
from slo.signals.base import Selectors
from slo.status import pace_window
from slo.windows import AlertWindow, alert_windows

WORST = 12
"""SLOs in a list that is read from the top."""
PAGE_LINK = link("SLO page", "${page:raw}/slo/${__field.labels.slo_id}")
"""From a series to its SLO's page on the service."""
ROW_LINK = link("SLO page", "${page:raw}/slo/${__data.fields.SLO}")
"""From a row of a table with a column SLO to the same."""
BUDGET_COLORS = ((None, RED), (0.0, ORANGE), (0.25, YELLOW), (0.5, GREEN))


class Wording:
    """The SLOs of one board, as its panels need them: their groups, factors, windows and bounds."""

    def __init__(self, slos: Sequence[Slo]) -> None:
        self.slos = slos
        self.groups = sorted({label for slo in slos for label in slo.group_by})
        # The simulated and the real are recorded apart.
        self.key = ", ".join((names.LABEL_CLUSTER, SIMULATED_LABEL, names.LABEL_ID, *self.groups))
        self.legend = " ".join(f"{{{{{label}}}}}" for label in (names.LABEL_ID, *self.groups, names.LABEL_CLUSTER))

    def once(self, how: str, expr: str) -> str:
        """One series an SLO and group: the service may publish what rules record too; `how`: min or max."""
        return f"{how} by ({self.key}) ({expr})"

    def rows(self) -> Mapping[AlertWindow, list[Slo]]:
        """Each burn-rate condition with the SLOs that have it, in the order of the SLOs."""
        found: dict[AlertWindow, list[Slo]] = {}
        for slo in self.slos:
            for row in alert_windows(slo):
                if row.low_traffic:  # far above the rest: it would press every curve to the ground
                    continue
                found.setdefault(row, []).append(slo)
        return found

    def paces(self) -> Mapping[tuple[Window, str], list[Slo]]:
        """The SLOs by their window and by the window whose burn rate is taken for the present pace."""
        found: dict[tuple[Window, str], list[Slo]] = {}
        for slo in self.slos:
            found.setdefault((slo.window, pace_window(slo)), []).append(slo)
        return found

    def pace_texts(self) -> str:
        """The windows that stand for the present pace, for people."""
        return " or ".join(sorted({pace for _, pace in self.paces()}))

    def bounded(self) -> Mapping[tuple[Window, Decimal], list[Slo]]:
        """The SLOs whose threshold lies between two buckets, so that truth has bounds; by window and budget ratio."""
        found: dict[tuple[Window, Decimal], list[Slo]] = {}
        for slo in self.slos:
            selectors = signal_of(slo).selectors(slo)
            if isinstance(selectors, Selectors) and selectors.good_upper:
                found.setdefault((slo.window, slo.budget_ratio), []).append(slo)
        return found
