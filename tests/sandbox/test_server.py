"""The sandbox behind its socket: connections, and how it ends."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers import TIMEOUT_SECONDS, wait_until
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.faults import Fault
from wxlogin.sandbox.server import SandboxServer
from wxlogin.sandbox.state import SandboxState


@pytest.fixture
def state() -> SandboxState:
    return SandboxState()


@contextlib.contextmanager
def running(state: SandboxState, *, host: str = "127.0.0.1") -> Iterator[SandboxServer]:
    before = set(threading.enumerate())
    with SandboxServer(create_sandbox(state), host=host, port=0) as server:
        yield server
    wait_until(lambda: set(threading.enumerate()) <= before, what="its threads end")


@contextlib.contextmanager
def connection_to(server: SandboxServer, *, host: str = "127.0.0.1") -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection(host, server.port, timeout=TIMEOUT_SECONDS)) as connection:
        yield connection


def test_a_connection_is_kept_and_no_server_names_itself(state: SandboxState) -> None:
    with running(state) as server, connection_to(server) as connection:
        sockets = set()
        for method, path in (("GET", "/sns/x"), ("POST", "/cgi-bin/stable_token"), ("GET", "/_sandbox/calls")):
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            sockets.add(connection.sock)

            assert (answer.getheader("Server"), answer.getheader("Connection")) == (None, None)

    assert len(sockets) == 1
    assert None not in sockets


def test_it_is_there_by_ipv6(state: SandboxState) -> None:
    with running(state, host="::1") as server, connection_to(server, host="::1") as connection:
        connection.request("GET", "/")

        assert connection.getresponse().status == 200


def asking(server: SandboxServer, path: str) -> threading.Thread:
    def ask() -> None:
        with connection_to(server) as connection, contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            connection.getresponse().read()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_delayed_call_does_not_delay_the_end(state: SandboxState, caplog: pytest.LogCaptureFixture) -> None:
    state.faults.arm(Fault(path="/sns/x", delay_seconds=60))
    with running(state) as server:
        caller = asking(server, "/sns/x")
        wait_until(lambda: bool(state.journal.calls()), what="the call has come")

    caller.join(TIMEOUT_SECONDS)
    assert not caller.is_alive()
    assert caplog.records == []


def test_a_page_that_is_open_does_not_delay_the_end(state: SandboxState, caplog: pytest.LogCaptureFixture) -> None:
    with running(state) as server, connection_to(server) as page:
        page.request("GET", "/simulator/messages")
        assert page.getresponse().status == 200

    assert caplog.records == []


def test_who_does_not_read_does_not_delay_the_end(state: SandboxState, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10_000):
        state.journal.note_call("/sns/x", {"js_code": ["x" * 1000]}, now=0)
    with running(state) as server, socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"GET /_sandbox/calls HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
        assert idle.recv(1)

    assert caplog.records == []


def test_it_ends_while_its_threads_wake_it_up(state: SandboxState) -> None:
    """A thread that ends a call wakes the loop, which may end between the last words to it and a wake-up."""
    with running(state) as server:
        trigger: Any = server._server.trigger
        wake_up: Callable[[], None] = trigger._physical_pull

        def wake_up_late() -> None:
            wake_up()
            wait_until(lambda: not server._thread.is_alive(), what="the loop has ended")
            wake_up()

        trigger._physical_pull = wake_up_late


def test_many_servers_end_while_they_are_used(state: SandboxState) -> None:
    for _ in range(20):
        with running(state) as server:
            callers = [asking(server, "/sns/x") for _ in range(4)]
        for caller in callers:
            caller.join(TIMEOUT_SECONDS)
            assert not caller.is_alive()


def test_calls_that_wait_for_a_thread_are_nothing_to_warn_of(
    state: SandboxState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wxlogin.sandbox.server.THREADS", 1)
    state.faults.arm(Fault(path="/sns/x", delay_seconds=60))
    with running(state) as server:
        callers = [asking(server, "/sns/x")]
        wait_until(lambda: bool(state.journal.calls()), what="the call has come")
        callers.append(asking(server, "/sns/y"))
        wait_until(lambda: bool(server._server.task_dispatcher.queue), what="another waits")

    for caller in callers:
        caller.join(TIMEOUT_SECONDS)
        assert not caller.is_alive()
    assert caplog.records == []
