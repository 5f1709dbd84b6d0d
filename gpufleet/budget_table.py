"""The table of `slo budget`, from the API's objects. Pure; imports gpufleet.words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from gpufleet.words import percent_exact, table


def budgets(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """API objects of a service as a table: what is left, how fast it goes, when it ends."""
    rows = [("id", "group", "objective", "budget left", "burn rate", "ends", "coverage", "alerts")]
    for one in found:
        low, high = one["error_budget_remaining_bounds"] or (None, None)
        left = _ratio(low) if low == high else f"{_ratio(low)} to {_ratio(high)}"
        rates = one["burn_rates"]
        fast = ("1h", rates["1h"]) if "1h" in rates else next(iter(rates.items()))
        firing = [alert for alert in one["alerts"] if alert["state"] == "firing"]
        rows.append((
            one["id"] + (" (simulated)" if one["simulated"] else ""),
            ",".join(f"{label}={value}" for label, value in one["group"].items()) or "-",
            f"{percent_exact(Decimal(one['objective']))} {one['window']}",
            left,
            "-" if fast[1] is None else f"{fast[1]:.3g} ({fast[0]})",
            one["exhausted_at"] or "-",
            _ratio(one["coverage"]),
            ", ".join(f"{alert['severity']} {alert['long']}" for alert in firing) or "-",
        ))  # fmt: skip
    return table(rows)


def _ratio(value: float | None) -> str:
    return "unknown" if value is None else f"{value * 100:.1f}%"
