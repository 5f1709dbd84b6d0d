"""The report on a period: its sums are the ledger's, what it says of hardware follows the rule, both forms agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.metrics.gpu import DRIVER_VERSION_LABEL
from slo.facts import CLOCK_EVENT, SLOWER, UNHEALTHY, XID, Fact
from slo.incident import Incident
from slo.ledger import Ledger
from slo.ledger_reader import LedgerReader
from slo.model import Slo
from slo.observed import Slice
from slo.report import findings, gather, html, period, postmortem, telling
from slo.report.budgets import budgets, counted_as
from slo.report.document import Chart, Document, Heading, Items, Table, Text
from slo.report.gather import Report
from slo.report.suspects import LOOK, REPLACE, suspects
from slo.spec import load
from tests.slo.report import seeded
from tests.slo.report.seeded import DAY, END, FIRST, GAP, HOUR, MINUTE, OUTAGE, SECOND, START

OCTOBER = period.month("2026-10", "Europe/Berlin")


@pytest.fixture
def report(ledger: LedgerReader, slos: Mapping[str, Slo]) -> Report:
    return gather.gather(ledger, list(slos.values()), OCTOBER)


# Sums


@settings(max_examples=40, deadline=None)
@given(st.integers(-600, 7 * 1440), st.integers(5, 6 * 1440), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
def test_the_sums_of_any_period_are_the_ledgers(
    written: object, slos: Mapping[str, Slo], first: int, minutes: int, zone: str
) -> None:
    one = period.between(START + first * MINUTE, START + (first + minutes) * MINUTE, zone)
    with LedgerReader.reading(written.data / "ledger.sqlite") as ledger:  # type: ignore[attr-defined]
        for slo in slos.values():
            for found in budgets(ledger, slo, one):
                end = min(one.until, END)
                whole = ledger.counts(slo.id, (), one.since, end)
                assert found.counts == whole
                assert sum(day.counts.bad for day in found.days) == whole.bad
                assert sum(day.counts.total for day in found.days) == whole.total
                if found.remaining is None:  # nobody watched
                    assert whole.observed_seconds == whole.total == 0
                    continue
                assert found.line[-1] == pytest.approx((end, found.remaining))
                spent = ledger.spenders(slo.id, (), one.since // 300 * 300, end)
                assert sum(bad for bad, _ in spent.values()) >= whole.bad


def test_the_budget_is_the_periods_own(report: Report) -> None:
    by_id = {one.slo.id: one for one in report.budgets}
    ttft, availability = by_id["chat-ttft"], by_id["chat-availability"]
    assert ttft.counts.bad == 40 * 36 + 30 * 36  # what was excluded is not in it
    assert ttft.allowed == pytest.approx(ttft.counts.total * 0.01)
    assert availability.allowed == pytest.approx((31 * DAY + HOUR) / 60 * 0.001)
    assert availability.remaining == pytest.approx(1 - 2 / availability.allowed)


def test_the_worst_day_and_the_gap_are_told(report: Report) -> None:
    ttft = next(one for one in report.budgets if one.slo.id == "chat-ttft")
    assert ttft.worst_day is not None
    assert ttft.worst_day.day.day == 25
    assert [tuple(gap) for gap in ttft.gaps] == [(GAP, GAP + 20 * MINUTE)]
    watched = END - START - 20 * MINUTE - HOUR  # the excluded hour is neither watched nor missing
    assert ttft.watched == pytest.approx(watched / (END - START - HOUR))


def test_incidents_cost_what_burned_in_them(report: Report) -> None:
    ttft = next(one for one in report.budgets if one.slo.id == "chat-ttft")
    assert [(cost.incident.began, cost.bad) for cost in report.costs] == [(FIRST, 1440.0), (SECOND, 1080.0)]
    assert sum(cost.share for cost in report.costs) == pytest.approx(ttft.spent)


def test_an_exclusion_says_what_it_was_worth(report: Report) -> None:
    (outage, worth), (mistake, nothing) = report.exclusions
    ttft = next(one for one in worth if one.budget.slo.id == "chat-ttft")
    assert (outage.since, outage.until, outage.author) == (OUTAGE, OUTAGE + HOUR, "ada")
    assert ttft.bad == 60 * 40.0
    assert (mistake.author, mistake.undone_by, nothing) == ("bob", "ada", [])


def test_spenders_are_summed_over_slos_by_shares_of_budgets(report: Report) -> None:
    (node,) = report.spenders["node"]
    ttft, availability = ({one.slo.id: one for one in report.budgets}[f"chat-{n}"] for n in ("ttft", "availability"))
    assert node.key == "n2"
    assert node.spent == pytest.approx(2520 / ttft.allowed + 2 / availability.allowed)
    assert [one.key for one in report.spenders["gpu"]] == ["B1", "B0"]  # that something was seen on first
    assert {one.shared for one in report.spenders["gpu"]} == {2}


def test_an_edited_file_is_not_reported_under_what_was_counted(ledger: LedgerReader, slos: Mapping[str, Slo]) -> None:
    edited = replace(slos["ttft"], threshold_seconds=Decimal(2))
    assert not counted_as(ledger, edited)
    found = gather.gather(ledger, [edited, slos["availability"]], OCTOBER)
    assert [one.slo.id for one in found.budgets] == ["chat-availability"]
    assert "chat-ttft" in telling.tell(found).markdown().split("serve it first")[1].splitlines()[0]


def test_revisions_that_were_counted_then_are_told_apart(report: Report) -> None:
    assert [one.active for one in report.revisions["chat-ttft"]] == [False, True]
    assert "chat-availability" not in report.revisions
    told = telling.tell(report).markdown()
    assert "within 1 s" in told
    assert "within 0.5 s" in told


# Hardware


def seen(kind: str, at: float, *, gpu: str = "G", value: float = 1.0, **labels: str) -> Fact:
    return Fact(at, kind, {"UUID": gpu, "gpu": "0", "node": "n"} | labels, value, "seen")


def tiles(kind: str, minutes: int, **labels: str) -> list[Fact]:
    return [seen(kind, START + at * MINUTE, **labels) for at in range(0, minutes, 5)]


def verdict_on(facts: Sequence[Fact]) -> str:
    found = suspects(facts, END, ())
    return found[0].verdict if found else ""


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ([seen(XID, START, xid="64", **{"class": "fatal"})], REPLACE),
        ([seen(XID, START, xid="79", **{"class": "fatal"})], LOOK),
        ([seen(XID, START, xid="79", **{"class": "fatal"}), seen(XID, START + 300, xid="79")], LOOK),
        ([seen(XID, START, xid="79", **{"class": "fatal"}), seen(XID, START + HOUR, xid="79")], REPLACE),
        ([seen(XID, START, xid="48", **{"class": "fatal"}), seen(XID, START + DAY, xid="48")], REPLACE),
        ([seen(XID, START, xid="74", **{"class": "fatal"}), seen(XID, START + DAY, xid="74")], LOOK),
        ([seen(XID, START, xid="54", **{"class": "hardware"}), seen(XID, START + DAY, xid="54")], LOOK),
        ([seen(XID, START + at * DAY, xid="31", **{"class": "app"}, value=90.0) for at in range(3)], ""),
        ([seen(XID, START, xid="45"), seen(XID, START + DAY, xid="45")], ""),
        (tiles(UNHEALTHY, 10, check="lost"), LOOK),
        ([*tiles(UNHEALTHY, 10, check="lost"), seen(UNHEALTHY, START + DAY, check="lost")], REPLACE),
        (tiles(UNHEALTHY, 5, check="ecc"), LOOK),
        (tiles(UNHEALTHY, 25, check="thermal"), ""),
        (tiles(UNHEALTHY, 30, check="thermal"), LOOK),
        (tiles(CLOCK_EVENT, 60, cause="hw_thermal"), LOOK),
        (tiles(CLOCK_EVENT, 6000, cause="power_cap"), ""),
        (tiles(SLOWER, 60, figure="sm_clock"), LOOK),
        ([], ""),
    ],
)  # fmt: skip
def test_who_is_to_be_replaced(facts: list[Fact], verdict: str) -> None:
    assert verdict_on(facts) == verdict


def test_gravest_first_then_by_what_they_spent(report: Report) -> None:
    (one,) = report.suspects
    assert (one.gpu.uuid, one.verdict) == ("B1", REPLACE)
    assert "2 times in 2 episodes" in one.findings[0].text
    assert one.spent is not None
    assert one.spent.key == "B1"
    two = suspects([seen(UNHEALTHY, START, gpu="H", check="ecc"), seen(XID, START, xid="64")], END, ())
    assert [each.gpu.uuid for each in two] == ["G", "H"]


# The draft about an incident


@pytest.fixture
def latest(ledger: LedgerReader, report: Report) -> Incident:
    return max((cost.incident for cost in report.costs), key=lambda one: one.began)


def test_the_draft_tells_detection_cost_and_timeline_from_the_ledger(ledger: LedgerReader, latest: Incident) -> None:
    told = postmortem.draft(findings.find(ledger, latest)).markdown()
    assert "1 080 of 3 000 requests missed the objective" in told
    assert "fired 25 min after it began" in told
    assert "| 26 Oct 2026 14:01 UTC | GPU 3 on n2: XID 79." in told
    assert "is not the cause: that is for people to find" in told
    assert "- [ ] " in told


def test_who_is_at_risk_has_the_same_sign_of_late(latest: Incident, tmp_path: Path) -> None:
    _, data = seeded.write(tmp_path)
    with closing(Ledger(data / "ledger.sqlite")) as writing:
        other = {
            "UUID": "A1",
            "gpu": "3",
            "node": "n1",
            "xid": "79",
            "modelName": "NVIDIA H100 80GB HBM3",
            DRIVER_VERSION_LABEL: "570.1",
        }
        writing.append((), None, [Fact(END - HOUR, XID, other, 1.0, "GPU 3 on n1: XID 79")])
    with LedgerReader.reading(data / "ledger.sqlite") as ledger:
        found = findings.find(ledger, latest)
    assert [(one.name, one.why) for one in found.at_risk] == [
        ("GPU 3 on n1", ("same sign", "same product", "same driver")),
        ("GPU 2 on n2", ("same node",)),
    ]
    assert found.at_risk[0].replicas == ("a:1",)


# Both forms


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_whatever_a_cell_says_stays_in_its_cell(rows: list[tuple[str, str]]) -> None:
    document = Document("t", blocks=[Table("c", ("a", "b"), rows)])
    lines = document.markdown().splitlines()[2:]
    assert len(lines) == len(rows) + 2
    assert all(line.replace("\\\\", "").replace("\\|", "").count("|") == 3 for line in lines)


def test_a_page_is_escaped_and_asks_no_other_host() -> None:
    evil = '<script src="https://evil.example/x.js"></script>'
    chart = Chart([(0.0, 1.0), (1.0, -0.5)], evil)
    blocks = [Heading(evil), Text(evil), Items([evil]), Table(evil, (evil, evil), [(evil, chart)])]
    page = Page(html.page(Document(evil, evil, blocks)))
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    addresses = [value for _, said in page.tags for name, value in said.items() if name in ("src", "href", "action")]
    assert addresses
    assert all(value is not None and value.startswith("#") for value in addresses)
    assert "".join(page.text).count(evil) >= 6


def test_both_forms_say_the_same(report: Report) -> None:
    document = telling.tell(report)
    page = Page(html.page(document))
    shown = "".join(page.text).replace("\u00a0", " ")
    for block in document.blocks:
        for row in block.rows if isinstance(block, Table) else ():
            assert all(cell in shown for cell in row if isinstance(cell, str))
    charts = [said for tag, said in page.tags if tag == "svg"]
    assert len(charts) == len(report.budgets)
    assert all(said["role"] == "img" and said["aria-label"] for said in charts)


def test_simulated_figures_say_so_on_top_and_at_the_end(ledger: LedgerReader, slos: Mapping[str, Slo]) -> None:
    found = gather.gather(ledger, list(slos.values()), OCTOBER)
    real = telling.tell(found)
    assert real.warning == ""
    assert "imulated" not in real.markdown()
    pretended = telling.tell(replace(found, budgets=[replace(one, simulated=True) for one in found.budgets]))
    assert pretended.markdown().count("Simulated:") == 2
    assert html.page(pretended).count("Simulated:") == 2


# What is kept by hours


def test_alerts_are_told_only_from_where_minutes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(seeded.FILE, encoding="utf-8")
    slos = load([tmp_path / "chat.yaml"])
    first = START - 42 * DAY

    def bad(t: int) -> float:
        return (
            40.0 if t - first in range(2 * DAY, 2 * DAY + 2400) or t - first in range(40 * DAY, 40 * DAY + 2400) else 0
        )

    with closing(Ledger(tmp_path / "ledger.sqlite")) as writing:
        writing.register(slos)
        for start in range(first, START, 6 * HOUR):
            minutes = range(start, start + 6 * HOUR, MINUTE)
            writing.append(
                Slice("chat-ttft", 1, (), t, 100 - bad(t), 100 - bad(t), 100, 60, {}, False) for t in minutes
            )
    with LedgerReader.reading(tmp_path / "ledger.sqlite") as ledger:
        kept = ledger.minutes_from("chat-ttft", ())
        assert kept is not None
        assert kept > first + 2 * DAY
        found = gather.gather(ledger, slos, period.between(first, START))
    assert found.replayed_from == kept + 3 * DAY  # the longest window
    assert [cost.incident.began for cost in found.costs] == [first + 40 * DAY]
    assert found.budgets[0].counts.bad == 2 * 40 * 40.0
    assert f"Before {found.period.at(found.replayed_from)} the ledger keeps hours" in telling.tell(found).markdown()
