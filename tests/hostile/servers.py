"""Servers that mean harm, on loopback: each path answers with bytes of its own, written as slowly as it likes."""

import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

Answer = Callable[[socket.socket], None]
"""Writes to a connection whatever it wants; it ends when the peer goes away or when the test does."""

ENDED = threading.Event
_HEAD = "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n{more}\r\n"


class HostileServer:
    """Serves `answers` by path. A path without one answers 404. `asked` has the paths that were asked for."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        asked = self.asked = list[str]()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                try:
                    while b"\r\n\r\n" not in head:
                        piece = self.request.recv(65536)
                        if not piece:
                            return
                        head += piece
                    path = head.split(b" ", 2)[1].decode("ascii", "replace")
                    asked.append(path)
                    answers.get(path, status("404 Not Found"))(self.request)
                except OSError:
                    pass  # whom it attacks went away

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def raw(data: bytes) -> Answer:
    """These bytes, and the end."""
    return lambda sock: sock.sendall(data)


def status(line: str, more: str = "", body: bytes = b"") -> Answer:
    """A whole answer with this status line and these headers."""
    head = _HEAD.format(status=line, more=f"{more}Content-Length: {len(body)}\r\nConnection: close\r\n")
    return raw(head.encode("utf-8", "surrogateescape") + body)


def page(body: bytes, more: str = "") -> Answer:
    """A 200 with this body."""
    return status("200 OK", more, body)


def gzipped(body: bytes) -> Answer:
    """A 200 whose body says that it is gzip."""
    return page(body, "Content-Encoding: gzip\r\n")


def endless(piece: bytes, *, pause: float = 0.0) -> Answer:
    """A 200 in chunks that never end."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(_HEAD.format(status="200 OK", more="Transfer-Encoding: chunked\r\n").encode())
        chunk = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        while True:
            sock.sendall(chunk)
            if pause:
                threading.Event().wait(pause)

    return answer


def endless_header(sock: socket.socket) -> None:
    """A status line, and then one header that never ends."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        sock.sendall(b"a" * 65536)


def silent(sock: socket.socket) -> None:
    """Nothing, as long as the peer waits."""
    sock.recv(1)
