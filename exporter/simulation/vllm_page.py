"""vLLM 0.32's metrics page: its names, labels, types and buckets, as a real server printed them, and counts to put in.

Imports the standard library alone. tests/exporter/test_simulation_engine.py holds it against the recorded page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

SIMULATED_GAUGE = "gpufleet_simulated"
"""Stands on the page with the value 1, and on no real engine's."""

_TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
_PER_TOKEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
HISTOGRAMS: dict[str, tuple[float, ...]] = {
    "request_prompt_tokens": _TOKENS,
    "request_generation_tokens": _TOKENS,
    "iteration_tokens_total": (
        1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
    ),
    "request_max_num_generation_tokens": _TOKENS,
    "request_params_n": (1.0, 2.0, 5.0, 10.0, 20.0),
    "request_params_max_tokens": _TOKENS,
    "time_to_first_token_seconds": (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
        160.0, 640.0, 2560.0,
    ),
    "inter_token_latency_seconds": _PER_TOKEN,
    "request_time_per_output_token_seconds": _PER_TOKEN,
    "e2e_request_latency_seconds": _REQUEST,
    "request_queue_time_seconds": _REQUEST,
    "request_inference_time_seconds": _REQUEST,
    "request_prefill_time_seconds": _REQUEST,
    "request_decode_time_seconds": _REQUEST,
    "request_num_preemptions": (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0),
    "request_prefill_kv_computed_tokens": _TOKENS,
}  # fmt: skip
"""Name without prefix → upper edges."""

_COUNTERS: dict[str, tuple[str, ...]] = {
    "estimated_flops_per_gpu": ("",),
    "estimated_read_bytes_per_gpu": ("",),
    "estimated_write_bytes_per_gpu": ("",),
    "prefix_cache_queries": ("",),
    "prefix_cache_hits": ("",),
    "external_prefix_cache_queries": ("",),
    "external_prefix_cache_hits": ("",),
    "mm_cache_queries": ("",),
    "mm_cache_hits": ("",),
    "num_preemptions": ("",),
    "prompt_tokens": ("",),
    "prompt_tokens_by_source": tuple(
        f'source="{one}"' for one in ("local_compute", "local_cache_hit", "external_kv_transfer")
    ),
    "prompt_tokens_cached": ("",),
    "prompt_tokens_cached_by_source": tuple(
        f'source="{one}"' for one in ("device", "host", "p2p", "disk", "external_unspecified")
    ),
    "generation_tokens": ("",),
    "request_success": tuple(
        f'finished_reason="{one}"' for one in ("stop", "length", "abort", "error", "repetition")
    ),
    "admission_rejections": tuple(f'reason="{one}"' for one in ("max_num_queued_reqs", "max_num_queued_tokens")),
}  # fmt: skip
_GAUGES: dict[str, tuple[str, ...]] = {
    "num_requests_running": ("",),
    "num_requests_waiting": ("",),
    "num_requests_waiting_by_reason": ('reason="capacity"', 'reason="deferred"'),
    "engine_sleep_state": tuple(f'sleep_state="{one}"' for one in ("awake", "weights_offloaded", "discard_all")),
    "kv_cache_usage_perc": ("",),
}
_CONFIGURATION = 'block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="0",num_gpu_blocks="27648"'
_NO_RANK = frozenset({"admission_rejections"})


class VllmPage:
    """The counts of one engine that started at `started_at` (unix seconds) and serves `model`."""

    def __init__(self, model: str, handler: str, started_at: float) -> None:
        self._heads: list[str] = []
        self._values: list[float] = []
        self._at: dict[tuple[str, str], int] = {}
        self._sums: dict[str, int] = {}
        self._handler = handler
        self._lay_out(model, started_at)

    def add(self, name: str, amount: float = 1.0, label: str = "") -> None:
        """Count up a counter; `label` is its own label as written, like `finished_reason="stop"`."""
        self._values[self._at[name, label]] += amount

    def set(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge."""
        self._values[self._at[name, label]] = value

    def answered(self, status: str) -> None:
        """Count an HTTP answer of a status class ("2xx")."""
        self._values[self._at["http_requests", status]] += 1

    def observe(self, name: str, value: float, times: int = 1) -> None:
        """Count `times` observations of `value` in a histogram."""
        edges, first = HISTOGRAMS[name], self._sums[name]
        values = self._values
        for at in range(first + bisect_left(edges, value), first + len(edges) + 2):  # buckets, +Inf, _count
            values[at] += times
        values[first + len(edges) + 2] += value * times

    def render(self) -> bytes:
        """The page as it stands."""
        return "".join(map("{}{!r}\n".format, self._heads, self._values)).encode()

    def _lay_out(self, model: str, started_at: float) -> None:
        ours = f'engine="0",model_name="{model}"'
        self._family(SIMULATED_GAUGE, "gauge", [("", 1.0)])
        self._family("process_start_time_seconds", "gauge", [("", started_at)])
        for kind, families in (("gauge", _GAUGES), ("counter", _COUNTERS)):
            for name, own in families.items():
                common = f'model_name="{model}"' if name in _NO_RANK else ours
                full = f"vllm:{name}" + ("_total" if kind == "counter" else "")
                lines = [(_join(common, one), 0.0) for one in own]
                for at, one in zip(self._family(full, kind, lines), own, strict=True):
                    self._at[name, one] = at
                if kind == "counter":
                    self._family(f"vllm:{name}_created", "gauge", [(labels, started_at) for labels, _ in lines])
        self.set("engine_sleep_state", 1.0, 'sleep_state="awake"')
        for name, edges in HISTOGRAMS.items():
            self._sums[name] = self._histogram(f"vllm:{name}", ours, edges)
            self._family(f"vllm:{name}_created", "gauge", [(ours, started_at)])
        self._family("vllm:cache_config_info", "gauge", [(_CONFIGURATION, 1.0)])
        classes = ("2xx", "4xx", "5xx")
        http = [(f'handler="{self._handler}",method="POST",status="{one}"', 0.0) for one in classes]
        for at, one in zip(self._family("http_requests_total", "counter", http), classes, strict=True):
            self._at["http_requests", one] = at

    def _family(self, name: str, kind: str, lines: Iterable[tuple[str, float]]) -> list[int]:
        """Add a family's lines; where they stand."""
        before = f"# TYPE {name} {kind}\n"
        places = []
        for labels, value in lines:
            places.append(len(self._values))
            self._heads.append(before + name + (f"{{{labels}}} " if labels else " "))
            self._values.append(value)
            before = ""
        return places

    def _histogram(self, name: str, labels: str, edges: Iterable[float]) -> int:
        """Add a histogram's lines; where its first bucket stands."""
        first = len(self._values)
        before = f"# TYPE {name} histogram\n"
        for edge in (*map(repr, edges), "+Inf"):
            le = f'le="{edge}"'
            self._heads.append(f"{before}{name}_bucket{{{_join(labels, le)}}} ")
            before = ""
        self._heads += [f"{name}_count{{{labels}}} ", f"{name}_sum{{{labels}}} "]
        self._values += [0.0] * (len(self._heads) - first)
        return first


def _join(*labels: str) -> str:
    """Label pairs in the order of their names, as the page has them."""
    return ",".join(sorted(",".join(one for one in labels if one).split(",")))
