"""Who spent most, in words and as data. Imports slo.attribution and slo.objects."""

from __future__ import annotations

import msgspec

from slo.attribution import Spender
from slo.objects import spender_object


def who_is(spender: Spender) -> str:
    """The replica, where it runs, and what was seen on its hardware most."""
    where = f" on {', '.join(spender.nodes)}" if spender.nodes else ""
    seen = f", while {spender.evidence[0].text}" if spender.evidence else ""
    return f"{spender.key}{where}{seen}"


def text_of(spender: Spender) -> str:
    """The same with what it spent."""
    share = "" if spender.share is None else f", {spender.share:.0%} of all that was bad"
    return f"{who_is(spender)}{share}"


def data_of(spender: Spender) -> dict[str, object]:
    """The API's object of it."""
    found: dict[str, object] = msgspec.to_builtins(spender_object(spender))
    return found
