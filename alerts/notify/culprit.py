"""Who spent most and what goes with it, as data for machines. Imports slo.objects and slo.status. People read the
verdict's own words."""

from __future__ import annotations

import msgspec

from slo.objects import culprit_object
from slo.status import Culprit


def data_of(culprit: Culprit) -> dict[str, object]:
    """The API's object of the spender, where one stands out, and the verdict."""
    told = msgspec.to_builtins(culprit_object(culprit))
    return {**(told["spender"] or {}), "verdict": told["verdict"]}
