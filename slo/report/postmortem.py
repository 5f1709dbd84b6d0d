"""The draft of a post-mortem about one incident: what the ledger knows of it, and room for what people know.

Pure; imports slo.report. It blames nobody: it names hardware, engines and figures,
words what was seen at the same time as a coincidence, and leaves causes and what will change to people.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from slo.attribution import Spender
from slo.incident import JOIN_SECONDS
from slo.page.text import count, listed, percent, promise
from slo.report.document import Block, Document, Heading, Items, Table, Text
from slo.report.findings import Findings
from slo.report.period import UTC_ZONE as UTC
from slo.report.period import moment_text
from slo.report.words import SIMULATED, alert_of, bad_of, between, gpu_of, lasted, name_of
from slo.signals import unit_of

MOST_LINES = 80
MOST_SPENDERS = 8
MOST_EVIDENCE = 5
AROUND_SECONDS = 900
"""What ended or changed so near to the recovery is told with it."""


def draft(found: Findings, zone: ZoneInfo = UTC) -> Document:
    """The draft; times are UTC, and in `zone` too where that is another."""
    incident = found.incident
    name = name_of(incident.slo, incident.group)
    title = f"Post-mortem (draft): {name}, {moment_text(incident.began, UTC)}"
    document = Document(title, SIMULATED if found.simulated else "")
    document.add(
        Text(
            "Drafted from the ledger. It is about systems, not about people: everybody did what seemed right with what "
            "they knew. Correct what is wrong, fill in what only people know, and delete this paragraph."
        )
    )
    document.add(Heading("Summary"), Text(_summary(found)), *_blank("In one sentence, what did users notice?"))
    document.add(Heading("When"), *_when(found, zone))
    document.add(Heading("How it was detected"), *_detected(found))
    document.add(Heading("How it recovered"), *_recovered(found), *_blank("What was done, and what of it helped?"))
    document.add(Heading("What burned"), *_burned(found))
    document.add(Heading("Timeline"), *_timeline(found))
    document.add(Heading("Who spent, and what was seen at the same time"), *_who(found))
    document.add(Heading("Similar, at risk"), *_at_risk(found))
    document.add(
        Heading("Why it happened"), *_blank("What had to come together?", "What made it worse, what softened it?")
    )
    document.add(
        Heading("What will change"),
        Items(["(what, who, until when) so that it does not come again", "so that it is noticed sooner",
               "so that it costs less", "for those at risk above"], boxes=True),
    )  # fmt: skip
    document.add(Heading("Where the figures are from"), Items(list(_sources(found))))
    return document


def _blank(*questions: str) -> tuple[Block, ...]:
    return (Items([f"({question})" for question in questions]),)


def _summary(found: Findings) -> str:
    incident = found.incident
    share = between(incident.share(incident.counts.bad_lower), incident.share(incident.counts.bad))
    end = f"for {lasted(incident.seconds)}" if incident.over else f"for {lasted(incident.seconds)} so far; it goes on"
    what = f"From {moment_text(incident.began, UTC)} on, {end}: {bad_of(incident.slo, incident.counts)} missed"
    cost = f"the objective ({promise(incident.slo)}), which took {share} of the {incident.slo.window.words} budget."
    alert = "No alert fired."
    if incident.alerts:
        first = incident.alerts[0]
        alert = (
            f"The first alert, a {alert_of(first.window)}, fired {lasted(first.began - incident.began)} after it began."
        )
    return f"{what} {cost} {alert} {found.who.verdict.text}"


def _when(found: Findings, zone: ZoneInfo) -> Iterator[Block]:
    incident = found.incident
    moments = [("first bad minute", float(incident.began))]
    if incident.detected is not None:
        moments.append(("first alert", incident.detected))
    moments.append(("last bad minute ended" if incident.over else "last bad minute so far", float(incident.ended)))
    moments.append(("data until", found.through))
    zones = [UTC] if zone.key == UTC.key else [UTC, zone]
    rows = [
        (
            what,
            *(moment_text(at, one) for one in zones),
            "" if at <= incident.began else f"+{lasted(at - incident.began)}",
        )
        for what, at in sorted(moments, key=lambda one: one[1])
    ]
    yield Table("Times of the incident", ("what", *(one.key for one in zones), "since it began"), rows)


def _detected(found: Findings) -> Iterator[Block]:
    incident = found.incident
    if incident.detected is None:
        yield Text("No alert of this SLO fired. Who noticed, and how, is for people to fill in.")
        return
    at = incident.at_detection
    spent = between(incident.share(at.bad_lower), incident.share(at.bad))
    yield Text(
        f"By the alert {alert_of(incident.alerts[0].window)} at {moment_text(incident.detected, UTC)}, "
        f"{lasted(incident.detected - incident.began)} after the first bad minute. By then {bad_of(incident.slo, at)} "
        f"were bad: {spent} of the budget."
    )
    rows = [
        (
            alert.window.severity, f"{alert.window.long} and {alert.window.short}", f"{alert.window.factor}",
            moment_text(alert.began, UTC), "still fires" if alert.ended is None else moment_text(alert.ended, UTC),
            lasted((alert.ended if alert.ended is not None else found.through) - alert.began),
        )
        for alert in incident.alerts
    ]  # fmt: skip
    yield Table(
        "Alerts of the incident", ("severity", "windows", "burn above", "fired", "ended", "for"), rows, frozenset({2})
    )


def _recovered(found: Findings) -> Iterator[Block]:
    incident = found.incident
    if not incident.over:
        yield Text("It has not, or not for an hour yet when the data ends.")
        return
    yield Text(f"The last bad minute ended at {moment_text(incident.ended, UTC)}; an hour without a burn followed.")
    near = [
        lane.text
        for lane in found.lanes
        if any(abs(span.end - incident.ended) <= AROUND_SECONDS for span in lane.spans)
    ]
    if near:
        yield Text(f"What ended or happened within {lasted(AROUND_SECONDS)} of that:")
        yield Items(near[:MOST_EVIDENCE])


def _burned(found: Findings) -> Iterator[Block]:
    incident, (before, after) = found.incident, found.budgets
    slo, counts = incident.slo, incident.counts
    rows = [
        ("objective", f"{promise(slo)}, over {slo.window.words}"),
        ("bad", bad_of(slo, counts)),
        ("budget of the window", f"{count(incident.allowed)} {unit_of(slo)}"),
        ("spent by the incident", between(incident.share(counts.bad_lower), incident.share(counts.bad))),
        ("left before", between(*(before or (None, None)))),
        ("left after", between(*(after or (None, None)))),
        ("watched", percent(counts.coverage, 2)),
    ]
    yield Table("Budget", ("what", "figure"), rows)
    if counts.bad_lower != counts.bad:
        yield Text("Two figures are bounds: the threshold lies between two buckets, and the truth between them.")
    if counts.excluded_seconds:
        yield Text(f"{lasted(counts.excluded_seconds)} of it were excluded later and are in no figure.")
    if found.others:
        words = [
            f"{name_of(o.slo, o.group)}: {bad_of(o.slo, o.counts)}, {percent(o.share(o.counts.bad))}"
            for o in found.others
        ]
        yield Text("Other groups of this SLO burned at that time:")
        yield Items(words)


def _timeline(found: Findings) -> Iterator[Block]:
    incident = found.incident
    lines: list[tuple[float, str]] = [(float(incident.began), "The burn begins: first bad minute.")]
    for alert in incident.alerts:
        lines.append((alert.began, f"Alert fires: {alert_of(alert.window)}."))
        if alert.ended is not None:
            lines.append((alert.ended, f"Alert ends: {alert_of(alert.window)}."))
    if incident.over:
        lines.append((float(incident.ended), "The burn ends: last bad minute over."))
    for one in found.exclusions:
        state = "" if one.active else ", taken back later"
        until = moment_text(one.until, UTC)
        lines.append((float(one.since), f"Excluded until {until} by {one.author}: {one.reason}{state}."))
    for lane in found.lanes:
        for span in lane.spans:
            ends = f", for {lasted(span.end - span.start)}" if span.end > span.start else ""
            lines.append((span.start, f"{lane.text}{ends}."))
    lines.sort(key=lambda line: line[0])
    rows = [(moment_text(at, UTC), text) for at, text in lines]
    yield Table(
        "What happened when; hardware and engines are those that took part", ("time", "what"), rows[:MOST_LINES]
    )
    if len(rows) > MOST_LINES:
        yield Text(f"{len(rows) - MOST_LINES} later lines are left out; the service's page shows them all.")
    yield Items(["(deployments, configuration, traffic, what people did and when)"])


def _who(found: Findings) -> Iterator[Block]:
    who, unit = found.who, unit_of(found.incident.slo)
    yield Text(f"{who.verdict.text} Seen at the same time is not the cause: that is for people to find.")
    columns = ("replica", "node", "bad", "of the bad", "of the traffic", "beyond its traffic")
    rows = [
        (one.key or "not known", ", ".join(one.nodes) or "not known", f"{count(one.bad)} {unit}", percent(one.share),
         percent(one.traffic), "" if one.excess is None else count(max(0.0, one.excess)))
        for one in who.spenders[:MOST_SPENDERS]
    ]  # fmt: skip
    yield Table("Spenders by replica, those beyond their traffic first", columns, rows, frozenset({2, 3, 4, 5}))
    if len(who.spenders) > MOST_SPENDERS:
        yield Text(f"{len(who.spenders) - MOST_SPENDERS} more spent less.")
    gpus = [one for one in found.by_gpu.spenders if one.key and (one.excess or 0) > 0 and one.gpus][:MOST_SPENDERS]
    if gpus:
        yield Text(f"GPUs that the first of them run on: {listed(_gpu(one) for one in gpus)}.")
    seen = [e for one in who.spenders[:1] for e in one.evidence][:MOST_EVIDENCE]
    if seen:
        yield Text("What was seen with the first of them, what goes best with its errors first:")
        yield Items([f"{e.text}{'' if e.fits else ' (does not go with its errors)'}" for e in seen])


def _gpu(one: Spender) -> str:
    shared = f" (spends with {one.shared - 1} more)" if one.shared > 1 else ""
    return f"{gpu_of(one.gpus[0])}{shared}"


def _at_risk(found: Findings) -> Iterator[Block]:
    evidence = found.who.verdict.evidence
    if evidence is None:
        yield Text("Nothing that was watched goes with the burn, so there is no sign to look for elsewhere.")
        return
    some = [one for one in found.at_risk if one.last is not None]
    if not some:
        yield Text(f"In the day before {moment_text(found.through, UTC)} nobody else showed the sign: {evidence.text}.")
    rows = [
        (one.name, ", ".join(one.why), one.text or "nothing of late",
         "" if one.last is None else moment_text(one.last, UTC), ", ".join(one.replicas))
        for one in found.at_risk
    ]  # fmt: skip
    if rows:
        yield Table("Others with the same signs, or beside it", ("who", "why", "seen", "last", "replicas"), rows)


def _sources(found: Findings) -> Iterator[str]:
    yield (
        "The ledger's minutes: all counts, whole minutes, without what was excluded. Shares are of the budget of the "
        "SLO's window as of the end of the incident."
    )
    yield (
        "Beginning and end are found from the burn: minutes are part of it while the five minutes up to them burned "
        f"faster than allowed; pauses up to {lasted(JOIN_SECONDS)}, or an alert's short window, belong to it."
    )
    yield "Alerts are replayed over these minutes; rules in Prometheus differ by five minutes at most."
    yield "Spenders are kept by five minutes: their sums reach up to five minutes beyond the incident."
    yield "Events of hardware and engines are what the agents' pages told; what no agent saw is not here."
