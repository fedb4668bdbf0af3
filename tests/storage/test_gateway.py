"""Calls to Redis end in time, are repeated only where that is safe, and fail in one way."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from fakeredis import FakeRedis
from redis import Redis, RedisError, ResponseError
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.servers import RedisServer, connected, free_port, redis_server, wait_until
from tests.stopwatch import stopwatch
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable

GENEROUS_SECONDS = 1.0

T = TypeVar("T")


@contextlib.contextmanager
def client_of(url: str) -> Iterator[Redis]:
    """Connect with the timeouts of production."""
    with connected(url, timeout_seconds=0.2) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server to ill-treat."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with client_of(server.url) as client:
        yield client


def call(work: Callable[[], T], *, repeatable: bool) -> T:
    """Do some work through a gateway whose circuit breaker is new."""
    return RedisGateway(FakeRedis).call(lambda _: work(), key="key", retry_safe=repeatable)


def read(client: Redis) -> object:
    return call(lambda: client.get("name"), repeatable=True)


def write(client: Redis) -> object:
    return call(lambda: client.set("name", "value"), repeatable=True)


reading_or_writing = pytest.mark.parametrize("work", [read, write])


def seconds_to_fail(work: Callable[[], object]) -> float:
    with stopwatch() as seconds, pytest.raises(StoreUnavailable):
        work()
    return seconds()


# connecting


def test_a_client_is_made_without_a_server_to_connect_to() -> None:
    with client_of(f"redis://127.0.0.1:{free_port()}/0") as client:
        assert isinstance(client, Redis)


def test_nothing_is_connected_before_it_is_needed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)

        with client_of(f"redis://127.0.0.1:{listener.getsockname()[1]}/0"), pytest.raises(BlockingIOError):
            listener.accept()


def test_all_that_a_new_connection_sends_is_the_command() -> None:
    with (
        a_server_that_answers(b"$5\r\nvalue\r\n") as (port, requests),
        client_of(f"redis://127.0.0.1:{port}/0") as client,
    ):
        value = read(client)
        client.close()

    assert value == b"value"
    assert requests == [b"*2\r\n$3\r\nGET\r\n$4\r\nname\r\n"]


def test_the_address_says_which_database_and_which_user(server: RedisServer) -> None:
    with server.client() as operator:
        operator.execute_command("ACL", "SETUSER", "ann", "on", ">a-password", "~*", "+@all")

    with client_of(f"redis://ann:a-password@127.0.0.1:{server.port}/3") as client:
        write(client)

    with Redis(port=server.port, db=3, protocol=2) as third:
        assert third.get("name") == b"value"


@contextlib.contextmanager
def a_server_that_answers(answer: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """Listen on a port, note what is sent, and answer all of it the same; without an answer, hang up instead."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_all, args=(listener, answer, requests))
        thread.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer_all(listener: socket.socket, answer: bytes | None, requests: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the listener was shut down
        while True:
            with listener.accept()[0] as connection:
                converse(connection, answer, requests)


def converse(connection: socket.socket, answer: bytes | None, requests: list[bytes]) -> None:
    while request := connection.recv(65536):
        requests.append(request)
        if answer is None:
            return
        connection.sendall(answer)


# trouble


@reading_or_writing
def test_a_stopped_redis_is_unavailable_at_once(
    server: RedisServer, client: Redis, work: Callable[[Redis], object]
) -> None:
    work(client)
    server.stop()

    assert seconds_to_fail(lambda: work(client)) < GENEROUS_SECONDS


@reading_or_writing
def test_a_frozen_redis_is_unavailable_in_time(
    server: RedisServer, client: Redis, work: Callable[[Redis], object]
) -> None:
    work(client)
    server.freeze()

    assert seconds_to_fail(lambda: work(client)) < GENEROUS_SECONDS


@reading_or_writing
def test_a_redis_that_was_frozen_before_anybody_connected_is_unavailable_in_time(
    server: RedisServer, client: Redis, work: Callable[[Redis], object]
) -> None:
    server.freeze()

    assert seconds_to_fail(lambda: work(client)) < GENEROUS_SECONDS


@reading_or_writing
def test_a_redis_that_takes_no_connections_is_unavailable_in_time(work: Callable[[Redis], object]) -> None:
    with a_port_that_lets_nobody_in() as port, client_of(f"redis://127.0.0.1:{port}/0") as client:
        assert seconds_to_fail(lambda: work(client)) < GENEROUS_SECONDS


@contextlib.contextmanager
def a_port_that_lets_nobody_in() -> Iterator[int]:
    """Listen, and accept nothing: when the queue is full, the kernel answers no more."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        waiting = [stack.enter_context(socket.socket()) for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_read_only_replica_can_be_read_and_not_written(server: RedisServer, client: Redis) -> None:
    write(client)
    client.replicaof("127.0.0.1", str(free_port()))

    assert read(client) == b"value"
    assert seconds_to_fail(lambda: write(client)) < GENEROUS_SECONDS


def test_a_full_redis_can_be_read_and_not_written(server: RedisServer, client: Redis) -> None:
    write(client)
    client.set("filler", "x" * 2**20)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")

    assert read(client) == b"value"
    assert seconds_to_fail(lambda: write(client)) < GENEROUS_SECONDS


@reading_or_writing
def test_a_redis_that_is_still_loading_is_unavailable_at_once(
    tmp_path: Path, work: Callable[[Redis], object]
) -> None:
    with (
        loading_redis_server(tmp_path) as server,
        client_of(server.url) as client,
        pytest.raises(StoreUnavailable, match="BusyLoadingError"),
    ):
        work(client)


_SNAPSHOTS = ("--appendonly", "no", "--rdbcompression", "no")


@contextlib.contextmanager
def loading_redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a redis-server that is busy loading its data until the context ends (or for ten seconds)."""
    with redis_server(folder, options=_SNAPSHOTS) as server, server.client() as client:
        client.mset({f"name{number}": "x" * 2000 for number in range(1000)})
        client.save()
    slowly = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    server = RedisServer(folder, port=server.port, options=(*_SNAPSHOTS, *slowly))
    start = threading.Thread(target=server.start)
    start.start()
    try:
        with client_of(server.url) as client:
            wait_until(lambda: is_loading(client), what="redis-server is loading")
            yield server
            client.config_set("key-load-delay", 0)
    finally:
        start.join()
        server.stop()


def is_loading(client: Redis) -> bool:
    try:
        client.ping()
    except BusyLoadingError:
        return True
    except RedisError:
        return False
    return False


# coming back


def test_after_a_restart_the_same_client_works_with_what_was_kept(server: RedisServer, client: Redis) -> None:
    write(client)
    server.stop()
    seconds_to_fail(lambda: read(client))

    server.start()

    assert read(client) == b"value"


def test_a_restart_between_two_calls_is_not_noticed_by_what_may_not_be_repeated(
    server: RedisServer, client: Redis
) -> None:
    write(client)
    server.stop()
    server.start()

    assert call(lambda: client.incr("count"), repeatable=False) == 1


def test_after_a_freeze_the_same_client_gets_its_own_answers(server: RedisServer, client: Redis) -> None:
    write(client)
    server.freeze()
    seconds_to_fail(lambda: call(lambda: client.echo("an answer that comes late"), repeatable=True))

    server.thaw()

    assert read(client) == b"value"


# repeating


class Work:
    """Fail as told, one time after the other, and then answer."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.times_done = 0

    def __call__(self) -> str:
        self.times_done += 1
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


UNANSWERED = [RedisConnectionError("planted"), RedisTimeoutError("planted")]
ANSWERED = [ResponseError("planted"), ReadOnlyError("planted"), OutOfMemoryError("planted"), RedisError("planted")]


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_is_answered_is_done_once(repeatable: bool) -> None:
    work = Work()

    assert call(work, repeatable=repeatable) == "answer"

    assert work.times_done == 1


@pytest.mark.parametrize("failure", UNANSWERED, ids=repr)
def test_what_is_repeatable_is_done_again_if_it_went_unanswered(failure: Exception) -> None:
    work = Work(failure)

    assert call(work, repeatable=True) == "answer"

    assert work.times_done == 2


@pytest.mark.parametrize("failure", UNANSWERED, ids=repr)
def test_what_is_repeatable_is_not_done_a_third_time(failure: Exception) -> None:
    work = Work(failure, failure)

    with pytest.raises(StoreUnavailable):
        call(work, repeatable=True)

    assert work.times_done == 2


@pytest.mark.parametrize("failure", ANSWERED, ids=repr)
def test_what_redis_refused_is_not_done_again(failure: Exception) -> None:
    work = Work(failure)

    with pytest.raises(StoreUnavailable):
        call(work, repeatable=True)

    assert work.times_done == 1


@pytest.mark.parametrize("failure", UNANSWERED + ANSWERED, ids=repr)
def test_what_is_not_repeatable_is_never_done_again(failure: Exception) -> None:
    work = Work(failure)

    with pytest.raises(StoreUnavailable):
        call(work, repeatable=False)

    assert work.times_done == 1


@pytest.mark.parametrize(("repeatable", "times"), [(True, 2), (False, 1)])
def test_redis_py_repeats_nothing_of_its_own(repeatable: bool, times: int) -> None:
    with a_server_that_answers(None) as (port, requests), client_of(f"redis://127.0.0.1:{port}/0") as client:
        seconds_to_fail(lambda: call(lambda: client.incr("count"), repeatable=repeatable))

    assert len(requests) == times


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_mistake_of_ours_is_not_taken_for_redis_trouble(repeatable: bool) -> None:
    work = Work(ValueError("a mistake"))

    with pytest.raises(ValueError, match="a mistake"):
        call(work, repeatable=repeatable)

    assert work.times_done == 1


# what is told


def _slow(seconds: float) -> str:
    time.sleep(seconds)  # what is called takes its time
    return "answer"


def test_answers_that_come_too_late_blow_the_fuse() -> None:
    """They drip: no read of a byte times out, and together they take longer than anybody may."""
    gateway = RedisGateway(FakeRedis)
    for _ in range(3):
        assert gateway.call(lambda _: _slow(0.51), key="key", retry_safe=True) == "answer"

    with pytest.raises(StoreUnavailable):
        gateway.call(lambda _: "answer", key="key", retry_safe=True)


def test_a_silent_redis_is_logged_when_it_falls_silent_and_when_it_answers_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(server.url) as client:
        gateway = RedisGateway(lambda: client)
        server.freeze()
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                gateway.call(lambda client: client.get("name"), key="name", retry_safe=True)
        server.thaw()
        wait_until(lambda: answers(gateway), what="a probe is answered")

    told = [record.message for record in caplog.records if "Redis " in record.message]
    assert told == ["Redis is silent: most calls are turned away", "Redis answers again"]


def answers(gateway: RedisGateway) -> bool:
    try:
        gateway.call(lambda client: client.get("name"), key="name", retry_safe=True)
    except StoreUnavailable:
        return False
    return True


def test_a_failure_is_logged_once_without_what_the_command_was_about(
    server: RedisServer, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wxlogin")

    with pytest.raises(StoreUnavailable) as caught:
        call(lambda: client.eval("return redis.error_reply(ARGV[1])", 0, "planted"), repeatable=True)

    assert "planted" in str(caught.value.__cause__)  # Redis itself quotes its arguments
    assert "planted" not in str(caught.value) + caplog.text
    assert caplog.messages == ["the store does not serve us: ResponseError"]


def test_what_went_well_in_the_end_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wxlogin")

    call(Work(RedisTimeoutError()), repeatable=True)

    assert caplog.messages == []


def test_a_replica_where_the_master_was_counts_as_a_move(server: RedisServer) -> None:
    with client_of(server.url) as client:
        gateway = RedisGateway(lambda: client)
        gateway.call(lambda each: each.set("key", "value"), key="key", retry_safe=False)
        assert gateway.failover_count() == 0

        client.replicaof("127.0.0.1", str(free_port()))

        with pytest.raises(StoreUnavailable):
            gateway.call(lambda each: each.set("key", "value"), key="key", retry_safe=False)
        assert gateway.failover_count() == 1
