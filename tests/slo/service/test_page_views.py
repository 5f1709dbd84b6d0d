"""What can be chosen and sent: filters, groups, windows; and what is marked on an SLO's time axis."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from slo import exclusions
from slo.model import Part
from slo.page.filters import Filters
from slo.page.links import runbook_url
from slo.periods import calendar_window

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture
def three(incident: Any) -> Any:
    """chat-ttft pages; search-tpot and search-ttft are well."""
    minutes = range(incident.noon - 3600, incident.noon, 60)
    for name in ("tpot", "ttft"):
        slo = incident.slo(name, "0.9", service="search")
        incident.fill(slo, dict.fromkeys(minutes, (0.0, 10.0)), simulated=True)
    return incident


@pytest.mark.real
def test_a_narrowed_list_is_an_address_that_can_be_sent(three: Any, serve: Any, look: Any) -> None:
    with serve(three.service()) as url:
        page = look(url)
        page.get_by_role("navigation", name="State").get_by_role("link", name="within budget").click()
        page.wait_for_url("**/?state=ok")
        assert page.locator("#rows tr").count() == 2
        assert page.locator("#shown").inner_text() == "2 of 3"
        assert page.locator("article.incident").count() == 1  # what burns is never filtered away
        page.keyboard.press("/")
        page.keyboard.type("tpot")
        page.wait_for_url("**/?state=ok&q=tpot")
        sent = look(page.url)
        assert sent.locator("#rows tr").all_inner_texts()[0].startswith("search tpot")
        assert sent.locator("#rows tr").count() == 1
        sent.get_by_role("link", name="Remove the filter search tpot").click()
        sent.wait_for_url("**/?state=ok")
        sent.get_by_role("navigation", name="State").get_by_role("link", name="within budget").click()
        sent.wait_for_url(f"{url}/")


@pytest.mark.real
def test_services_stand_together_the_worst_first(three: Any, serve: Any, look: Any) -> None:
    with serve(three.service()) as url:
        page = look(url)
        page.get_by_role("link", name="By service").click()
        page.wait_for_url("**/?by=service")
        heads = page.locator("#rows tr.service")
        assert [text.split() for text in heads.all_inner_texts()] == [
            ["chat", "Paging", "1", "SLO"],
            ["search", "Within", "budget", "2", "SLOs"],
        ]
        page.keyboard.press("/")
        page.keyboard.type("tpot")
        playwright.expect(page.locator("#rows tr:visible")).to_have_count(2)  # its service stays above it
        page.keyboard.press("Escape")
        page.locator("#rows").get_by_role("link", name="search", exact=True).click()
        page.wait_for_url("**/?service=search")
        assert page.locator("#rows tr").count() == 2


@pytest.mark.real
def test_an_slo_of_several_groups_lets_one_choose(world: Any, serve: Any, look: Any) -> None:
    slo = world.slo(group_by=("model_name",))
    minutes = range(world.noon - 3600, world.noon, 60)
    for model, bad in (("large", 9.0), ("small", 0.0)):
        world.fill(slo, dict.fromkeys(minutes, (bad, 10.0)), group=(("model_name", model),))
    with serve(world.service()) as url:
        page = look(f"{url}/slo/chat-ttft")
        assert page.url == f"{url}/?slo=chat-ttft"
        page.locator("#rows").get_by_role("link").first.click()
        page.wait_for_url("**/slo/chat-ttft?group.model_name=large")
        page.get_by_role("navigation", name="Group").get_by_role("link", name="small").click()
        page.wait_for_url("**/slo/chat-ttft?group.model_name=small**")
        assert page.locator("h1").inner_text() == "chat ttft model_name small"


@pytest.mark.real
def test_alerts_maintenance_and_events_share_one_axis(incident: Any, serve: Any, look: Any) -> None:
    # Before the service starts: an hour of the quiet time is left out.
    with closing(sqlite3.connect(incident.path)) as db, db:
        exclusions.add(
            db, incident.noon - 7200, incident.noon - 5400, None, reason="new switches", author="ada", now=1.0
        )
    # Quiet hours before: a window that nobody watched means less.
    before = range(incident.noon - 9 * 3600, incident.noon - 9000, 60)
    incident.fill(incident.slos[0], dict.fromkeys(before, (0.0, 100.0)), simulated=True)
    incident.ledger.reread()
    with serve(incident.service()) as url:
        page = look(f"{url}/slo/chat-ttft?window=6h")
        page.wait_for_selector("#charts path.budget")
        chart = json.loads(page.locator("#chart-data").text_content() or "")
        alerts = chart["alerts"]
        assert [(a["severity"], a["long"], a["factor"]) for a in alerts[:2]] == [
            ("page", "1h", 14.4),
            ("page", "6h", 6.0),
        ]
        step, first = chart["step"], chart["points"][0][0]
        firing = [first + at * step for at, point in enumerate(alerts[0]["points"]) if point[2] == 3]
        since = (incident.noon - firing[0]) / 60
        assert 10 <= since <= 13  # the alert says since 11:48, which is the end of the step in which it began
        assert page.locator("#charts rect.fires").count() >= len(firing)
        assert page.locator("#charts rect.maintenance").count() == 1
        lanes = page.locator("#events li")
        assert lanes.first.inner_text().split()[:4] == ["Left", "out", "new", "switches"]
        assert "GPU 4 on n2" in lanes.nth(1).inner_text()
        assert "30\u00a0min left out for maintenance" in page.locator("#head").inner_text()
        # An event lies below what it coincides with: its mark begins where the bad steps do.
        hot = page.locator("#charts rect.burn.hot").first.bounding_box()
        mark = lanes.nth(1).locator("rect").first.bounding_box()
        assert hot is not None
        assert mark is not None
        assert abs(hot["x"] - mark["x"]) < 4
        late = lanes.nth(1).locator("rect").first
        width = late.bounding_box()["width"]
        late.hover(position={"x": width - 2, "y": 2})
        playwright.expect(page.locator(".tip")).to_contain_text("page over 1h fires")


@pytest.mark.real
def test_a_new_revision_is_marked_where_it_begins(world: Any, serve: Any, look: Any) -> None:
    slo = world.slo()
    world.fill(slo, dict.fromkeys(range(world.noon - 7200, world.noon - 3600, 60), (0.0, 10.0)))
    world.slos.clear()
    edited = world.slo(threshold_seconds=Decimal("0.25"))
    world.fill(edited, dict.fromkeys(range(world.noon - 3600, world.noon, 60), (0.0, 10.0)))
    with serve(world.service()) as url:
        page = look(f"{url}/slo/chat-ttft?window=6h")
        page.wait_for_selector("#charts line.revision", state="attached")
        assert "Revision 2 counts since 11:00 UTC" in page.locator("#over-time").inner_text()
        page.goto(f"{url}/slo/chat-ttft?window=1h")
        page.wait_for_selector("#charts path.budget", state="attached")
        assert page.locator("#charts line.revision").count() == 0


@pytest.mark.real
def test_where_only_some_are_simulated_each_says_so(incident: Any, serve: Any, look: Any) -> None:
    real = incident.slo("tpot")
    incident.fill(real, {incident.noon - 60: (0.0, 10.0)})
    with serve(incident.service()) as url:
        page = look(url)
        assert "Some SLOs are: those that say so" in page.locator(".note.simulated").inner_text()
        said = dict(zip(("ttft", "tpot"), page.locator("#rows tr").all_inner_texts(), strict=True))
        assert ("simulated" in said["ttft"], "simulated" in said["tpot"]) == (True, False)


@pytest.mark.real
def test_calendars_and_composites_say_what_they_are(three: Any, serve: Any, look: Any) -> None:
    parts = tuple(Part(one.id, Decimal(1), one) for one in three.slos)
    three.slo("composite", "0.99", threshold_seconds=None, parts=parts)
    month = three.slo("itl", "0.99", window=calendar_window("month", "Europe/Berlin"))
    three.fill(month, {three.noon - 60: (0.0, 10.0)})
    with serve(three.service()) as url:
        page = look(f"{url}/slo/chat-composite")
        assert page.get_by_role("heading", name="Made of").is_visible()
        page.locator("#alerts").get_by_role("link", name="search-tpot").click()
        page.wait_for_url("**/slo/search-tpot")
        page.goto(f"{url}/slo/chat-itl")
        said = page.locator("#head").inner_text()
        assert "over calendar month (Europe/Berlin)" in said
        assert "begins anew 30 Nov 23:00 UTC" in said


def test_a_runbook_is_linked_where_runbooks_are_served(incident: Any, again: Callable[[Any], None]) -> None:
    service = incident.service()
    again(service)
    assert runbook_url(service.statuses()[0], "") == ""
    assert runbook_url(service.statuses()[0], "/runbooks") == "/runbooks/SloErrorBudgetBurn.md"


@pytest.mark.parametrize(
    ("own", "expected"),
    [("https://wiki.example/ttft", "https://wiki.example/ttft"), ("javascript:alert(1)", "/runbooks/SloNoData.md")],
)
def test_only_addresses_become_links(world: Any, own: str, expected: str, again: Callable[[Any], None]) -> None:
    world.slo(annotations={"runbook_url": own})
    service = world.service()
    again(service)
    assert runbook_url(service.statuses()[0], "/runbooks") == expected


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ({}, "/"),
        ({"q": "a b", "state": "ok"}, "/?q=a+b&state=ok"),
        ({"by": "nonsense", "other": "x"}, "/"),
        ({"by": "service", "service": "a&b"}, "/?service=a%26b&by=service"),
    ],
)
def test_filters_survive_the_way_through_an_address(query: dict[str, str], url: str) -> None:
    assert Filters.of(query).url() == url
