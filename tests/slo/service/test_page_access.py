"""Everybody can use it: axe-core on every view, keys alone, a phone, and a thousand SLOs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from slo.model import Method, Slo
from slo.windows import parse_window

playwright = pytest.importorskip("playwright.sync_api")

VIEWS = (
    "/",
    "/?by=service&q=n2",
    "/slo/chat-ttft?window=6h&by=gpu",
    "/gpu/B1",
    "/node/n2",
    "/slo/nope",
)
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@pytest.mark.real
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing_on_any_view(incident: Any, serve: Any, browser: Any, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    incident.slo("availability", "0.999")
    with serve(incident.service()) as url:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        found = []
        for view in VIEWS:
            page.goto(url + view)
            if page.locator("#charts").count():
                page.wait_for_selector("#charts path.budget")
                page.locator("#figures summary").click()
            told = axe.run(page, options={"runOnly": list(RULES)})
            assert told.response["passes"], "axe looked at nothing"
            found += [(view, v["id"], [node["html"] for node in v["nodes"]]) for v in told.response["violations"]]
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        context.close()
    assert found == []


@pytest.mark.real
def test_keys_alone_lead_from_the_alert_to_the_gpu_and_back(incident: Any, serve: Any, look: Any) -> None:
    with serve(incident.service()) as url:
        page = look(url)

        def tab_to(text: str) -> None:
            for _ in range(60):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.textContent.trim()") == text:
                    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                    assert outline == "solid", f"{text}: where one is must be seen"
                    return
            raise AssertionError(f"{text!r} is not reached by Tab")

        tab_to("chat ttft")
        page.keyboard.press("Enter")
        page.wait_for_url("**/slo/chat-ttft")
        tab_to("1h")
        page.keyboard.press("Enter")
        page.wait_for_url("**window=1h**")
        tab_to("As a table")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#figures table")).to_be_visible()
        tab_to("GPU")
        page.keyboard.press("Enter")
        page.wait_for_url("**by=gpu**")
        tab_to("GPU 4")
        page.keyboard.press("Enter")
        page.wait_for_url("**/gpu/B1")
        tab_to("n2")
        page.keyboard.press("Enter")
        page.wait_for_url("**/node/n2")


@pytest.mark.real
def test_focus_and_what_is_open_stay_while_the_page_follows(incident: Any, serve: Any, look: Any, again: Any) -> None:
    service = incident.service()
    with serve(service) as url:
        page = look(f"{url}/slo/chat-ttft?window=1h")
        page.locator("#figures summary").click()
        link = page.locator("#spenders").get_by_role("link", name="pod")
        link.focus()
        slo = incident.slos[0]
        incident.fill(slo, {incident.noon + m * 60: (0.0, 100.0) for m in range(5)}, simulated=True)
        incident.now += 300
        again(service)
        playwright.expect(page.locator("#head")).to_contain_text("counted through 12:05", timeout=15_000)
        assert page.evaluate("document.activeElement.textContent") == "pod"
        playwright.expect(page.locator("#figures table")).to_be_visible()


@pytest.mark.real
def test_a_thousand_slos_are_listed_found_and_opened(world: Any, serve: Any, look: Any) -> None:
    window = parse_window("30d")
    for at in range(1000):
        world.slos.append(
            Slo(f"team{at:03d}", "ttft", "ttft", Decimal("0.95"), window, Method.OCCURRENCES, Decimal("0.5"))
        )
    world.fill(world.slos[777], {world.noon - m * 60: (50.0, 100.0) for m in range(1, 40)})
    with serve(world.service()) as url:
        page = look(url)
        assert page.locator("#rows tr").count() == 1000
        assert page.locator("#rows tr").first.get_attribute("id") == "r-team777-ttft"
        page.keyboard.press("/")
        page.keyboard.type("team31")
        playwright.expect(page.locator("#rows tr:visible")).to_have_count(10)
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_url("**/slo/team310-ttft")
        assert "Nothing was counted" in page.locator("#charts").inner_text()
