"""The proxy's faults are those that it claims to be, as a client and as the server see them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from tests.fault_proxy import FaultProxy, fault_proxy
from tests.redis_topologies import no_retries
from tests.servers import TIMEOUT_SECONDS, RedisServer, wait_until


@pytest.fixture(autouse=True)
def _empty(the_redis_server: RedisServer) -> None:
    with the_redis_server.client() as client:
        client.flushall()


@pytest.fixture
def proxy(the_redis_server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy(the_redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """A client that is connected already, so that no greeting gets in the way of a fault."""
    with connected_to(proxy, timeout_seconds=TIMEOUT_SECONDS) as client:
        yield client


@contextlib.contextmanager
def connected_to(proxy: FaultProxy, *, timeout_seconds: float) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(proxy.url, socket_timeout=timeout_seconds, retry=no_retries()) as client:
        client.ping()
        yield client


@pytest.fixture
def behind(the_redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client that sees what the server has."""
    with the_redis_server.client() as client:
        yield client


def test_commands_and_connections_are_counted(proxy: FaultProxy, client: redis.Redis) -> None:
    client.set("key", "x" * 1_000_000)
    pipeline = client.pipeline(transaction=False)
    pipeline.get("key")
    pipeline.get("key")
    pipeline.execute()

    assert proxy.connections == 1
    assert (proxy.commands["SET"], proxy.commands["GET"]) == (1, 2)


def test_a_refusing_proxy_is_nobody_until_it_listens_again(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.refuse()

    with pytest.raises(redis.ConnectionError):
        client.ping()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    proxy.pass_on()
    assert client.ping()


def test_connections_are_reset_old_ones_and_new_ones(proxy: FaultProxy, client: redis.Redis) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        wait_until(lambda: proxy.connections == 2, what="the connection is accepted")
        proxy.reset()

        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(redis.ConnectionError, match="reset by peer"):
        client.ping()
    assert proxy.connections == 3
    proxy.pass_on()
    assert client.ping()


def test_a_black_hole_takes_everything_and_gives_nothing(proxy: FaultProxy, behind: redis.Redis) -> None:
    with connected_to(proxy, timeout_seconds=1) as client:
        proxy.blackhole()

        for _ in range(2):  # on the connection there was, and on a new one
            with pytest.raises(redis.TimeoutError):
                client.set("key", "value")

    assert proxy.connections == 2
    assert not behind.exists("key")


def test_a_connection_that_lost_something_stays_lost(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.1) as connection:
        proxy.blackhole()
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)

        proxy.pass_on()
        connection.sendall(b"PING\r\n")

        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_latency_is_added_each_way(
    proxy: FaultProxy, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(proxy.is_over, "wait", waits.append)
    proxy.delay(0.05)

    client.ping()

    assert waits == [0.05, 0.05]


def test_the_command_whose_reply_is_dropped_was_executed_once(
    proxy: FaultProxy, client: redis.Redis, behind: redis.Redis
) -> None:
    proxy.drop_reply_of("INCRBY key")
    client.set("key", 1)

    with pytest.raises(redis.ConnectionError):
        client.incr("key")

    assert proxy.dropped_replies == 1
    assert behind.get("key") == b"2"
    assert client.incr("key") == 3


def test_a_client_that_retries_blindly_counts_twice(proxy: FaultProxy, behind: redis.Redis) -> None:
    with redis.Redis(port=proxy.port) as client:
        client.ping()
        proxy.drop_reply_of("INCR")

        client.incr("key")

    assert behind.get("key") == b"2"


def test_a_dropped_reply_takes_the_pipeline_before_it_along(
    proxy: FaultProxy, client: redis.Redis, behind: redis.Redis
) -> None:
    proxy.drop_reply_of("SET second")
    pipeline = client.pipeline(transaction=False)
    for number, key in enumerate(["first", "second", "third"], 1):
        pipeline.set(key, number)

    with pytest.raises(redis.ConnectionError):
        pipeline.execute()

    assert behind.mget("first", "second") == [b"1", b"2"]


def test_a_reply_is_dropped_only_when_its_command_has_been_executed(
    proxy: FaultProxy, behind: redis.Redis
) -> None:
    proxy.drop_reply_of("BLPOP")
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n" + b"*3\r\n$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\n0\r\n")
        wait_until(lambda: behind.info("clients")["blocked_clients"] == 1, what="the command waits for its value")
        behind.rpush("list", "value")

        with pytest.raises(ConnectionResetError):
            connection.recv(1)

    assert proxy.dropped_replies == 1
    assert not behind.exists("list")


def test_a_reply_is_cut_after_so_many_bytes(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection, connection.makefile("rb") as replies:
        connection.sendall(b"PING\r\n")
        assert replies.readline() == b"+PONG\r\n"
        proxy.cut_after(10)
        connection.sendall(b"PING\r\n")
        assert replies.readline() == b"+PONG\r\n"
        connection.sendall(b"PING\r\n")

        assert replies.read(3) == b"+PO"
        with pytest.raises(ConnectionResetError):
            replies.read(1)


def test_a_mode_that_is_chosen_twice_begins_anew(proxy: FaultProxy, client: redis.Redis) -> None:
    for _ in range(2):
        proxy.cut_after(8)  # one byte more than a reply has

        assert client.ping()


def test_what_is_no_redis_protocol_is_forwarded_too(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(b"\x16\x03\x01 is how TLS begins\r\n")

        assert connection.recv(100).startswith(b"-ERR unknown command")
        assert proxy.commands.total() == 0


def test_a_server_that_is_gone_is_a_reset(proxy: FaultProxy) -> None:
    proxy.target_port = 1

    with (
        redis.Redis.from_url(proxy.url, retry=no_retries()) as client,
        pytest.raises(redis.ConnectionError, match=r"reset by peer|closed by server"),
    ):
        client.ping()


def test_nothing_is_left_of_a_proxy(the_redis_server: RedisServer, behind: redis.Redis) -> None:
    behind.ping()
    threads, connections = threading.active_count(), behind.info("clients")["connected_clients"]

    with fault_proxy(the_redis_server.port) as proxy, redis.Redis(port=proxy.port) as client:
        client.ping()
        proxy.delay(60)

    wait_until(lambda: threading.active_count() <= threads, what="the threads end")
    wait_until(lambda: behind.info("clients")["connected_clients"] <= connections, what="the server hears of it")
