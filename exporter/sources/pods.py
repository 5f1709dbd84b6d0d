"""Pods and the GPUs they hold, asked of the kubelet at each collection. Gives facts for exporter.attribution alone.

Imports exporter.facts, exporter.model, exporter.sources.pod_resources; grpcio at the first collection, so that an
agent without pods does not carry its memory.

Status: stands. Context: a GPU changes hands only by the kubelet. Its socket goes away while it restarts, which takes
seconds, and then nobody is there who could hand a GPU to another pod; a kubelet that is there and does not answer may
do just that. An old name beside new figures is worse than none. Decision: pods are asked for at each collection and
nothing is kept, but for one case: where nobody listens at the socket, the last answer stands for KEPT_SECONDS. Each
failure drops the channel, since gRPC's own back-off would outlast a restart. The call is made in a thread with a
deadline of its own. Consequences: readings of GPUs never wait for the kubelet and are never lost with it; their series
lose the pod while a kubelet hangs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporter.facts import Holding
from exporter.model import Collected, Health
from exporter.sources.pod_resources import RESOURCES, Reader
from exporter.wire import WireError

SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"
METHOD = "/v1.PodResourcesLister/List"
KEPT_SECONDS = 60.0
LARGEST_ANSWER = 256 << 20
"""Bytes. Answers of 16 MiB are met; grpc's own limit of 4 MiB loses the pods of a dense node."""
_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "localhost"),
)


class _NobodyError(Exception):
    """Nobody listens at the socket."""


class _NoAnswerError(Exception):
    """The kubelet gave no answer that can be used; the text says why."""


class PodsSource:
    """The kubelet behind the unix socket at `socket`. `resources` are shell patterns of the GPUs' resource names."""

    name = "pods"

    def __init__(
        self,
        socket: str = SOCKET,
        *,
        resources: Sequence[str] = RESOURCES,
        deadline_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = Path(socket)
        self._reader = Reader(resources)
        self._deadline = deadline_seconds
        self._clock = clock
        self._channel: Any = None
        self._list: Any = None
        self._answer: tuple[bytes, tuple[Holding, ...]] = (b"", ())
        self._told_at: float | None = None

    @property
    def holders(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of each pod that held a GPU at the last answer."""
        return frozenset((one.namespace, one.pod) for one in self._answer[1])

    @property
    def claimed(self) -> frozenset[tuple[str, str, str]]:
        """Driver, pool and name of each device that was held through a claim at the last answer."""
        claims = (one.claim for one in self._answer[1])
        return frozenset((one.driver, one.pool, one.device) for one in claims if one is not None)

    async def collect(self) -> Collected:
        """Ask once."""
        started = self._clock()
        facts: tuple[Holding, ...] = ()
        reason = ""
        try:
            facts = await asyncio.to_thread(self._ask)
            self._told_at = self._clock()
        except _NobodyError:
            reason = "the kubelet does not listen"
            if self._told_at is not None and self._clock() - self._told_at <= KEPT_SECONDS:
                facts = self._answer[1]
        except _NoAnswerError as error:
            reason = str(error)
            self._told_at = None
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), facts)

    async def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _ask(self) -> tuple[Holding, ...]:
        """One call, in a thread."""
        try:
            import grpc  # noqa: PLC0415  10 MiB that only a node with a kubelet should pay
        except ImportError:
            raise _NoAnswerError("grpcio is not installed: pip install 'gpufleet[kubernetes]'") from None
        try:
            if not self._socket.is_socket():
                self._drop()
                raise _NobodyError
        except OSError:
            raise _NoAnswerError("no permission for the kubelet's directory; it is root's") from None
        try:
            answer = self._call(grpc)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAVAILABLE:
                details = (error.details() or "").lower()
                if "permission denied" in details:
                    raise _NoAnswerError("no permission for the kubelet's socket; it is root's") from None
                if "connect:" in details or "failed to connect" in details:
                    raise _NobodyError from None
            raise _NoAnswerError(_WORDS.get(code.name, f"the kubelet answered {code.name}")) from None
        if answer != self._answer[0]:
            try:
                self._answer = answer, self._reader.read(answer)
            except WireError:
                raise _NoAnswerError("the kubelet's answer could not be read") from None
        return self._answer[1]

    def _call(self, grpc: Any) -> bytes:
        """One answer, by a fresh channel where the one there is leads to a kubelet that has ended."""
        fresh = self._channel is None
        if fresh:
            self._channel = grpc.insecure_channel(f"unix:{self._socket.absolute()}", options=_OPTIONS)
            self._list = self._channel.unary_unary(METHOD)
        try:
            answer: bytes = self._list(b"", timeout=self._deadline)
        except grpc.RpcError as error:
            self._drop()
            if fresh or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return self._call(grpc)
        return answer


_WORDS = {
    "UNIMPLEMENTED": "the kubelet has no pod-resources v1 (it is older than 1.20)",
    "DEADLINE_EXCEEDED": "the kubelet did not answer in time",
    "RESOURCE_EXHAUSTED": "the kubelet's answer is too large, or it limits calls",
}
