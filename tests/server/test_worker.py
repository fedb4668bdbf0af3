"""What a worker does with a connection that is readable, as far as clients of gunicorn can't show it."""

from __future__ import annotations

import contextlib
import copy
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from tests.servers import wait_until
from wxlogin.server.worker import Worker
from wxlogin.web.auth_request.middleware import Headers, Pending

REQUEST = b"GET /auth HTTP/1.1\r\nHost: x\r\n\r\n"
HERE = ("127.0.0.1", 8000)


class Middleware:
    """What lets everybody pass in its own way."""

    pipeline = None

    def __init__(self, found: Headers | Pending | None) -> None:
        self.found = found
        self.counted = 0
        self.callback: Any = None

    def try_answer(self, _environ: dict[str, Any], callback: Any) -> Headers | Pending | None:
        self.callback = callback
        return self.found

    def record_granted(self, seconds: float) -> None:
        assert seconds >= 0
        self.counted += 1


class Breaking(Middleware):
    """What has a bug."""

    def try_answer(self, _environ: dict[str, Any], callback: Any) -> Headers | Pending | None:
        raise ZeroDivisionError


def by_a_thread(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer as nobody else here does."""
    start_response("418 I'M A TEAPOT", [("Content-Length", "0")])
    return ()


class Kept:
    """A worker with one connection, that was kept, and its client."""

    def __init__(self) -> None:
        config = Config()
        self.worker = Worker(1, os.getppid(), [], None, 30, config, Logger(config))
        self.worker.wsgi = by_a_thread
        self.worker.tpool = ThreadPoolExecutor(1)
        self.worker.poller = selectors.DefaultSelector()
        self.worker.method_queue.init()
        self.worker.poller.register(
            self.worker.method_queue.fileno(), selectors.EVENT_READ, self.worker.method_queue.run_callbacks
        )
        self.client, self.server = socket.socketpair()
        connection = TConn(config, self.server, HERE, HERE)
        connection.init()
        self.worker.nr_conns = 1
        self.worker.keepalived_conns.append(connection)
        self.server.setblocking(False)
        connection.set_timeout()
        self.worker.poller.register(
            self.server, selectors.EVENT_READ, lambda sock: self.worker.on_client_socket_readable(connection, sock)
        )

    def answer_with(self, found: Headers | Pending | None) -> Middleware:
        middleware = Middleware(found)
        self.worker.use_fast_path(cast("Any", middleware))
        return middleware

    def turn(self) -> None:
        self.worker.wait_for_and_dispatch_events(0.01)

    def turn_until(self, condition: Callable[[], bool], *, what: str) -> None:
        def is_done() -> bool:
            self.turn()
            return condition()

        wait_until(is_done, what=what)

    def received(self) -> bytes:
        """Return what the client gets."""
        readable = selectors.DefaultSelector()
        readable.register(self.client, selectors.EVENT_READ)
        self.turn_until(lambda: bool(readable.select(0)), what="an answer")
        readable.close()
        return self.client.recv(4096)

    def close(self) -> None:
        self.worker.tpool.shutdown()
        self.client.close()
        self.server.close()
        self.worker.poller.close()
        self.worker.method_queue.close()
        self.worker.tmp.close()


@pytest.fixture
def kept(logging_as_it_was: None) -> Iterator[Kept]:
    kept = Kept()
    yield kept
    kept.close()


def test_what_the_middleware_finds_is_the_answer(kept: Kept) -> None:
    middleware = kept.answer_with([("X-WX-OPENID", "oUser")])

    for _ in range(3):
        kept.client.sendall(REQUEST)
        assert kept.received().startswith(b"HTTP/1.1 204 NO CONTENT\r\nServer: gunicorn\r\n")

    assert len(kept.worker.keepalived_conns) == kept.worker.nr_conns == 1
    assert (kept.worker.nr, middleware.counted) == (3, 3)


def test_a_connection_that_is_used_is_kept_for_longer_than_one_that_is_not(kept: Kept) -> None:
    kept.answer_with([("X-WX-OPENID", "oUser")])
    (used,) = kept.worker.keepalived_conns
    unused = copy.copy(used)
    kept.worker.keepalived_conns.append(unused)
    used.timeout = unused.timeout = time.monotonic() + 1

    kept.client.sendall(REQUEST)
    kept.received()

    assert [*kept.worker.keepalived_conns] == [unused, used]
    assert used.timeout > unused.timeout
    kept.worker.keepalived_conns.remove(unused)


def test_a_bug_of_the_middleware_is_told_and_a_thread_answers(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.worker.use_fast_path(cast("Any", Breaking(None)))
    kept.worker.log.error_log.propagate = True

    kept.client.sendall(REQUEST)

    assert kept.received().startswith(b"HTTP/1.1 418")
    assert "ZeroDivisionError" in caplog.text


def test_a_request_that_no_thread_takes_is_lost_and_nothing_else(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    middleware = kept.answer_with(Pending.PENDING)
    kept.worker.log.error_log.propagate = True
    kept.client.sendall(REQUEST)
    kept.turn_until(lambda: bool(middleware.callback), what="the middleware is asked")
    kept.worker.tpool.shutdown()

    middleware.callback(None)

    assert kept.worker.nr_conns == 0
    assert "a connection is lost" in caplog.text


class Impatient:
    """What looks sessions up, as far as the worker waits for it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def attach(self, _poller: object, _defer: object) -> None:
        self.seen.append("attached")

    def poll_timeout(self) -> float:
        return 0.04

    def flush(self) -> None:
        self.seen.append("sent")

    def expire_overdue(self) -> None:
        self.seen.append("looked")


def test_a_worker_waits_no_longer_than_there_is_patience(kept: Kept) -> None:
    middleware, pipeline = Middleware(None), Impatient()
    middleware.pipeline = pipeline  # type: ignore[assignment]  # it is all of it that is used
    kept.worker.use_fast_path(cast("Any", middleware))
    waits: list[float] = []
    select = kept.worker.poller.select

    def noted(timeout: float) -> Any:
        waits.append(timeout)
        return select(0)

    kept.worker.poller.select = noted

    kept.worker.wait_for_and_dispatch_events(1.0)
    kept.worker.wait_for_and_dispatch_events(0.01)

    assert waits == [pipeline.poll_timeout(), 0.01]
    assert pipeline.seen[:3] == ["attached", "sent", "looked"]


def test_what_the_middleware_does_not_find_is_a_threads_to_answer(kept: Kept) -> None:
    kept.answer_with(None)

    kept.client.sendall(REQUEST)

    assert kept.received().startswith(b"HTTP/1.1 418")


@pytest.mark.parametrize("found", [[("X-WX-OPENID", "oUser")], None])
def test_what_the_middleware_finds_later_is_the_answer_then(kept: Kept, found: Headers | None) -> None:
    middleware = kept.answer_with(Pending.PENDING)
    kept.client.sendall(REQUEST)
    kept.turn_until(lambda: bool(middleware.callback), what="the middleware is asked")
    assert not kept.worker.keepalived_conns

    middleware.callback(found)

    assert kept.received().startswith(b"HTTP/1.1 204" if found else b"HTTP/1.1 418")
    assert middleware.counted == bool(found)
    kept.turn_until(lambda: len(kept.worker.keepalived_conns) == 1, what="it is kept again")


@pytest.mark.parametrize("is_later", [False, True])
def test_what_no_header_can_have_is_gunicorns_to_refuse(kept: Kept, is_later: bool) -> None:
    found = [("X-WX-OPENID", "o\r\nUser")]
    middleware = kept.answer_with(Pending.PENDING if is_later else found)

    kept.client.sendall(REQUEST)
    if is_later:
        kept.turn_until(lambda: bool(middleware.callback), what="the middleware is asked")
        middleware.callback(found)

    assert kept.received().startswith(b"HTTP/1.1 418")


@pytest.mark.parametrize("is_later", [False, True])
def test_a_client_that_takes_no_answer_is_let_go(kept: Kept, is_later: bool) -> None:
    middleware = kept.answer_with(Pending.PENDING if is_later else [("X-WX-OPENID", "oUser")])

    kept.client.sendall(REQUEST)
    kept.client.close()
    if is_later:
        kept.turn_until(lambda: bool(middleware.callback), what="the middleware is asked")
        middleware.callback([("X-WX-OPENID", "oUser")])

    kept.turn_until(lambda: kept.worker.nr_conns == 0, what="the connection is closed")
    assert not kept.worker.keepalived_conns
    assert len(kept.worker.poller.get_map()) == 1


def test_a_connection_that_is_broken_is_closed(kept: Kept) -> None:
    kept.answer_with([])
    (connection,) = kept.worker.keepalived_conns
    connection.sock = socket.socket()  # which is not connected

    kept.worker.on_client_socket_readable(connection, kept.server)

    kept.turn_until(lambda: kept.worker.nr_conns == 0, what="the connection is closed")


@pytest.mark.parametrize(
    "settings",
    [
        {"accesslog": "-"},
        {"certfile": "cert.pem"},
        {"pre_request": lambda _worker, _request: None},
        {"post_request": lambda _worker, _request, _environ, _response: None},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_who_is_to_be_told_of_each_request_is_told(kept: Kept, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        kept.worker.cfg.set(name, value)
    kept.worker.log = Logger(kept.worker.cfg) if "certfile" not in settings else kept.worker.log

    kept.answer_with([("X-WX-OPENID", "oUser")])

    assert kept.worker._middleware is None


class Told(Logger):  # type: ignore[misc]  # gunicorn has no types
    """A logger of somebody's own."""


def test_a_logger_of_somebodys_own_is_told_of_each_request(kept: Kept) -> None:
    kept.worker.log = Told(kept.worker.cfg)

    kept.answer_with([("X-WX-OPENID", "oUser")])

    assert kept.worker._middleware is None


def test_a_worker_that_stops_answers_with_threads(kept: Kept) -> None:
    kept.answer_with([("X-WX-OPENID", "oUser")])
    kept.worker.alive = False

    kept.client.sendall(REQUEST)

    assert b"\r\nConnection: close\r\n" in kept.received()


@pytest.mark.parametrize("is_later", [False, True])
def test_when_too_many_are_kept_a_thread_answers_and_lets_go(kept: Kept, is_later: bool) -> None:
    """Or nobody else could connect: what is kept counts among the connections that a worker takes."""
    found = [("X-WX-OPENID", "oUser")]
    middleware = kept.answer_with(Pending.PENDING if is_later else found)
    kept.client.sendall(REQUEST)
    if is_later:
        kept.turn_until(lambda: bool(middleware.callback), what="the middleware is asked")
    kept.worker.max_keepalived = 0

    if is_later:
        middleware.callback(found)

    assert b"\r\nConnection: close\r\n" in kept.received()
    assert middleware.counted == 0


def test_a_client_whose_answers_find_no_room_is_not_waited_for(kept: Kept) -> None:
    kept.answer_with([("X-WX-OPENID", "oUser")])
    kept.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    kept.client.setblocking(False)

    def is_let_go() -> bool:
        with contextlib.suppress(OSError):
            kept.client.send(REQUEST)
        return bool(kept.worker.nr_conns == 0)

    kept.turn_until(is_let_go, what="the connection is closed")
    assert kept.server.fileno() == -1
