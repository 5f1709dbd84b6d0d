"""The page in a real browser, and what its words and drawings say."""

from __future__ import annotations

import re
import urllib.request
from decimal import Decimal
from typing import Any

import pytest

from slo.page import drawing, text

playwright = pytest.importorskip("playwright.sync_api")


@pytest.mark.real
def test_the_overview_says_what_burns_since_when_and_who(incident: Any, serve: Any, look: Any) -> None:
    incident.slo("availability", "0.999")
    with serve(incident.service()) as url:
        page = look(url)
        assert page.title() == "(1) SLOs · gpufleet"
        burns = page.locator("article.incident")
        said = burns.inner_text()
        for words in (
            "chat ttft",
            "since 11:48 UTC",
            "burning since 11:30",
            "b:1 on n2 spent 100% with 50% of the traffic",
        ):
            assert words in said
        assert "GPU 4, GPU 3 on n2" in said
        assert "At the same time: GPU 4 on n2: clocks held down by hw thermal" in said
        assert {one.get_attribute("title") for one in burns.get_by_role("link", name="GPU 4").all()} == {"B1"}
        assert "coincidence" in said
        rows = page.locator("#rows tr")
        assert rows.count() == 2
        assert "Paging" in rows.first.inner_text()
        assert "No data" in rows.last.inner_text()
        assert "No real GPU" in page.locator(".note.simulated").inner_text()


@pytest.mark.real
def test_keys_alone_find_and_open_an_slo(incident: Any, serve: Any, look: Any) -> None:
    incident.slo("tpot", "0.9", service="search")
    with serve(incident.service()) as url:
        page = look(url)
        page.keyboard.press("/")
        page.keyboard.type("search")
        playwright.expect(page.locator("#rows tr:visible")).to_have_count(1)
        assert page.locator("#shown").inner_text() == "1 of 2"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_url("**/slo/search-tpot")
        page.goto(url)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"


@pytest.mark.real
def test_one_slo_in_depth_draws_its_budget_and_names_its_spenders(incident: Any, serve: Any, look: Any) -> None:
    with serve(incident.service()) as url:
        page = look(f"{url}/slo/chat-ttft?window=1h&by=gpu")
        page.wait_for_selector("#charts path.budget")
        assert page.locator("#charts rect.burn.hot").count() == 30
        first = page.locator("table.spenders tbody").first.inner_text()
        assert "GPU 4 on n2" in first
        assert "shared: 2" in first
        assert "hw thermal" in first
        page.get_by_role("link", name="node", exact=True).click()
        page.wait_for_url("**by=node**")
        assert page.locator("table.spenders tbody th").first.inner_text().strip() == "n2"


@pytest.mark.real
def test_the_page_follows_without_reload_and_says_so_aloud(world: Any, serve: Any, look: Any, again: Any) -> None:
    slo = world.slo(objective="0.99")
    minutes = range(world.noon - 7200, world.noon, 60)
    world.fill(slo, dict.fromkeys(minutes, (0.0, 100.0)))
    service = world.service()
    with serve(service) as url:
        page = look(url)
        playwright.expect(page.locator("#now-title")).to_have_text("Nothing burns")
        page.keyboard.press("/")
        world.fill(slo, {world.noon + m * 60: (100.0, 100.0) for m in range(30)})
        world.now += 1800
        again(service)
        playwright.expect(page.locator("#now-title")).to_have_text("1 SLO burns now", timeout=15_000)
        playwright.expect(page.locator("#announce")).to_contain_text("chat-ttft Paging")
        assert page.evaluate("document.activeElement.id") == "q"


@pytest.mark.real
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "dark")])
def test_a_phone_and_the_dark_are_served(incident: Any, serve: Any, look: Any, width: int, scheme: str) -> None:
    with serve(incident.service()) as url:
        for path in ("/", "/slo/chat-ttft"):
            page = look(url + path, width=width, color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
            assert (lightness < 60) == (scheme == "dark")
            page.locator("#theme").click()
            turned = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
            assert (turned < 60) != (scheme == "dark")


@pytest.mark.real
def test_what_burns_before_an_alert_is_said_with_its_first_minute(world: Any, serve: Any, look: Any) -> None:
    slo = world.slo("availability", "0.999")
    world.fill(slo, {world.noon - m * 60: (1.0 if m < 3 else 0.0, 1.0) for m in range(1, 8)})
    with serve(world.service()) as url:
        page = look(url)
        playwright.expect(page.locator("#now-title")).to_have_text("No alert yet")
        said = page.locator("#now p.note").inner_text()
        assert "chat-availability burns at" in said
        assert "since 11:58 UTC" in said
        assert page.locator("#rows td.left .n").inner_text() == "95.4 %"


@pytest.mark.real
def test_the_first_view_needs_no_script(incident: Any, serve: Any, look: Any) -> None:
    with serve(incident.service()) as url:
        page = look(url, java_script_enabled=False)
        assert page.locator("article.incident").count() == 1
        page.fill("#q", "nothing like it")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=nothing**")
        assert page.locator("#none").is_visible()
        assert "b:1" in look(f"{url}/slo/chat-ttft", java_script_enabled=False).locator("#spenders").inner_text()


@pytest.mark.real
def test_an_address_that_names_no_slo_leads_on(incident: Any, serve: Any, browser: Any) -> None:
    with serve(incident.service()) as url:
        page = browser.new_page()
        answer = page.goto(f"{url}/slo/chat-tftt")
        assert answer.status == 404
        page.get_by_role("link", name="chat-ttft").click()
        page.wait_for_selector("#charts path.budget")
        page.close()


def test_what_a_label_says_is_never_markup(world: Any, serve: Any) -> None:
    slo = world.slo(group_by=("model_name",))
    world.fill(slo, {world.noon - 60: (1.0, 10.0)}, group=(("model_name", "<img src=x onerror=alert(1)>"),))
    with serve(world.service()) as url, urllib.request.urlopen(url, timeout=10) as answer:
        body = answer.read().decode()
    assert "<img src=x" not in body
    assert "&lt;img src=x" in body


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (None, text.NONE),
        (0.0, "0 %"),
        (0.0004, "0.04 %"),
        (0.2, "20 %"),
        (0.99999, "99.999 %"),
        (1.0, "100 %"),
        (-0.15, "\u221215 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(ratio: float | None, said: str) -> None:
    assert text.percent(ratio) == said


def test_a_sparkline_has_its_figures_as_text_and_gaps_stay_gaps() -> None:
    drawn = str(drawing.sparkline([(0, 1.0), (60, 0.5), (120, None), (180, 0.25)], "30d", "risk"))
    assert 'aria-label="Budget left over 30d: from 100 % to 25 %, lowest 25 %"' in drawn
    assert re.search(r'class="line" d="([^"]+)"', drawn)[1].count("M") == 2  # type: ignore[index]


def test_objectives_are_said_exactly() -> None:
    assert text.decimal_percent(Decimal("0.9995")) == "99.95 %"
    assert text.duration(5 * 3600 + 20 * 60) == "5\u00a0h\u00a020\u00a0min"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-1e-9, "0"), (13.34, "13.3"), (40.0, "40"), (-9120.9, "\u22129\u202f121"), (999.96, "1\u202f000")],
)
def test_counts_read_as_people_write_them(value: float, shown: str) -> None:
    assert text.count(value) == shown
