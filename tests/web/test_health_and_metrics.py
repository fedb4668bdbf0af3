"""Is it alive, can it serve: told truly while the store comes and goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.servers import RedisServer, redis_server
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_service_with_a_store_is_alive_and_ready(send: Send, path: str) -> None:
    answer = send("GET", path)

    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def on_redis(settings: Settings, store: RedisServer, sandbox: Sandbox, clock: Clock) -> MiniProgram:
    app = create_app(Services.build(dataclasses.replace(settings, redis_url=store.url), clock=clock))
    return MiniProgram(in_process(app), sandbox)


def test_without_its_store_the_service_is_alive_but_not_ready(on_redis: MiniProgram, store: RedisServer) -> None:
    store.stop()

    assert on_redis.get("/healthz").status == 200
    assert on_redis.get("/readyz").error["code"] == "store_unavailable"


@pytest.mark.parametrize("trouble", [RedisServer.stop, RedisServer.freeze])
@pytest.mark.parametrize(("method", "path"), [("GET", "/auth"), ("GET", "/session"), ("DELETE", "/session")])
def test_without_the_store_nobody_is_logged_out(
    on_redis: MiniProgram, store: RedisServer, trouble: Callable[[RedisServer], None], method: str, path: str
) -> None:
    on_redis.log_in()
    trouble(store)

    answer = on_redis.send(method, path, headers={"sessionid": on_redis.stored})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "store_unavailable", True)
    assert answer.headers["Retry-After"] == "1"
    assert answer.set_cookie == ""


def test_when_the_store_is_back_everything_works_and_the_sessions_are_still_valid(
    on_redis: MiniProgram, store: RedisServer
) -> None:
    on_redis.log_in()
    store.stop()
    assert on_redis.whoami().status == 503
    store.start()

    assert on_redis.get("/readyz").status == 200
    assert on_redis.whoami().status == 200
    assert on_redis.log_in().status == 200


def test_a_login_without_the_store_does_not_spend_the_code(
    on_redis: MiniProgram, store: RedisServer, sandbox: Sandbox
) -> None:
    code = sandbox.issue_code()
    store.stop()

    answer = on_redis.log_in_with(code)

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "store_unavailable", True)
    assert sandbox.calls() == []
    store.start()
    assert on_redis.log_in_with(code).status == 200


@pytest.mark.parametrize(
    "setting",
    [("maxmemory", "1"), ("min-replicas-to-write", "1")],
)
def test_a_store_that_takes_no_writes_lets_sessions_be_used_but_not_made(
    on_redis: MiniProgram, store: RedisServer, sandbox: Sandbox, clock: Clock, setting: tuple[str, str]
) -> None:
    on_redis.log_in()
    store.client().config_set(*setting)
    clock.advance(120)

    assert on_redis.whoami().status == 200
    assert on_redis.get("/readyz").status == 200
    assert on_redis.log_in().error["code"] == "store_unavailable"
    assert len(sandbox.calls()) == 1


def test_a_code_that_was_spent_before_the_store_failed_is_told_so(
    on_redis: MiniProgram, store: RedisServer, sandbox: Sandbox
) -> None:
    client = store.client()
    codes_only = ["wxlogin:code:*"]
    client.acl_setuser("default", enabled=True, nopass=True, reset_keys=True, keys=codes_only, commands=["+@all"])

    answer = on_redis.log_in()

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "store_unavailable", False)
    assert "new code" in answer.error["message"]
    assert len(sandbox.calls()) == 1
