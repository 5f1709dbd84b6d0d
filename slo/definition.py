"""What an SLO counts, as one text: it tells revisions apart in the ledger. Imports slo.model.

An objective, a window, alerts and descriptions are no part of it: a budget is worked out anew from the same counts. The
text lies in ledgers: what is written for an SLO of today must stay what it is, or every ledger begins anew.
"""

from __future__ import annotations

import json

from slo.model import Method, Slo, Weight


def definition(slo: Slo) -> str:
    """What an SLO counts, as text: two SLOs with the same text count the same events."""
    parts: list[object] = [
        slo.signal,
        slo.method.value,
        None if slo.threshold_seconds is None else f"{slo.threshold_seconds.normalize():f}",
        sorted(str(m) for m in slo.selector),
        slo.group_by,
        slo.edge.value,
    ]
    if slo.method is Method.TIMESLICES:
        parts += [f"{slo.max_error_ratio.normalize():f}", slo.scale_to_zero, slo.start_grace_seconds]
    if slo.indicator is not None:
        parts.append(str(slo.indicator))
    if slo.goodput is not None:
        parts.append(str(slo.goodput))
    if slo.weight is not Weight.REQUESTS or slo.per_1k_prompt_tokens:
        parts += [slo.weight.value, f"{slo.per_1k_prompt_tokens.normalize():f}"]
    parts += [[definition(part.slo), f"{part.weight.normalize():f}"] for part in slo.parts if part.slo is not None]
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
