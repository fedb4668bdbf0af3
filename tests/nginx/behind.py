"""What is behind nginx in its tests: the example back end, seen from close by, and a service that obeys."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.servers import PROJECT


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reached a back end: its target and its headers as they came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> dict[str, str]:
        """What claims to be the identity, in any spelling."""
        return {name: value for name, value in self.headers if re.match(r"x[^a-z0-9]*wx", name, re.IGNORECASE)}

    def header(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for each, value in self.headers if each.lower() == name.lower()]


@dataclasses.dataclass
class Backend:
    """The example back end at an address, and all that reached it."""

    address: str
    arrivals: list[Arrival] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def example_backend() -> Iterator[Backend]:
    """Run the example back end on threads; every path says who is calling."""
    arrivals: list[Arrival] = []

    class Recording(WSGIRequestHandler):
        def make_environ(self) -> Any:
            arrivals.append(Arrival(self.command, self.path, tuple(self.headers.items())))
            return super().make_environ()

        def log(self, *_: Any) -> None:
            pass

    app = example_app()
    app.register_error_handler(404, cast(Any, lambda _: app.view_functions["who_is_calling"]()))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Recording)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Backend(f"127.0.0.1:{server.server_port}", arrivals)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def example_app() -> Flask:
    """Return the back end of examples/."""
    spec = importlib.util.spec_from_file_location("example_backend", PROJECT / "examples/backend/app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: Flask = module.app
    return app


ALLOWED = (
    b"HTTP/1.1 204 No Content\r\nX-WX-OPENID: oStub-0123456789\r\nX-WX-APPID: wx4f4bc4dec97d474b\r\n"
    b"X-WX-SOURCE: wx_client\r\nContent-Length: 0\r\n\r\n"
)


class StubService:
    """What listens where nginx expects the service: it gives one answer to all, or none, or isn't there."""

    def __init__(self) -> None:
        self.answer: bytes | None = ALLOWED
        """What is sent; nothing and a closed connection if it is empty, nothing at all if it is None."""
        self.requests: list[bytes] = []
        self.connections = 0
        self.ends_at_second_request = False
        """Whether a connection that has had an answer is closed under the next request: by a worker that ends."""
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Be gone: connections are refused from now on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connections there are."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            for number, request in enumerate(iter(lambda: _read(stream), b"")):
                self.requests.append(request)
                if self.answer == b"" or (number and self.ends_at_second_request):
                    return
                connection.sendall(self.answer or b"")


def _read(stream: BinaryIO) -> bytes:
    """Return the next request, without its body; nothing at the end."""
    lines = list(iter(lambda: stream.readline().strip(), b""))
    length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    stream.read(length)
    return b"\r\n".join(lines)


@contextlib.contextmanager
def stub_service() -> Iterator[StubService]:
    """Run a stub until the context ends."""
    stub = StubService()
    try:
        yield stub
    finally:
        with contextlib.suppress(OSError):
            stub.close()
