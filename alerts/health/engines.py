"""Inference engines: gone, hung, falling behind, out of KV cache, failing their users. One constant an alert.

Imports alerts.health.alert and the catalogue. A full batch, a full KV cache and a queue that stays as long as it is are
normal under load, and whether users suffer is what budgets say. So each alert here asks for harm or for growth.
"""

from __future__ import annotations

from alerts.health.alert import AN_ENGINE, ENGINE, ENGINE_TEXT, SAME_ENGINE, Alert, Proof, by, of, series
from exporter.metrics import agent, llm, probe
from exporter.model import Family
from slo.names import LABEL_CLUSTER
from slo.scraped import workload

_BOARD = "inference?var-model_name={{ $labels.model_name }}"
STALLED = "stalled:"
"""How the reason of an engine's source begins that has requests and makes no tokens."""
_DOWN = f"{by('max', ENGINE, workload(of(llm.ENGINE_UP)))} == 0"
_HUNG = (
    f"label_replace({of(agent.SOURCE_UP, source='~engine .+', reason=f'~{STALLED}.+')} == 0, "
    f'"{llm.TARGET_LABEL}", "$1", "source", "engine https?://([^/]+).*")'
)


def _sum(expr: str) -> str:
    return by("sum", ENGINE, expr)


def _more(family: Family, spell: str, offset: str = "", **matchers: str) -> str:
    return _sum(workload(f"increase({of(family, **matchers)}[{spell}]{offset})"))


def _waiting(how: str, spell: str, offset: str = "") -> str:
    return _sum(workload(f"{how}({of(llm.REQUESTS_WAITING)}[{spell}]{offset})"))


def _ttft(offset: str = "") -> str:
    """Mean time to first token of 5 minutes."""
    place = f"{LABEL_CLUSTER}, {llm.TARGET_LABEL}"
    parts = (f"rate({of(llm.TIME_TO_FIRST_TOKEN, suffix)}[5m]{offset})" for suffix in ("_sum", "_count"))
    total, count = (f"sum by ({place}) ({part})" for part in parts)
    return f"{total} / ({count} > 0)"


def _aborted(offset: str = "") -> str:
    return f"{_more(llm.REQUESTS, '15m', offset, outcome='abort')} / ({_more(llm.REQUESTS, '15m', offset)} > 0)"


_FAILED = _more(llm.FAILED_REQUESTS, "10m")
_ANSWERED = f"({_more(llm.HTTP_REQUESTS, '10m')} or {_more(llm.REQUESTS, '10m')})"
_PREEMPTED = _more(llm.PREEMPTIONS, "10m")

_UP = series(llm.ENGINE_UP, **AN_ENGINE)
_SOURCE = "engine http://10.0.0.1:8000"
_STALL = series(agent.SOURCE_UP, node="node-a", source=_SOURCE, reason="stalled: requests running, no token for 60 s")
_AWAY = series(agent.SOURCE_UP, node="node-a", source=_SOURCE, reason="connection refused")
_RUNNING, _QUEUE, _KV = (
    series(one, **AN_ENGINE) for one in (llm.REQUESTS_RUNNING, llm.REQUESTS_WAITING, llm.KV_CACHE_USAGE)
)
_PREEMPTIONS, _DONE, _ABORTS, _SERVED, _ERRORS = (
    series(llm.PREEMPTIONS, **AN_ENGINE),
    series(llm.REQUESTS, outcome="stop", **AN_ENGINE),
    series(llm.REQUESTS, outcome="abort", **AN_ENGINE),
    series(llm.HTTP_REQUESTS, code="2xx", **AN_ENGINE),
    series(llm.FAILED_REQUESTS, **AN_ENGINE),
)
_TTFT = {suffix: series(llm.TIME_TO_FIRST_TOKEN, suffix, **AN_ENGINE) for suffix in ("_sum", "_count")}
_PROBE = series(probe.UP, **AN_ENGINE)

LLM_ENGINE_DOWN = Alert(
    "LlmEngineDown",
    "an inference engine is down",
    f"{ENGINE_TEXT} does not answer.",
    f"{_DOWN}\nunless {SAME_ENGINE}\n{_HUNG}",
    lasting="5m",
    board=_BOARD,
    proofs=(
        Proof("gone, then back", {_UP: "1x4 0x9 1x5", _AWAY: "_x5 0x9 stale"}, ((9, 0), (10, 1), (15, 0))),
        Proof("a rolling restart", {_UP: "1x4 0x3 1x9"}, ((8, 0), (12, 0))),
        Proof("scraped without honorLabels", {series(llm.ENGINE_UP, **AN_ENGINE, pod="agent-x", exported_pod="chat-0"):
              "0x20"}, ((6, 1),)),
    ),
)  # fmt: skip
LLM_ENGINE_HUNG = Alert(
    "LlmEngineHung",
    "an inference engine has requests and makes no tokens",
    f"{ENGINE_TEXT} answers its page and has made no token for minutes, with requests waiting for it.",
    f"{_DOWN}\nand {SAME_ENGINE}\n{_HUNG}",
    lasting="2m",
    board=_BOARD,
    proofs=(
        Proof(
            "hung until it is restarted",
            {_UP: "1x4 0x10 1x5", _STALL: "_x5 0x10 stale", _RUNNING: "8x20"},
            ((6, 0), (7, 1), (15, 1), (17, 0)),
        ),
        Proof("down is not hung", {_UP: "0x20", _AWAY: "0x20"}, ((15, 0),)),
        Proof("busy", {_UP: "1x20", _RUNNING: "256x20"}, ((15, 0),)),
    ),
)
LLM_QUEUE_GROWING = Alert(
    "LlmQueueGrowing",
    "an inference engine falls behind its requests",
    f"{ENGINE_TEXT} has {{{{ $value | humanize }}}} requests waiting, a quarter more than 15 minutes ago; its queue "
    "was never empty, and first tokens take twice as long as an hour ago.",
    f"{_waiting('avg_over_time', '5m')} > 1.25 * {_waiting('avg_over_time', '5m', ' offset 15m')} + 5\n"
    f"and {_waiting('min_over_time', '10m')} > 0\n"
    f"unless {SAME_ENGINE}\n({_ttft()} <= 2 * {_ttft(' offset 1h')})",
    lasting="10m",
    board=_BOARD,
    proofs=(
        Proof(
            "more comes than it can serve",
            {_QUEUE: "0x70 5+5x40 0x20", _TTFT["_count"]: "0+60x131", _TTFT["_sum"]: "0+12x70 900+60x40 3300+12x19"},
            ((75, 0), (88, 0), (95, 1), (110, 1), (125, 0)),
        ),
        Proof(
            "saturated: a long queue that stays",
            {_QUEUE: "80x130", _TTFT["_count"]: "0+60x130", _TTFT["_sum"]: "0+120x130"},
            ((60, 0), (120, 0)),
        ),
        Proof(
            "more waits, nobody waits longer",
            {_QUEUE: "2x70 4+2x40", _TTFT["_count"]: "0+60x111", _TTFT["_sum"]: "0+12x111"},
            ((90, 0), (105, 0)),
        ),
        Proof("a burst that drains", {_QUEUE: "0x70 90x6 60x3 0x30"}, ((76, 0), (82, 0), (95, 0))),
    ),
)
LLM_KV_CACHE_EXHAUSTED = Alert(
    "LlmKvCacheExhausted",
    "an inference engine runs out of KV cache and starts requests anew",
    f"{ENGINE_TEXT} put {{{{ $value | humanize }}}} requests back for want of KV cache in the last 10 minutes.",
    f"{_PREEMPTED} >= 10\nunless\n{_PREEMPTED} <= 0.05 * {_more(llm.REQUESTS, '10m')}\n"
    f"and {SAME_ENGINE}\n{by('max', ENGINE, workload(f'max_over_time({of(llm.KV_CACHE_USAGE)}[5m])'))} > 0.95",
    lasting="10m",
    board=_BOARD,
    proofs=(
        Proof(
            "one in five starts anew",
            {_KV: "0.99x60", _PREEMPTIONS: "0x9 0+6x30 180x20", _DONE: "0+30x60"},
            ((15, 0), (25, 1), (39, 1), (55, 0)),
        ),
        Proof("full, and nobody is put back", {_KV: "1x60", _PREEMPTIONS: "7x60", _DONE: "0+30x60"}, ((50, 0),)),
        Proof("one in a hundred", {_KV: "0.99x60", _PREEMPTIONS: "0+3x60", _DONE: "0+300x60"}, ((50, 0),)),
    ),
)
LLM_ABORTS_HIGH = Alert(
    "LlmAbortsHigh",
    "clients give up on an inference engine",
    f"{ENGINE_TEXT} lost {{{{ $value | humanizePercentage }}}} of its requests in 15 minutes: clients gave up.",
    f"{_aborted()} > 0.2\nand\n{_more(llm.REQUESTS, '15m', outcome='abort')} >= 20\n"
    f"unless\n{_aborted()} <= 2 * ({_aborted(' offset 1d')})",
    lasting="10m",
    board=_BOARD,
    proofs=(
        Proof(
            "half give up",
            {_DONE: "0+60x30 1815+15x60 2730+60x60", _ABORTS: "0x30 15+15x60 915x60"},
            ((32, 0), (46, 0), (53, 1), (90, 1), (115, 0)),
        ),
        Proof("clients that always do", {_DONE: "0+20x1520", _ABORTS: "0+20x1520"}, ((1500, 0),)),
        Proof("three requests at night", {_DONE: "0x60", _ABORTS: "0x20 3x40"}, ((40, 0),)),
    ),
)
LLM_ERRORS_HIGH = Alert(
    "LlmErrorsHigh",
    "an inference engine fails its users",
    f"{ENGINE_TEXT} failed {{{{ $value | humanizePercentage }}}} of its requests in 10 minutes.",
    f"{_FAILED} / ({_ANSWERED} > 0) > 0.1\nand\n{_FAILED} >= 10",
    lasting="5m",
    board=_BOARD,
    proofs=(
        Proof(
            "a third fails",
            {_SERVED: "0+30x90", _ERRORS: "0x20 10+10x30 310x40"},
            ((20, 0), (27, 0), (31, 1), (50, 1), (64, 0)),
        ),
        Proof("one in a hundred", {_SERVED: "0+300x60", _ERRORS: "0+3x60"}, ((50, 0),)),
        Proof("two of three at night", {_SERVED: "0x20 1x40", _ERRORS: "0x20 2x40"}, ((28, 0),)),
    ),
)
LLM_PROBE_FAILING = Alert(
    "LlmProbeFailing",
    "a probe gets no answer from an inference engine that looks well",
    f"{ENGINE_TEXT} answers its page, and a client's request gets no whole answer.",
    f"{by('max', ENGINE, workload(of(probe.UP)))} == 0\nunless {SAME_ENGINE}\n({_DOWN})",
    lasting="5m",
    board=_BOARD,
    proofs=(
        Proof("page well, no answers", {_PROBE: "1x4 0x12 1x5", _UP: "1x30"}, ((9, 0), (10, 1), (16, 1), (18, 0))),
        Proof("the engine is down and has its ticket", {_PROBE: "0x20", _UP: "0x20"}, ((15, 0),)),
        Proof("one probe of five", {_PROBE: "1x4 0 1x4 0 1x9", _UP: "1x30"}, ((5, 0), (10, 0), (16, 0))),
    ),
)
ALERTS = (
    LLM_ENGINE_DOWN,
    LLM_ENGINE_HUNG,
    LLM_QUEUE_GROWING,
    LLM_KV_CACHE_EXHAUSTED,
    LLM_ABORTS_HIGH,
    LLM_ERRORS_HIGH,
    LLM_PROBE_FAILING,
)
