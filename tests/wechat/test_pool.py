from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.servers import free_port, wait_until
from tests.stopwatch import stopwatch
from tests.wechat.conftest import ApiOf, ClientOf
from tests.wechat.drivers import (
    CODE,
    HASTY,
    MAX_SECONDS,
    Certificates,
    debug_log,
    refusal,
    success,
)
from tests.wechat.upstream import (
    Peer,
    answer,
    chunked,
    closes_after_request,
    plays,
    plays_and_closes,
    stalls,
    upstream,
)
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import ConnectionFailed, InvalidCode, InvalidResponse, ResponseLost
from wxlogin.wechat.api.http import Timeouts

BOUNDS = {
    "to connect": Timeouts(connect=0.2, read=30, total=30),
    "in all": Timeouts(connect=30, read=30, total=0.2),
}
HELPER_THREADS = 8


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Any:
    """What a server needs for each of the schemes: tests with it hold for both."""
    return certificates.server("good") if request.param == "https" else None


# Kept connections


@pytest.mark.parametrize("data", [answer(success()), chunked(success(), b"")], ids=["length", "chunked"])
def test_a_connection_is_used_again(data: bytes, tls: Any, client_of: ClientOf) -> None:
    with upstream(plays(data), tls=tls) as seen:
        client = client_of(seen.url)

        for _ in range(20):
            client.code2session(CODE)

    assert (seen.connections, len(seen.requests)) == (1, 20)


@pytest.mark.parametrize(
    "bad",
    [answer(refusal(40029)), answer(b"<html>"), answer(b""), chunked(b"")],
    ids=["no", "html", "empty", "chunked"],
)
def test_a_connection_outlives_an_answer_that_says_no(bad: bytes, tls: Any, client_of: ClientOf) -> None:
    with upstream(plays(bad, answer(success())), tls=tls) as seen:
        client = client_of(seen.url)
        with pytest.raises((InvalidCode, InvalidResponse)):
            client.code2session(CODE)

        client.code2session(CODE)

    assert seen.connections == 1


@pytest.mark.parametrize(
    "bad",
    [
        answer(b" " * 100_000),
        answer(b" " * 9_000_000),
        answer(success(), status="500 Oh"),
        answer(success(), status="302 Found", headers="Location: /x"),
    ],
    ids=["long", "very long", "500", "302"],
)
def test_a_connection_with_an_unread_answer_is_not_used_again(bad: bytes, tls: Any, client_of: ClientOf) -> None:
    with upstream(plays(bad, answer(b"the end of the first answer")), tls=tls) as seen:
        client = client_of(seen.url)
        with pytest.raises(InvalidResponse):
            client.code2session(CODE)

        wait_until(lambda: seen.open == 0, what="the client closes the connection")

    assert seen.connections == 1


@pytest.mark.parametrize("how", ["says so", "just does"])
def test_a_connection_that_the_server_closed_is_replaced(how: str, tls: Any, client_of: ClientOf) -> None:
    close = "Connection: close" if how == "says so" else "X: y"
    data = answer(success(), headers=close)
    with upstream(plays_and_closes(data), tls=tls) as seen:
        client = client_of(seen.url)
        client.code2session(CODE)
        wait_until(lambda: seen.open == 0, what="the server closes the connection")

        client.code2session(CODE)

    assert (seen.connections, len(seen.requests)) == (2, 2)


def test_a_request_on_a_kept_connection_is_not_sent_again(client_of: ClientOf) -> None:
    def answers_once(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(success()))
        peer.read_request()

    with upstream(answers_once) as seen:
        client = client_of(seen.url)
        client.code2session(CODE)

        with pytest.raises(ResponseLost):
            client.code2session(CODE)

    assert (seen.connections, len(seen.requests)) == (1, 2)


def test_every_call_on_a_kept_connection_has_all_its_time(tls: Any, client_of: ClientOf) -> None:
    def answers_slowly(peer: Peer) -> None:
        while peer.read_request():
            peer.wait(1.2)
            peer.send(answer(success()))

    with upstream(answers_slowly, tls=tls) as seen:
        client = client_of(seen.url, timeouts=Timeouts(connect=2.3, read=2.3, total=2.3))

        for _ in range(2):
            client.code2session(CODE)

    assert seen.connections == 1


def test_a_pause_between_calls_takes_nothing_from_the_next(client_of: ClientOf) -> None:
    with upstream(plays(answer(success()))) as seen:
        client = client_of(seen.url, timeouts=Timeouts(connect=1.5, read=1.5, total=1.5))
        client.code2session(CODE)
        over = time.monotonic() + 1.5
        wait_until(lambda: time.monotonic() > over, what="the first call's time is over")

        client.code2session(CODE)

    assert seen.connections == 1


def test_a_slow_call_takes_nothing_from_another_threads(client_of: ClientOf) -> None:
    slow_arrived = threading.Event()

    def stalls_once(peer: Peer) -> None:
        while b"slow" in (request := peer.read_request()):
            slow_arrived.set()
            peer.wait_until_left()
        while request:
            peer.wait(0.7)
            peer.send(answer(success()))
            request = peer.read_request()

    with upstream(stalls_once) as seen, ThreadPoolExecutor(1) as thread:
        hasty, patient = client_of(seen.url, timeouts=HASTY), client_of(seen.url)
        slow = thread.submit(hasty.code2session, "slow")
        assert slow_arrived.wait(5)

        patient.code2session(CODE)

        assert isinstance(slow.exception(), ResponseLost)


def test_clients_that_share_connections_ask_for_themselves(api_of: ApiOf) -> None:
    appids = ["wx4f4bc4dec97d474b", "wx00000000000000aa"]
    with upstream(plays(answer(success()))) as seen:
        api = api_of(seen.url)
        for appid in appids:
            WeChatClient(appid, "s", api=api).code2session(CODE)

    assert seen.connections == 1
    assert all(appid.encode() in request for appid, request in zip(appids, seen.requests, strict=True))


# Time


def test_the_wait_for_the_next_byte_is_shorter_than_the_call(client_of: ClientOf) -> None:
    with stopwatch() as seconds, upstream(stalls) as seen, pytest.raises(ResponseLost):
        client_of(seen.url, timeouts=Timeouts(connect=30, read=0.2, total=30)).code2session(CODE)

    assert seconds() < MAX_SECONDS


def test_the_call_is_shorter_than_the_wait_for_the_next_byte(client_of: ClientOf) -> None:
    with stopwatch() as seconds, upstream(stalls) as seen, pytest.raises(ResponseLost):
        client_of(seen.url, timeouts=Timeouts(connect=30, read=30, total=0.3)).code2session(CODE)

    assert seconds() < MAX_SECONDS


# Connecting


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Give a port that takes no connection and refuses none: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as ends:
        address = listener.getsockname()
        with contextlib.suppress(BlockingIOError, TimeoutError):
            for _ in range(100):
                ends.enter_context(socket.create_connection(address, timeout=0.2))
        yield address[1]


@pytest.mark.parametrize("timeouts", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_drops_all_packets_is_not_reached(
    scheme: str, timeouts: Timeouts, client_of: ClientOf
) -> None:
    with black_hole() as port, stopwatch() as seconds, pytest.raises(ConnectionFailed):
        client_of(f"{scheme}://127.0.0.1:{port}", timeouts=timeouts).code2session(CODE)

    assert seconds() < MAX_SECONDS


class SilentNameServer(threading.Event):
    """A DNS that says nothing until this is set; ``held`` are the threads that have asked it."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[int] = set()
        self._look_up: Callable[..., Any] = socket.getaddrinfo

    def hang(self, *args: Any, **kwargs: Any) -> Any:
        self.held.add(threading.get_ident())
        self.wait(20)
        return self._look_up(*args, **kwargs)


@pytest.fixture
def answer_lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNameServer]:
    """Patched, because no machine has such a resolver at hand."""
    silent = SilentNameServer()
    monkeypatch.setattr(socket, "getaddrinfo", silent.hang)
    yield silent
    silent.set()


@pytest.mark.parametrize("timeouts", BOUNDS.values(), ids=BOUNDS)
def test_a_lookup_that_hangs_is_not_reached(
    timeouts: Timeouts, client_of: ClientOf, answer_lookups: SilentNameServer
) -> None:
    with stopwatch() as seconds, pytest.raises(ConnectionFailed):
        client_of("http://localhost", timeouts=timeouts).code2session(CODE)

    assert seconds() < MAX_SECONDS


def test_a_connection_that_comes_too_late_is_closed(client_of: ClientOf, answer_lookups: SilentNameServer) -> None:
    with upstream(stalls) as seen:
        with pytest.raises(ConnectionFailed):
            client_of(seen.url, timeouts=HASTY).code2session(CODE)

        answer_lookups.set()

        wait_until(lambda: seen.connections == 1, what="the late connection")
        wait_until(lambda: seen.open == 0, what="it is closed")
    assert seen.received == b""


def test_a_late_refusal_is_not_news(client_of: ClientOf, answer_lookups: SilentNameServer) -> None:
    with upstream(plays(answer(success()))) as seen, ThreadPoolExecutor(HELPER_THREADS) as threads:
        hasty = client_of(f"http://127.0.0.1:{free_port()}", timeouts=HASTY)
        given_up = [threads.submit(hasty.code2session, CODE) for _ in range(HELPER_THREADS)]
        assert all(isinstance(call.exception(), ConnectionFailed) for call in given_up)

        with debug_log() as log:
            answer_lookups.set()
            client_of(seen.url).code2session(CODE)  # its turn comes after a late one's

    assert "Traceback" not in log.getvalue()


def give_up(client_of: ClientOf, url: str, *, times: int) -> None:
    """Have so many calls wait for a lookup at once, in vain."""
    # A client each: the breaker of one would turn away whoever comes late.
    hasty = [client_of(url, timeouts=HASTY) for _ in range(times)]
    with ThreadPoolExecutor(times) as threads:
        given_up = [threads.submit(each.code2session, CODE) for each in hasty]
        assert all(isinstance(call.exception(), ConnectionFailed) for call in given_up)


def test_calls_given_up_in_the_queue_never_connect(client_of: ClientOf, answer_lookups: SilentNameServer) -> None:
    with upstream(plays(answer(success()))) as seen:

        def are_all_threads_held() -> bool:
            """Say so after some more calls: on a busy machine, a call is given up before a thread begins."""
            give_up(client_of, seen.url, times=HELPER_THREADS)
            return len(answer_lookups.held) == HELPER_THREADS

        wait_until(are_all_threads_held, what="each helper thread waits for a lookup")
        give_up(client_of, seen.url, times=HELPER_THREADS)

        answer_lookups.set()
        client_of(seen.url).code2session(CODE)

        wait_until(lambda: seen.connections > HELPER_THREADS, what="all connections are there")
        wait_until(lambda: seen.open <= 1, what="the late ones are closed")
    assert seen.connections == HELPER_THREADS + 1


# TLS


@pytest.mark.parametrize("timeouts", BOUNDS.values(), ids=BOUNDS)
def test_a_handshake_that_hangs_is_not_reached(timeouts: Timeouts, client_of: ClientOf) -> None:
    with stopwatch() as seconds, upstream(stalls, scheme="https") as seen, pytest.raises(ConnectionFailed):
        client_of(seen.url, timeouts=timeouts).code2session(CODE)

    assert seconds() < MAX_SECONDS


def test_a_server_with_a_good_certificate_is_asked(client_of: ClientOf, certificates: Certificates) -> None:
    with upstream(plays(answer(success())), tls=certificates.server("good")) as seen:
        client_of(seen.url).code2session(CODE)

    assert len(seen.requests) == 1


def test_a_server_that_closes_within_tls_gives_no_answer(client_of: ClientOf, certificates: Certificates) -> None:
    with upstream(closes_after_request, tls=certificates.server("good")) as seen, pytest.raises(ResponseLost):
        client_of(seen.url).code2session(CODE)

    assert len(seen.requests) == 1
