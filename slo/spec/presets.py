"""Published latency targets, each with where it is from. Imports nothing of gpufleet.

A preset is not advice: it is what a benchmark or a paper holds systems to, for models of its kind, at its percentile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MLPERF = "MLPerf Inference, server scenario (loadgen/mlperf.conf, 99th percentile)"
_DISTSERVE = "DistServe, OSDI 2024, table 1 (90 % of requests)"
_GUIDELLM = "GuideLLM, service level objectives guide (99 % of requests)"


@dataclass(frozen=True, slots=True)
class Preset:
    """Targets for time to first token and time per output token, as SLO files write them."""

    source: str
    objective: str
    ttft: str
    tpot: str

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """Signal and threshold of each."""
        return ("ttft", self.ttft), ("tpot", self.tpot)


def _mlperf(ttft: str, tpot: str) -> Preset:
    return Preset(_MLPERF, "99%", ttft, tpot)


def _distserve(ttft: str, tpot: str) -> Preset:
    return Preset(_DISTSERVE, "90%", ttft, tpot)


def _guidellm(ttft: str, tpot: str) -> Preset:
    return Preset(_GUIDELLM, "99%", ttft, tpot)


PRESETS: Mapping[str, Preset] = {
    "mlperf-llama-2-70b": _mlperf("2000ms", "200ms"),
    "mlperf-llama-2-70b-interactive": _mlperf("450ms", "40ms"),
    "mlperf-mixtral-8x7b": _mlperf("2000ms", "200ms"),
    "mlperf-llama-3.1-405b": _mlperf("6000ms", "175ms"),
    "mlperf-llama-3.1-405b-interactive": _mlperf("4500ms", "80ms"),
    "mlperf-llama-3.1-8b": _mlperf("2000ms", "100ms"),
    "mlperf-llama-3.1-8b-interactive": _mlperf("500ms", "30ms"),
    "mlperf-deepseek-r1": _mlperf("2000ms", "80ms"),
    "mlperf-deepseek-r1-interactive": _mlperf("1500ms", "15ms"),
    "mlperf-gpt-oss-120b": _mlperf("3000ms", "80ms"),
    "mlperf-gpt-oss-120b-interactive": _mlperf("2000ms", "15ms"),
    "distserve-opt-13b-chat": _distserve("250ms", "100ms"),
    "distserve-opt-66b-chat": _distserve("2500ms", "150ms"),
    "distserve-opt-66b-code": _distserve("125ms", "200ms"),
    "distserve-opt-66b-summarise": _distserve("15s", "150ms"),
    "guidellm-chat": _guidellm("200ms", "50ms"),
    "guidellm-rag": _guidellm("300ms", "100ms"),
    "guidellm-code": _guidellm("500ms", "150ms"),
}
"""Every preset by the name that SLO files write."""
