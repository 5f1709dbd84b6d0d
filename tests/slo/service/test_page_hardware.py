"""One GPU, one node: what they did to every SLO, on the page and in the API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture
def two_slos(incident: Any) -> Any:
    """The incident, and beside it chat-e2e of the same two replicas, which both are well."""
    slo = incident.slo("e2e", objective="0.9")
    minutes = range(incident.noon - 9000, incident.noon, 60)
    halves = {"a:1": (0.0, 50.0), "b:1": (0.0, 50.0)}
    incident.fill(slo, dict.fromkeys(minutes, (0.0, 100.0)), spenders=lambda _: halves, simulated=True)
    return incident


def told(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_a_gpu_tells_its_part_in_every_slo_as_attribution_does(two_slos: Any, serve: Any) -> None:
    with serve(two_slos.service()) as url:
        gpu = told(f"{url}/api/v1/gpus/B1?window=6h")
        node = told(f"{url}/api/v1/nodes/n2?window=6h")
        spenders = told(f"{url}/api/v1/slos/chat-ttft/attribution?by=gpu&window=6h")["spenders"]
    assert [(one["id"], one["bad"], one["shared"]) for one in gpu["slos"]] == [
        ("chat-ttft", 1500.0, 2),
        ("chat-e2e", 0.0, 2),
    ]
    same = next(one for one in spenders if one["key"] == "B1")
    assert {name: gpu["slos"][0][name] for name in ("bad", "total", "share", "traffic", "excess")} == {
        name: same[name] for name in ("bad", "total", "share", "traffic", "excess")
    }
    assert (gpu["node"], gpu["gpus"]) == ("n2", [{"uuid": "B1", "index": "4", "node": "n2"}])
    assert [(r["target"], r["pod"]) for r in gpu["replicas"]] == [("b:1", "pod-b:1")]
    [events] = gpu["events"]
    assert (events["name"], events["gpu"], len(events["spans"])) == ("hw_thermal", "B1", 1)
    assert events["spans"][0]["start"] == "2026-11-20T11:30:00Z"
    assert [g["uuid"] for g in node["gpus"]] == ["B0", "B1"]
    assert node["slos"][0]["excess"] == gpu["slos"][0]["excess"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("gpus/nope", 404, "no gpu 'nope' was seen"),
        ("nodes/nope", 404, "no node 'nope' was seen"),
        ("gpus/B1?window=1s", 400, "is not a window"),
        ("gpus/B1?by=node", 400, "'by' is no parameter of this path"),
    ],
)
def test_what_is_not_known_is_refused(incident: Any, serve: Any, path: str, status: int, words: str) -> None:
    with serve(incident.service()) as url, pytest.raises(urllib.error.HTTPError) as refused:
        told(f"{url}/api/v1/{path}")
    assert refused.value.code == status
    assert words in json.load(refused.value)["error"]["message"]


@pytest.mark.real
def test_from_what_burns_to_the_gpu_and_from_there_to_all_it_did(two_slos: Any, serve: Any, look: Any) -> None:
    with serve(two_slos.service()) as url:
        page = look(url)
        page.locator("article.incident .where").get_by_role("link", name="GPU 4").click()
        page.wait_for_url("**/gpu/B1")
        assert page.locator("h1").inner_text() == "GPU 4 on n2"
        assert "chat-ttft: 100 % of all that was bad, with 50 % of the traffic" in page.locator(".verdict").inner_text()
        rows = page.locator("#spent tbody tr")
        assert [row.split()[1] for row in rows.all_inner_texts()] == ["ttft", "e2e"]
        assert "1 500" in rows.first.inner_text().replace("\u202f", " ")
        strip = page.locator("#timeline .strips li")
        assert strip.count() == 1  # what spent nothing has no strip
        assert strip.locator("rect.hot").count() == 2  # two quarters of an hour of a day
        lane = page.locator("#timeline .lanes:not(.strips) li")
        assert "clocks held down by hw thermal" in lane.inner_text()
        assert "11:30 to 12:00 UTC" in lane.inner_text()
        assert "b:1" in page.locator("#replicas").inner_text()
        assert "Not seen since the service started" in page.locator("#health").inner_text()
        page.get_by_role("navigation", name="Window").get_by_role("link", name="1h").click()
        page.wait_for_url("**/gpu/B1?window=1h")
        page.get_by_role("navigation", name="Where this is").get_by_role("link", name="n2").click()
        page.wait_for_url("**/node/n2")
        assert page.locator("#health tbody th").all_inner_texts() == ["GPU 3", "GPU 4"]
        page.locator("#spent").get_by_role("link", name="chat e2e").click()
        page.wait_for_url("**/slo/chat-e2e")


@pytest.mark.real
def test_a_gpu_that_nobody_knows_leads_on(incident: Any, serve: Any, browser: Any) -> None:
    with serve(incident.service()) as url:
        page = browser.new_page()
        answer = page.goto(f"{url}/gpu/GPU-%3Cb%3E")
        assert answer.status == 404
        assert "No GPU has the UUID 'GPU-<b>'" in page.locator("main").inner_text()
        page.get_by_role("link", name="All SLOs").click()
        page.wait_for_selector("#rows tr")
        page.close()


@pytest.mark.real
def test_a_search_finds_gpus_nodes_and_replicas_too(incident: Any, serve: Any, look: Any) -> None:
    with serve(incident.service()) as url:
        page = look(url)
        page.keyboard.press("/")
        page.keyboard.type("B1")
        playwright.expect(page.locator("#none")).to_be_visible()
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#hits li")).to_have_count(1)
        page.locator("#hits").get_by_role("link", name="GPU 4").click()
        page.wait_for_url("**/gpu/B1")
        page.goto(f"{url}/?q=n2")
        assert page.locator("#hits li").all_inner_texts() == ["n2 node", "GPU 3 on n2 B0", "GPU 4 on n2 B1"]
