"""The gateway in outages that no real server has at the very moment that a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from fakeredis import FakeRedis
from redis.exceptions import (
    ClusterDownError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.outages.conftest import BOUND_SECONDS
from tests.servers import wait_until
from wxlogin.storage.client import Client
from wxlogin.storage.cluster import _serialized
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable

A_WAIT_SECONDS = 0.06
TOO_LONG_SECONDS = 0.31
CALLS_THAT_BLOW_A_FUSE = 3


class Planted:
    """Something to do that takes a while, fails as told, and counts how often it is done."""

    def __init__(self, failure: Exception | None = None, *, seconds: float = 0) -> None:
        self.failure = failure
        self.seconds = seconds
        self.times_done = 0

    def __call__(self, *_: object) -> Client:
        self.times_done += 1
        threading.Event().wait(self.seconds)
        if self.failure:
            raise self.failure
        return FakeRedis()


def fails(gateway: RedisGateway, work: Callable[[Client], object], *, repeatable: bool = False) -> bool:
    try:
        gateway.call(work, key="key", retry_safe=repeatable)
    except StoreUnavailable:
        return True
    return False


# repeating


def test_what_took_too_long_to_fail_is_not_repeated() -> None:
    work = Planted(RedisTimeoutError("planted"), seconds=TOO_LONG_SECONDS)

    assert fails(RedisGateway(FakeRedis), work, repeatable=True)

    assert work.times_done == 1


# a Cluster of which nobody is left


@pytest.mark.parametrize("failure", [RedisClusterException("planted"), SlotNotCoveredError("planted")], ids=repr)
def test_a_client_whose_cluster_is_gone_is_made_anew(failure: Exception) -> None:
    connect = Planted()
    gateway = RedisGateway(connect)
    assert not fails(gateway, Planted())

    assert fails(gateway, Planted(failure))

    assert not fails(gateway, Planted())
    assert connect.times_done == 2


def test_a_cluster_whose_node_is_read_only_is_unavailable() -> None:
    gateway = RedisGateway(lambda: cast("Client", object()))  # has no connections of its own to forget

    assert fails(gateway, Planted(ReadOnlyError("planted")))


# the circuit breaker


@pytest.mark.parametrize(
    "failure",
    [RedisTimeoutError("planted"), RedisConnectionError("planted"), ClusterDownError("planted")],
    ids=repr,
)
def test_who_is_waited_for_in_vain_is_not_asked_for_a_while(failure: Exception) -> None:
    gateway, work = RedisGateway(FakeRedis), Planted(failure, seconds=A_WAIT_SECONDS)
    for _ in range(CALLS_THAT_BLOW_A_FUSE):
        assert fails(gateway, work)

    assert fails(gateway, Planted())

    assert work.times_done == CALLS_THAT_BLOW_A_FUSE
    wait_until(lambda: not fails(gateway, Planted()), what="a probe is allowed")
    assert not fails(gateway, Planted())


def test_who_answers_with_an_error_is_there_again() -> None:
    gateway, silent = RedisGateway(FakeRedis), Planted(RedisTimeoutError("planted"), seconds=A_WAIT_SECONDS)
    for _ in range(CALLS_THAT_BLOW_A_FUSE):
        fails(gateway, silent)
    refusing = Planted(ResponseError("planted"))

    wait_until(lambda: fails(gateway, refusing) and refusing.times_done == 1, what="a probe is allowed")

    assert not fails(gateway, Planted())


def test_who_refuses_at_once_is_asked_each_time() -> None:
    gateway, refusing = RedisGateway(FakeRedis), Planted(RedisConnectionError("planted"))

    assert [fails(gateway, refusing) for _ in range(10)] == [True] * 10

    assert refusing.times_done == 10


# connecting


def test_a_cluster_that_is_silent_from_the_start_is_not_asked_for_a_while() -> None:
    connect = Planted(RedisClusterException("planted"), seconds=A_WAIT_SECONDS)
    gateway = RedisGateway(connect)

    assert [fails(gateway, Planted()) for _ in range(10)] == [True] * 10

    assert connect.times_done == CALLS_THAT_BLOW_A_FUSE


class Gate:
    """Something that takes until the test lets it go on."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.is_reached, self.is_open = threading.Event(), threading.Event()
        self.times_done = 0

    def __call__(self, **_: object) -> Any:
        self.times_done += 1
        self.is_reached.set()
        self.is_open.wait()
        return self.result


def test_one_thread_connects_and_another_waits_no_longer_than_it_may() -> None:
    connect = Gate(FakeRedis())
    gateway = RedisGateway(connect)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fails, gateway, Planted())
        connect.is_reached.wait()

        second_fails = fails(gateway, Planted())

        connect.is_open.set()
        assert (first.result(BOUND_SECONDS), second_fails) == (False, True)
    assert connect.times_done == 1


def test_threads_that_connect_at_the_same_time_get_one_client() -> None:
    connect = Gate(FakeRedis())
    gateway = RedisGateway(connect)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gateway.call, lambda client: client, key="key", retry_safe=False)
        connect.is_reached.wait()
        second = pool.submit(gateway.call, lambda client: client, key="key", retry_safe=False)
        connect.is_open.set()

        assert first.result(BOUND_SECONDS) is second.result(BOUND_SECONDS)
    assert connect.times_done == 1


# looking for the nodes of a Cluster


class Manager:
    """What of redis-py looks for the nodes; it asks those that it has as ``startup_nodes``."""

    def __init__(self, initialize: Callable[..., None]) -> None:
        self.startup_nodes = {str(number): number for number in range(6)}
        self.asked: dict[str, int] = {}
        self._initialize = initialize

    def initialize(self, **how: object) -> None:
        """Look for nodes."""
        self.asked = self.startup_nodes
        self._initialize(**how)


def test_at_most_three_nodes_are_asked_and_all_are_remembered_if_they_did_not_answer() -> None:
    manager = Manager(cast("Callable[..., None]", Planted(RedisClusterException("planted"))))
    known = manager.startup_nodes

    with pytest.raises(RedisClusterException):
        _serialized(cast("Any", manager))()

    assert len(manager.asked) == 3
    assert manager.startup_nodes == known
    assert manager.asked.items() <= known.items()


def test_one_thread_looks_and_another_waits_no_longer_than_it_may() -> None:
    manager = Manager(gate := Gate())
    look = _serialized(cast("Any", manager))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(look)
        gate.is_reached.wait()

        with pytest.raises(RedisTimeoutError):
            look()

        gate.is_open.set()
        first.result(BOUND_SECONDS)
    assert gate.times_done == 1


def test_what_one_thread_found_another_that_waited_need_not_look_for() -> None:
    wait_until(lambda: times_that_two_look() == 1, what="the second waits before the first has found it")


def times_that_two_look() -> int:
    manager = Manager(gate := Gate())
    look = _serialized(cast("Any", manager))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(look)
        gate.is_reached.wait()
        second = pool.submit(look)
        wait_until(second.running, what="it has begun")
        gate.is_open.set()
        first.result(BOUND_SECONDS)
        second.result(BOUND_SECONDS)
    return gate.times_done
