"""One redis-server that dies, freezes, loads, is full, is closed to us: told at once, and over when it is over."""

from __future__ import annotations

import contextlib
import logging
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.fault_proxy import FaultProxy
from tests.outages.conftest import IMPATIENT, SERVED, NewService, Witness, at_once, logged_in, traffic
from tests.redis_topologies import LoadingRedisServer, running, turn_read_only, turn_writable
from tests.servers import TIMEOUT_SECONDS, RedisServer, connected, gunicorn, wait_until
from tests.stopwatch import stopwatch

PASSWORD, ANOTHER = "planted-password", "planted-other-password"

Fault = Callable[[RedisServer], AbstractContextManager[None]]


@contextlib.contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextlib.contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextlib.contextmanager
def full_of_others(server: RedisServer) -> Iterator[None]:
    """Have no connection to spare."""
    with server.client() as operator:
        operator.config_set("maxclients", 1)
        operator.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        yield
        operator.config_set("maxclients", 100)


@contextlib.contextmanager
def closed_by_a_password(server: RedisServer) -> Iterator[None]:
    with server.client() as operator:
        operator.config_set("requirepass", PASSWORD)
        operator.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        yield
        operator.config_set("requirepass", "")


@contextlib.contextmanager
def deprived_of_rights(server: RedisServer) -> Iterator[None]:
    with server.client() as operator:
        operator.execute_command("ACL SETUSER default -hget -hgetall -exists -set -eval")
        yield
        operator.execute_command("ACL SETUSER default +@all")


@pytest.mark.parametrize("fault", [killed, frozen, full_of_others, closed_by_a_password, deprived_of_rights])
def test_an_outage_is_told_and_ends_without_a_restart(server: RedisServer, witness: Witness, fault: Fault) -> None:
    with fault(server):
        witness.sees_an_outage()

    witness.sees_it_end()


def test_a_pause_is_told_and_ends_by_itself(server: RedisServer, witness: Witness) -> None:
    with server.client() as operator:
        operator.client_pause(700)

    assert witness.user.whoami().status == 503
    witness.sees_it_end()


def test_a_pause_that_is_shorter_than_the_timeout_is_waited_for(server: RedisServer, witness: Witness) -> None:
    with server.client() as operator:
        operator.client_pause(100)

    assert witness.user.whoami().status == 200


def test_a_script_of_somebody_else_that_takes_long_is_an_outage(server: RedisServer, witness: Witness) -> None:
    with connected(server.url, timeout_seconds=TIMEOUT_SECONDS) as somebody, ThreadPoolExecutor(1) as pool:
        somebody.config_set("busy-reply-threshold", 1)  # milliseconds, before which it says nothing at all
        script = pool.submit(somebody.eval, "while true do end", 0)
        wait_until(lambda: witness.user.get("/auth").status == 503, what="the script runs")

        witness.sees_an_outage()

        with server.client() as operator:
            operator.script_kill()
        assert "killed" in str(script.exception())
    witness.sees_it_end()


def test_after_a_restart_the_next_request_on_every_stale_connection_is_served(
    server: RedisServer, new_service: NewService, sandbox: Sandbox
) -> None:
    users = logged_in(new_service(server.url), sandbox, count=8)
    wait_until(lambda: connections_used_by(users, server) >= 4, what="several connections are in the pool")
    server.stop()
    server.start()

    answers = at_once(users, "/auth")

    assert answers == {204: 8}


def connections_used_by(users: list[MiniProgram], server: RedisServer) -> int:
    """Let users ask while Redis makes them wait, so that each needs a connection; return how many there are."""
    with server.client() as operator:
        operator.client_pause(50)
        at_once(users, "/auth")
        return len(operator.client_list()) - 1


def test_while_it_is_silent_most_requests_are_turned_away_at_once(
    server: RedisServer, proxy: FaultProxy, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = environment(redis_url=proxy.url, wechat_api_url=sandbox.url) | IMPATIENT
    with gunicorn(tmp_path, settings, workers=1, options=("--threads", "8")) as service:
        users = logged_in(over_http(service.url), sandbox, count=16)
        connections_before = proxy.connections
        server.freeze()
        with traffic(*users) as asking:
            wait_until(lambda: len(asking.statuses) > 200, what="many were turned away")
            seconds = [seconds_of(lambda: users[0].send("GET", "/healthz")) for _ in range(10)]

        assert {*asking.statuses} == {503}
        assert proxy.connections - connections_before < 100  # two for each who is not turned away
        assert statistics.median(seconds) < 0.3  # behind 16 who wait for 8 threads, it would take 0.4 or more
        server.thaw()
        wait_until(lambda: users[0].get("/auth").status == 204, what="the circuit breaker is closed")
        assert at_once(users, "/auth") == {204: len(users)}


def seconds_of(work: Callable[[], object]) -> float:
    with stopwatch() as seconds:
        work()
    return seconds()


def test_a_server_that_is_loading_is_an_outage_until_it_has_loaded(
    new_service: NewService, sandbox: Sandbox, tmp_path: Path
) -> None:
    server = LoadingRedisServer(tmp_path, seconds=20)
    with running(server):
        server.fill()
        witness = Witness.of(new_service(server.url), sandbox)
        server.load_again()

        witness.sees_an_outage()

        assert server.is_loading
        with server.client() as operator:
            operator.config_set("key-load-delay", 0)
        witness.sees_it_end()


def test_a_read_only_replica_serves_those_who_are_logged_in(server: RedisServer, witness: Witness) -> None:
    turn_read_only(server)

    assert witness.is_answered() == SERVED
    witness.can_not_log_in()
    assert witness.user.log_out().status == 503
    turn_writable(server)
    witness.sees_it_end()


def test_a_full_memory_keeps_nobody_from_logging_out(server: RedisServer, witness: Witness) -> None:
    with server.client() as operator:
        operator.config_set("maxmemory", 1)

    witness.can_not_log_in()
    assert witness.is_answered() == SERVED
    assert witness.user.log_out().status == 204

    assert witness.user.whoami().status == 401


@pytest.mark.parametrize(("command", "path"), [("hget", "/auth"), ("hgetall", "/sessions"), ("exists", "/readyz")])
def test_a_command_that_may_not_be_used_any_more_is_an_outage_for_what_needs_it(
    server: RedisServer, witness: Witness, command: str, path: str
) -> None:
    with server.client() as operator:
        operator.execute_command(f"ACL SETUSER default -{command}")
        assert witness.user.get(path).status == 503
        operator.execute_command(f"ACL SETUSER default +{command}")

    witness.sees_it_end()


def test_a_password_that_was_changed_is_an_outage_and_neither_is_logged(
    server: RedisServer, new_service: NewService, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with server.client() as operator:
        operator.execute_command(f"ACL SETUSER wxlogin on >{PASSWORD} ~wxlogin:* +@all")
        witness = Witness.of(new_service(server.url.replace("//", f"//wxlogin:{PASSWORD}@")), sandbox)
        operator.execute_command(f"ACL SETUSER wxlogin resetpass >{ANOTHER}")
        operator.execute_command("CLIENT KILL TYPE normal SKIPME yes")

        witness.sees_an_outage()

        operator.execute_command(f"ACL SETUSER wxlogin resetpass >{PASSWORD}")
    witness.sees_it_end()
    assert "AuthenticationError" in caplog.text
    assert PASSWORD not in caplog.text
    assert ANOTHER not in caplog.text
