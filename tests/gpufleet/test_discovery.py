"""What `up` and `doctor` find: the same pages, at the same paths, that the agent would read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from gpufleet import discovery
from gpufleet.discovery import FoundEngine
from tests import serving

CAPTURES = Path(__file__).parent.parent / "captures"


def asked(handler: Callable[[web.Request], web.Response]) -> FoundEngine:
    """What is found where every request is answered by `handler`."""

    async def answer(request: web.Request) -> web.Response:
        return handler(request)

    async def scenario() -> FoundEngine:
        async with serving.site(serving.route("GET", "/{path:.*}", answer)) as url:
            (found,) = await discovery.engines([url])
        return found

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "capture", "kind", "models"),
    [
        ("/metrics", "vllm-0.32.0", "vllm", ("tiny",)),
        ("/metrics", "llamacpp-b11434", "llamacpp", ()),
        ("/prometheus/metrics", "trtllm-from-source", "trtllm", ("nemotron-nano-3",)),
        ("/v1/metrics", "nim-from-page", "nim", ("meta/llama-3.1-8b-instruct",)),
    ],
)
def test_an_engine_is_found_at_its_own_path(path: str, capture: str, kind: str, models: tuple[str, ...]) -> None:
    body = (CAPTURES / f"{capture}.prom").read_bytes()

    def handler(request: web.Request) -> web.Response:
        return web.Response(body=body) if request.path == path else web.json_response([{"iter": 1}])

    found = asked(handler)
    assert (found.kind, found.models, found.problem) == (kind, models, "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda: web.Response(status=503), "cannot be read: answered 503"),
        (
            lambda: web.Response(text="<html></html>", content_type="text/html"),
            "cannot be read: HTML, not a metrics page",
        ),
        (lambda: web.Response(body=b""), "cannot be read: an empty page"),
        (lambda: web.Response(body=b"node_load1 3\n"), "cannot be read: a page of no known engine"),
    ],
)
def test_what_is_no_engine_is_said_in_the_agents_words(answer: Callable[[], web.Response], problem: str) -> None:
    found = asked(lambda _: answer())
    assert found.problem.startswith(problem)
    assert (found.kind, found.models) == ("", ())


def test_nobody_there_is_said_without_a_librarys_settings(free_port: Callable[[], int]) -> None:
    (found,) = asyncio.run(discovery.engines([f"http://127.0.0.1:{free_port()}"]))
    assert found.problem.startswith("cannot be read: refused the connection")
    assert "ssl:" not in found.problem
