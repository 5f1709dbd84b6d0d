"""What a streamed answer of an OpenAI-compatible server tells: when content came, and whether it ended well.

Pure: bytes and the times at which they came go in. Imports msgspec alone. The stream is server-sent events
(WHATWG HTML, "Server-sent events"); chunks are those of /v1/completions (`text`) and of /v1/chat/completions (`delta`,
whose reasoning counts as content: its user sees it). Seen on real servers: vLLM puts an error event into a stream of
status 200 when its engine dies, and ends it with [DONE] as if all was well.
"""

from __future__ import annotations

import msgspec

DONE = "[DONE]"
_FAILED = frozenset({"abort", "error", "cancelled"})
"""Finish reasons that mean that the answer is not whole."""
_ERROR_EVENT = "error"


class _Delta(msgspec.Struct):
    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None

    def has_content(self) -> bool:
        delta = self.delta or _Delta()
        return bool(self.text or delta.content or delta.reasoning or delta.reasoning_content)

    def is_opening(self) -> bool:
        """Whether it only says whose turn it is, as the first chunk of a chat does."""
        return self.delta is not None and self.delta.role is not None and not self.has_content()


class _Usage(msgspec.Struct):
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: object = None
    kind: str = msgspec.field(default="", name="object")


_CHUNKS = msgspec.json.Decoder(_Chunk)


class Events:
    """Bytes → whole server-sent events, as pairs of name and data."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """The events that end in `piece`. Lines end in LF or CR LF; the lone CR of the standard nobody sends."""
        *lines, self._rest = (self._rest + piece).split(b"\n") if b"\n" in piece else (self._rest + piece,)
        found = []
        for line in lines:
            key, _, value = line.removesuffix(b"\r").decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if key == "data":
                self._data.append(value)
            elif key == "event":
                self._name = value
            elif key == "" and not line.startswith(b":"):
                if self._data:
                    found.append((self._name, "\n".join(self._data)))
                self._name, self._data = "", []
        return found


class Answer:
    """One answer as far as it has come. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._events = Events()
        self.first_at: float | None = None
        """When the first content came."""
        self.chunks = 0
        """Chunks with content."""
        self.done = False
        """The stream said that it is over: nothing more needs to be read."""
        self.error = ""
        """Why the answer is not whole, in a few words; may still be empty while it is under way."""
        self._content_at = 0.0
        self._choice_at = 0.0
        self._finished = False
        self._tokens: int | None = None
        self._hidden = 0

    def feed(self, piece: bytes, at: float) -> None:
        """Take what came at `at`. What follows an error or the end is not looked at."""
        for name, data in self._events.feed(piece):
            if self.done or self.error:
                return
            if name == _ERROR_EVENT:
                self.error = "error event in the stream"
            elif data == DONE:
                self.done = True
            elif data:
                self._take(data, at)

    def end(self) -> None:
        """Nothing more will come."""
        if not (self.error or self.done or self._finished):
            self.error = "stream cut short" if self._choice_at else "no stream of events"

    def per_token(self) -> tuple[float, str] | None:
        """(mean seconds per token after the first content, what counted the tokens); None where it cannot be told.

        Tokens are counted by the server's usage where it gives one, less the chunks without text that came before the
        first content (a token of which nothing can be shown yet), else by chunks with content. What came in a single
        chunk has no time between tokens, whatever usage says.
        """
        if self.first_at is None or self.chunks < 2:
            return None
        if self._tokens is not None and self._tokens - self._hidden >= 2:
            # The last token may be one without text, told by the chunk that says why the answer ended.
            return (self._choice_at - self.first_at) / (self._tokens - self._hidden - 1), "usage"
        return (self._content_at - self.first_at) / (self.chunks - 1), "chunks"

    def _take(self, data: str, at: float) -> None:
        try:
            chunk = _CHUNKS.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self.error = "an event that is no chunk"
            return
        if chunk.error is not None or chunk.kind == _ERROR_EVENT:
            self.error = "error event in the stream"
            return
        if chunk.usage is not None and chunk.usage.completion_tokens is not None:
            self._tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            self._choice_at = at
            if choice.has_content():
                self.chunks += 1
                self._content_at = at
                self.first_at = at if self.first_at is None else self.first_at
            elif self.first_at is None and not choice.is_opening():
                self._hidden += 1
            if choice.finish_reason in _FAILED:
                self.error = f"finish reason {choice.finish_reason}"
            elif choice.finish_reason is not None:
                self._finished = True
