"""The servers that other tests rely on are what they claim to be."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.redis_topologies import (
    SLOTS,
    Cluster,
    DataNode,
    SentinelGroup,
    TlsRedisServer,
    cluster,
    loading_redis,
    no_retries,
    read_only_replica,
    running,
    sentinel,
    tls_redis,
    turn_writable,
    wait_until_seen,
    write_certificates,
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedisServer]:
    with tls_redis(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel(tmp_path, down_after_ms=300) as group:
        yield group


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), node_timeout_ms=500) as formed:
        yield formed


def as_wxlogin(server: TlsRedisServer) -> redis.Redis:
    return server.client_of(server.username, server.password)


def over_tls(server: TlsRedisServer, **changes: Any) -> redis.Redis:
    """Return a client as a service would make it, but for the changes."""
    options: dict[str, Any] = {
        "ssl_ca_certs": str(server.ca_file),
        "ssl_certfile": str(server.cert_file),
        "ssl_keyfile": str(server.key_file),
        "retry": no_retries(),
    }
    return redis.Redis.from_url(server.url, **options | changes)


def in_cluster(formed: Cluster) -> redis.RedisCluster:
    return redis.RedisCluster(host="127.0.0.1", port=formed.nodes[0].port)


# TLS and ACLs


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_server_proves_who_it_is(tls: TlsRedisServer, host: str) -> None:
    context = ssl.create_default_context(cafile=str(tls.ca_file))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_cert_chain(tls.cert_file, tls.key_file)

    with (
        socket.create_connection(("127.0.0.1", tls.port)) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        assert connection.version() == "TLSv1.3"


def test_the_user_may_do_what_a_session_store_does(tls: TlsRedisServer) -> None:
    with over_tls(tls) as client:
        client.hset("wxlogin:user", "field", "value")
        client.expireat("wxlogin:user", 4_000_000_000)
        digest = client.script_load("return redis.call('HLEN', KEYS[1])")

        assert client.evalsha(digest, 1, "wxlogin:user") == 1
        assert client.unlink("wxlogin:user") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "of-others"),
        ("KEYS", "wxlogin:*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("EVAL", "return redis.call('FLUSHALL')", "0"),
        ("PUBLISH", "channel", "message"),
    ],
    ids=" ".join,
)
def test_the_user_may_do_nothing_else(tls: TlsRedisServer, command: tuple[str, ...]) -> None:
    with (
        as_wxlogin(tls) as client,
        pytest.raises(redis.ResponseError, match=r"no permissions|script can't run this command"),
    ):
        client.execute_command(*command)


def test_nobody_gets_in_without_a_password(tls: TlsRedisServer) -> None:
    with tls.client_of(None, None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_nobody_gets_in_without_a_certificate(tls: TlsRedisServer) -> None:
    with over_tls(tls, ssl_certfile=None, ssl_keyfile=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_nobody_gets_in_with_a_certificate_of_somebody_else(tls: TlsRedisServer, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    stranger = {"ssl_certfile": str(tmp_path / "client.crt"), "ssl_keyfile": str(tmp_path / "client.key")}

    with over_tls(tls, **stranger) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_nobody_gets_in_without_tls(tls: TlsRedisServer) -> None:
    with redis.Redis(port=tls.port, retry=no_retries()) as client, pytest.raises(redis.ConnectionError):
        client.ping()


# Sentinel


def test_three_sentinels_watch_a_master_with_two_replicas(group: SentinelGroup) -> None:
    with group.master().client() as master:
        master.set("key", "value")
        acknowledged = master.wait(2, 5000)

    hosts = ",".join(f"{host}:{port}" for host, port in group.sentinels)
    assert acknowledged == 2
    assert group.url == f"redis+sentinel://{hosts}/mymaster/0"
    assert [len(node.peers(group.name)) for node in group.sentinel_nodes] == [4, 4, 4]
    assert {node.view(group.name) for node in group.sentinel_nodes} == {group.master().port}


def test_a_killed_master_is_replaced_by_one_with_its_data(group: SentinelGroup) -> None:
    with group.master().client() as client:
        client.set("key", "value")
        client.wait(2, 5000)

    old = group.kill_master()
    new = group.wait_for_new_master(old)

    with new.client() as client:
        assert client.get("key") == b"value"
        assert client.set("key", "changed")


def test_a_frozen_master_is_replaced_and_goes_on_believing_that_it_is_one(group: SentinelGroup) -> None:
    old = group.freeze_master()
    new = group.wait_for_new_master(old)
    group.thaw()

    assert new is not old
    assert old.is_up
    assert old.is_master


def test_a_planned_failover_lets_writes_wait(group: SentinelGroup) -> None:
    with redis.Redis(port=group.master().port, socket_timeout=0.1, retry=no_retries()) as client:
        old = group.planned_failover()

        with pytest.raises(redis.TimeoutError):
            client.set("key", "lost")
        assert group.wait_for_new_master(old) is not old


# Cluster


def test_six_nodes_share_all_slots(formed: Cluster) -> None:
    owners = formed.nodes[0].owners()

    assert formed.url == "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in formed.nodes)
    assert len(owners) == SLOTS
    assert set(owners) == {node.port for node in formed.nodes if node.is_master}
    assert len({formed.replica_of(node) for node in formed.nodes if node.is_master}) == 3


def test_a_slot_moves_with_its_keys(formed: Cluster) -> None:
    with in_cluster(formed) as client:
        client.set("{moving}:1", "value")
        was = formed.master_of("{moving}:1")

        now = formed.move_slot_of("{moving}:1")

        assert formed.master_of("{moving}:2") is now is not was
        assert client.get("{moving}:1") == b"value"


def test_a_slot_on_the_move_is_asked_for_elsewhere(formed: Cluster) -> None:
    with in_cluster(formed) as client:
        client.set("key", "value")
        was = formed.master_of("key")

        with formed.moving_slot_of("key"), pytest.raises(redis.exceptions.AskError):
            was.call("GET", "key")

        assert client.get("key") == b"value"


def test_the_replica_of_a_killed_node_takes_over_and_the_node_comes_back(formed: Cluster) -> None:
    old = formed.master_of("key")
    replica = formed.replica_of(old)

    formed.kill(old)
    formed.wait_until_ok()

    assert formed.master_of("key") is replica
    old.start()
    formed.wait_until_ok()
    assert formed.replica_of(replica) is old


def test_the_replica_of_a_frozen_node_takes_over(formed: Cluster) -> None:
    old = formed.master_of("key")
    replica = formed.replica_of(old)

    formed.freeze(old)
    formed.wait_until_ok()

    assert formed.master_of("key") is replica
    old.thaw()
    formed.wait_until_ok()


# Unwell


def test_a_loading_server_says_so_until_it_has_loaded(tmp_path: Path) -> None:
    with loading_redis(tmp_path, seconds=0.3) as server, server.client() as client:
        with pytest.raises(redis.BusyLoadingError):
            client.get("filling:0")

        server.wait_until_loaded()

        assert client.dbsize() == 3000


def test_what_was_stored_meanwhile_is_there_after_the_next_loading(tmp_path: Path) -> None:
    with loading_redis(tmp_path, seconds=0.3) as server, server.client() as client:
        server.wait_until_loaded()
        client.set("key", "value")

        server.load_again()
        server.wait_until_loaded()
        assert client.get("key") == b"value"


def test_a_read_only_replica_answers_reads_alone(tmp_path: Path) -> None:
    with read_only_replica(tmp_path) as server, server.client() as client:
        assert client.get("key") is None
        with pytest.raises(redis.ReadOnlyError):
            client.set("key", "value")

        turn_writable(server)

        assert client.set("key", "value")


# Processes


def test_no_process_stays_not_even_a_frozen_one(tmp_path: Path) -> None:
    awake, frozen = DataNode(tmp_path / "awake"), DataNode(tmp_path / "frozen")
    with running(awake, frozen):
        processes = [node._process for node in (awake, frozen)]
        frozen.freeze()

    for process in processes:
        assert process
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def test_an_error_of_a_server_that_is_waited_for_is_no_failure() -> None:
    answers = iter([redis.ConnectionError(), False, True])

    def condition() -> bool:
        answer = next(answers)
        if isinstance(answer, redis.RedisError):
            raise answer
        return bool(answer)

    wait_until_seen(condition, what="an answer")

    assert next(answers, None) is None
