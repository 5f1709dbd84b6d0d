"""A simulated engine: serves what vLLM 0.32's metrics page would say of the traffic that the world gives it.

Imports exporter.simulation alone; aiohttp does the serving. Requests are drawn from a seed for each second, so that the
same scenario gives the same counts however often the page is read; they take the time that they take: a request is
counted as running until its last token.
"""

from __future__ import annotations

import heapq
import math
import random
import time

from aiohttp import web

from exporter.simulation import completions
from exporter.simulation.fleet import FAILURE_RATIO, EnginePlan
from exporter.simulation.vllm_page import VllmPage
from exporter.simulation.world import Scenario

HANDLER = "/v1/chat/completions"
CACHED_RATIO = 0.4
"""Prompt tokens found in the prefix cache."""
_SPREAD = 0.5
"""Sigma of the (log-normal) lengths of prompts and answers."""
_BLOCK_TOKENS, _BLOCKS = 16, 27648


class SimulatedEngine:
    """One engine's counts from `since` on (unix seconds): `advance` to a time, then read `page`."""

    def __init__(self, scenario: Scenario, plan: EnginePlan, since: float) -> None:
        self.scenario = scenario
        self.plan = plan
        self._second = int(since)
        self._pending: list[tuple[float, int, float, float, int, int]] = []
        """Running requests by the time of their end: number, TTFT, TPOT, prompt and output tokens."""
        self._first_tokens: list[tuple[float, float]] = []
        self._number = 0
        self.page = VllmPage(plan.work.model, HANDLER, since)

    def advance(self, until: float) -> None:
        """Let every whole second that ended by `until` happen."""
        while self._second + 1 <= until:
            self._happen(self._second)
            self._second += 1

    def _happen(self, second: int) -> None:
        draw = random.Random(f"{self.scenario.seed} {self.plan.key} {second}")  # noqa: S311 (traffic, not a secret)
        work, page = self.plan.work, self.page
        slow = self.scenario.slowed(self.plan, second)
        ttft_mu = math.log(work.ttft_median * (work.hot_ttft if slow else 1.0))
        tpot_mu = math.log(work.tpot_median * (work.hot_tpot if slow else 1.0))
        for _ in range(poisson(draw, self.scenario.rate(self.plan, second))):
            at = second + draw.random()
            if draw.random() < FAILURE_RATIO:
                page.answered("5xx")
                continue
            ttft = draw.lognormvariate(ttft_mu, work.ttft_sigma)
            tpot = draw.lognormvariate(tpot_mu, work.tpot_sigma)
            prompt = max(1, round(draw.lognormvariate(math.log(work.prompt_tokens), _SPREAD)))
            output = max(2, round(draw.lognormvariate(math.log(work.output_tokens), _SPREAD)))
            self._number += 1
            heapq.heappush(self._first_tokens, (at + ttft, ttft))
            end = at + ttft + tpot * (output - 1)
            heapq.heappush(self._pending, (end, self._number, ttft, tpot, prompt, output))
        while self._first_tokens and self._first_tokens[0][0] < second + 1:
            page.observe("time_to_first_token_seconds", heapq.heappop(self._first_tokens)[1])
        while self._pending and self._pending[0][0] < second + 1:
            self._finish(*heapq.heappop(self._pending)[2:], slow=slow)
        self._gauges(tpot_mu)

    def _finish(self, ttft: float, tpot: float, prompt: int, output: int, *, slow: bool) -> None:
        """Everything that vLLM counts when a request has ended."""
        page = self.page
        queued = ttft * (0.6 if slow else 0.02)
        decode = tpot * (output - 1)
        page.observe("request_time_per_output_token_seconds", tpot)
        page.observe("inter_token_latency_seconds", tpot, output - 1)
        page.observe("e2e_request_latency_seconds", ttft + decode)
        page.observe("request_queue_time_seconds", queued)
        page.observe("request_prefill_time_seconds", ttft - queued)
        page.observe("request_decode_time_seconds", decode)
        page.observe("request_inference_time_seconds", ttft - queued + decode)
        page.observe("request_prompt_tokens", prompt)
        page.observe("request_generation_tokens", output)
        page.observe("request_max_num_generation_tokens", output)
        page.observe("request_params_max_tokens", 4096)
        page.observe("request_params_n", 1)
        page.observe("request_num_preemptions", 0)
        cached = int(prompt * CACHED_RATIO)
        page.observe("request_prefill_kv_computed_tokens", prompt - cached)
        page.add("prompt_tokens", prompt)
        page.add("prompt_tokens_by_source", prompt - cached, 'source="local_compute"')
        page.add("prompt_tokens_by_source", cached, 'source="local_cache_hit"')
        page.add("prompt_tokens_cached", cached)
        page.add("prompt_tokens_cached_by_source", cached, 'source="device"')
        page.add("prefix_cache_queries", prompt)
        page.add("prefix_cache_hits", cached)
        page.add("generation_tokens", output)
        page.add("request_success", 1, 'finished_reason="stop"')
        page.answered("2xx")

    def _gauges(self, tpot_mu: float) -> None:
        """What runs and waits now, and the steps that the batch made in this second."""
        page, waiting = self.page, len(self._first_tokens)
        running = len(self._pending) - waiting
        page.set("num_requests_running", running)
        page.set("num_requests_waiting", waiting)
        page.set("num_requests_waiting_by_reason", waiting, 'reason="capacity"')
        tokens = sum(one[4] + one[5] for one in self._pending)
        page.set("kv_cache_usage_perc", min(0.98, tokens / _BLOCK_TOKENS / _BLOCKS))
        if running:
            page.observe("iteration_tokens_total", running, round(1 / math.exp(tpot_mu)))


def poisson(draw: random.Random, mean: float) -> int:
    """How many of something happen that happens `mean` times on average (Knuth's way; fit for small means)."""
    limit, product, count = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count


def make_app(engine: SimulatedEngine) -> web.Application:
    """Its /metrics, its /health, and what it streams (exporter.simulation.completions)."""

    async def metrics(_: web.Request) -> web.Response:
        engine.advance(time.time())
        return web.Response(body=engine.page.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/health", health)
    completions.add_routes(app, engine.scenario, engine.plan)
    return app
