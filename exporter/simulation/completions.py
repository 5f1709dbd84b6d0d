"""The simulated engine's OpenAI-compatible endpoints, as far as a probe needs them: streams, and the list of models.

Imports exporter.simulation and the catalogue; aiohttp does the serving. Latencies are drawn from the same world as the
page's: while a GPU of the engine throttles, a probe feels it. What is asked here is not counted on the page, which
tells of the simulated users alone. Every answer says that it is simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import time

from aiohttp import web

from exporter.metrics.probe import SIMULATED_HEADER
from exporter.simulation.fleet import FAILURE_RATIO, EnginePlan
from exporter.simulation.world import Scenario

LONGEST_ANSWER = 256
_HEADERS = {SIMULATED_HEADER: "1"}


def add_routes(app: web.Application, scenario: Scenario, plan: EnginePlan) -> None:
    """Serve /v1/models, /v1/completions and /v1/chat/completions for one engine of the world."""
    work = plan.work

    async def models(_: web.Request) -> web.Response:
        listed = {"object": "list", "data": [{"id": work.model, "object": "model", "owned_by": "gpufleet"}]}
        return web.json_response(listed, headers=_HEADERS)

    async def complete(request: web.Request) -> web.StreamResponse:
        try:
            asked = await request.json()
            model, stream = str(asked["model"]), asked.get("stream", False)
            tokens = max(1, min(int(asked.get("max_tokens", 16)), LONGEST_ANSWER))
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "write a JSON object with model, prompt or messages, and stream")
        if not stream:
            return _error(400, "the simulated engine answers streams alone: set stream to true")
        if model != work.model:
            return _error(404, f"the model {model} does not exist")
        if random.random() < FAILURE_RATIO:  # noqa: S311 (traffic, not a secret)
            return _error(500, "a simulated failure")
        chat = request.path.endswith("/chat/completions")
        first, each = latencies(scenario, plan, time.time())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # whoever asked has gone, as clients do
            for number in range(tokens):
                await asyncio.sleep(each if number else first)
                said: dict[str, object] = {"delta": {"content": " simulated"}} if chat else {"text": " simulated"}
                end = "length" if number == tokens - 1 else None
                await _send(response, {"model": model, "choices": [{"index": 0, **said, "finish_reason": end}]})
            if (asked.get("stream_options") or {}).get("include_usage"):
                await _send(response, {"model": model, "choices": [], "usage": {"completion_tokens": tokens}})
            await response.write(b"data: [DONE]\n\n")
        return response

    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/completions", complete)
    app.router.add_post("/v1/chat/completions", complete)


def latencies(scenario: Scenario, plan: EnginePlan, at: float) -> tuple[float, float]:
    """(time to the first token, time per token after it) in seconds of a request that comes at `at`."""
    work, slow = plan.work, scenario.slowed(plan, at)
    ttft = random.lognormvariate(math.log(work.ttft_median * (work.hot_ttft if slow else 1.0)), work.ttft_sigma)
    tpot = random.lognormvariate(math.log(work.tpot_median * (work.hot_tpot if slow else 1.0)), work.tpot_sigma)
    return ttft, tpot


async def _send(response: web.StreamResponse, chunk: dict[str, object]) -> None:
    await response.write(b"data: %s\n\n" % json.dumps(chunk).encode())


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=_HEADERS)
