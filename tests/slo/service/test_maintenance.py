"""What the service's metrics tell of spans that count for no budget."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from slo import exclusions, names

DAY = 86_400


def test_spans_that_a_budget_still_has_in_its_window_are_told_and_no_others(incident: Any, serve: Any) -> None:
    def exclude(days_ago: int, reason: str, slo_id: str | None = None) -> int:
        begin = incident.noon - days_ago * DAY
        return exclusions.add(db, begin, begin + 600, slo_id, reason=reason, author="ada", now=1.0).number

    with closing(sqlite3.connect(incident.path)) as db, db:
        exclude(40, "before the window")
        exclude(2, 'new "racks"\n')
        exclude(-1, "planned", "chat-ttft")
        exclusions.undo(db, exclude(3, "a mistake"), author="bob", now=2.0)
    incident.ledger.reread()
    with serve(incident.service()) as url, urlopen(f"{url}/metrics") as answer:
        families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
    told = {
        (one.labels["reason"], one.labels.get(names.LABEL_ID)): one.value
        for one in families[names.EXCLUSION_START].samples
    }
    assert told == {
        ('new "racks"\n', None): incident.noon - 2 * DAY,
        ("planned", "chat-ttft"): incident.noon + DAY,
    }
    assert sorted(one.value for one in families[names.EXCLUSION_END].samples) == [at + 600 for at in told.values()]
