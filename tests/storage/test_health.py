"""Whether Redis serves us, asked in the way it is going to be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis, RedisError

from tests.servers import (
    RedisServer,
    connected,
    free_port,
    gateway_of,
    keys_in,
    monitored,
    redis_server,
    wait_until,
)
from tests.stopwatch import stopwatch
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.storage.health import StoreHealth

GENEROUS_SECONDS = 1.0

Check = Callable[[StoreHealth], None]
any_check = pytest.mark.parametrize("check", [StoreHealth.check_readable, StoreHealth.check_writable])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server to ill-treat, which saves snapshots too."""
    with redis_server(tmp_path, options=("--save", "3600 1")) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with connected(server.url, timeout_seconds=0.2) as client:
        yield client


@pytest.fixture
def health(client: Redis) -> StoreHealth:
    return StoreHealth(gateway_of(client))


def passes(check: Check, health: StoreHealth) -> bool:
    """Say whether a check passes; it has to decide in time."""
    with stopwatch() as seconds:
        try:
            check(health)
        except StoreUnavailable:
            is_passed = False
        else:
            is_passed = True
    assert seconds() < GENEROUS_SECONDS
    return is_passed


@any_check
def test_a_redis_that_serves_passes(any_redis: Redis, check: Check) -> None:
    assert passes(check, StoreHealth(gateway_of(any_redis)))


def test_reading_leaves_nothing_behind(any_redis: Redis) -> None:
    StoreHealth(gateway_of(any_redis)).check_readable()

    assert keys_in(any_redis) == []


def test_writing_leaves_a_key_behind_for_a_minute(any_redis: Redis) -> None:
    StoreHealth(gateway_of(any_redis)).check_writable()

    assert keys_in(any_redis) == [b"wxlogin:health"]
    assert 0 < any_redis.ttl("wxlogin:health") <= 60


@pytest.mark.parametrize(
    ("check", "command"),
    [
        (StoreHealth.check_readable, "EXISTS wxlogin:health"),
        (StoreHealth.check_writable, "SET wxlogin:health 1 EX 60"),
    ],
)
def test_a_check_is_one_command(server: RedisServer, health: StoreHealth, check: Check, command: str) -> None:
    with server.client() as watcher, monitored(watcher) as commands:
        check(health)

    assert commands == [command]


@any_check
def test_a_stopped_redis_fails_and_a_restarted_one_passes(
    server: RedisServer, health: StoreHealth, check: Check
) -> None:
    check(health)

    server.stop()
    assert not passes(check, health)

    server.start()
    assert passes(check, health)


@any_check
def test_a_frozen_redis_fails_in_time_and_a_thawed_one_passes(
    server: RedisServer, health: StoreHealth, check: Check
) -> None:
    check(health)

    server.freeze()
    assert not passes(check, health)

    server.thaw()
    assert passes(check, health)


def test_a_read_only_replica_is_readable_and_not_writable(client: Redis, health: StoreHealth) -> None:
    client.replicaof("127.0.0.1", str(free_port()))

    assert passes(StoreHealth.check_readable, health)
    assert not passes(StoreHealth.check_writable, health)


def test_a_full_redis_is_readable_and_not_writable(client: Redis, health: StoreHealth) -> None:
    client.set("filler", "x" * 2**20)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")

    assert passes(StoreHealth.check_readable, health)
    assert not passes(StoreHealth.check_writable, health)


def test_a_redis_that_can_not_save_is_readable_and_not_writable_whatever_ping_says(
    server: RedisServer, client: Redis, health: StoreHealth
) -> None:
    (server.folder / "dump.rdb").mkdir()  # in the way of the snapshot
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="the snapshot fails")

    with pytest.raises(RedisError, match="MISCONF"):
        client.ping()

    assert passes(StoreHealth.check_readable, health)
    assert not passes(StoreHealth.check_writable, health)


def test_a_key_of_another_type_is_in_nobodys_way(any_redis: Redis) -> None:
    any_redis.lpush("wxlogin:health", "planted")

    assert passes(StoreHealth.check_readable, StoreHealth(gateway_of(any_redis)))
    assert passes(StoreHealth.check_writable, StoreHealth(gateway_of(any_redis)))


@any_check
def test_a_failed_check_is_logged_once(
    server: RedisServer, health: StoreHealth, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wxlogin")
    server.stop()

    passes(check, health)

    assert caplog.messages == ["the store does not serve us: ConnectionError"]
