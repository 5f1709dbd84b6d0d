"""Asks attribution about an incident and says what of the answer is right."""

from __future__ import annotations

from typing import NamedTuple

from slo.who import who_spent
from tests.slo.attribution.incidents import SLO, Incident


class Judged(NamedTuple):
    """`kind` is the verdict's; `right` says that who and what came first are the truth; `why` what was said."""

    kind: str
    right: bool
    why: str


def judged(incident: Incident) -> Judged:
    """Over the hour of the alert where the seed is even, over the burn alone where it is odd."""
    since = incident.began if incident.seed % 2 else min(incident.began, incident.until - 3600)
    asked = {
        by: who_spent(incident.ledger, SLO, (), by, since=since, until=incident.until) for by in ("replica", "gpu")
    }
    verdict, truth = asked["replica"].verdict, incident.truth
    said = f"{incident.cause} {incident.seed} {incident.decoys}: {verdict.kind}: {verdict.text}"
    if not incident.hardware:
        return Judged(verdict.kind, verdict.kind != "hardware", said)
    first = asked["replica"].spenders[0]
    right = (
        first.key in truth.replicas
        and asked["gpu"].spenders[0].key in truth.gpus
        and verdict.kind == "hardware"
        and bool(first.evidence)
        and (first.evidence[0].kind, first.evidence[0].name) in truth.evidence
    )
    return Judged(verdict.kind, right, said)
