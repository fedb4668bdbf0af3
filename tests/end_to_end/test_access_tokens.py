"""One access_token for processes that know nothing of each other, on hosts that disagree about the time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest
import time_machine
from redis import Redis

from tests.conftest import APPID, SECRET_KEY
from tests.drivers import MiniProgram, Sandbox
from tests.servers import TIMEOUT_SECONDS, RedisServer, Service, connected, gateway_of, wait_until
from wxlogin.storage.encryption import RecordCipher
from wxlogin.wechat.access_tokens import AccessTokens
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi

STABLE = "/cgi-bin/stable_token"
SPAWN = multiprocessing.get_context("spawn")
A_CLOCK_AHEAD_SECONDS = 300


def token_of(redis: Redis, wechat_url: str, *, total_seconds: float = 10) -> str:
    """Return the token that a service uses that was started just now."""
    timeouts = Timeouts(connect=10, read=10, total=10)
    with closing(WeChatApi(wechat_url, timeouts=timeouts, max_connections=1)) as api:
        tokens = AccessTokens(
            gateway_of(redis), RecordCipher([SECRET_KEY]), api="stable_token", total_seconds=total_seconds
        )
        return tokens.call(WeChatClient(APPID, "sandbox-secret", api=api), lambda _client, token: token)


def use_a_token(
    redis_url: str, wechat_url: str, found: Any, *, all_are_ready: Any = None, ahead_seconds: float = 0
) -> None:
    """Do what a worker does that needs a token, on a host whose clock is ahead."""
    host_time = time_machine.travel(time.time() + ahead_seconds)
    with connected(redis_url, timeout_seconds=5) as redis, host_time:
        redis.ping()
        all_are_ready.wait(TIMEOUT_SECONDS)
        found.put(token_of(redis, wechat_url))


def fetch_a_token(redis_url: str, wechat_url: str) -> None:
    """Do what a worker does that gives itself three seconds, which bounds its lease."""
    with connected(redis_url, timeout_seconds=5) as redis:
        token_of(redis, wechat_url, total_seconds=3)


@contextmanager
def running(work: Any, *arguments: Any, **more: Any) -> Iterator[SpawnProcess]:
    """Do ``work`` in another process, for as long as the context lasts at the most."""
    process = SPAWN.Process(target=work, args=arguments, kwargs=more)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


@pytest.fixture
def empty_store(real_redis: Redis, the_redis_server: RedisServer) -> RedisServer:
    """An empty redis-server."""
    return the_redis_server


@pytest.mark.parametrize("ahead_seconds", [0, A_CLOCK_AHEAD_SECONDS])
def test_eight_processes_that_need_a_token_at_once_make_one_call(
    empty_store: RedisServer, sandbox: Sandbox, ahead_seconds: float
) -> None:
    """Half of them are on hosts with another time, to which a token of so short a life were over at once."""
    sandbox.arm(path=STABLE, delay_seconds=0.5, body='{"access_token":"61_short","expires_in":280}')
    found, all_are_ready = SPAWN.Queue(), SPAWN.Barrier(8)

    with ExitStack() as processes:
        for number in range(8):
            more = {"all_are_ready": all_are_ready, "ahead_seconds": ahead_seconds * (number % 2)}
            processes.enter_context(running(use_a_token, empty_store.url, sandbox.url, found, **more))
        used = {found.get(timeout=TIMEOUT_SECONDS) for _ in range(8)}

    assert used == {"61_short"}
    assert len(sandbox.answers(STABLE)) == 1


def test_when_the_process_that_refreshes_is_killed_another_takes_over(
    empty_store: RedisServer, sandbox: Sandbox, real_redis: Redis
) -> None:
    sandbox.arm(path=STABLE, delay_seconds=5)
    with running(fetch_a_token, empty_store.url, sandbox.url) as process:
        wait_until(lambda: len(sandbox.answers(STABLE)) == 1, what="the process asks WeChat")
        process.kill()

    token = token_of(real_redis, sandbox.url)

    assert token
    assert sandbox.answers(STABLE)[1:] == [0]


def test_two_workers_that_answer_eight_users_make_one_call(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    mini_program.log_in()
    codes = [sandbox.phone_code(openid=mini_program.openid) for _ in range(8)]
    sandbox.arm(path=STABLE, delay_seconds=0.2)

    with ThreadPoolExecutor(8) as users:
        answers = list(users.map(lambda code: mini_program.post("/phone-number", json={"code": code}), codes))

    assert [answer.status for answer in answers] == [200] * 8
    assert sandbox.answers(STABLE) == [0]


def test_no_phone_number_or_code_is_in_the_log(
    mini_program: MiniProgram, sandbox: Sandbox, service: Service
) -> None:
    mini_program.log_in()
    code = sandbox.phone_code(openid=mini_program.openid, phoneNumber="8613512345678")

    answer = mini_program.post("/phone-number", json={"code": code})
    again = mini_program.post("/phone-number", json={"code": code})

    assert (answer.json["phoneNumber"], again.status) == ("8613512345678", 400)
    assert '"/phone-number"' in service.log
    assert not any(secret in service.log for secret in (code, "8613512345678", mini_program.openid, "61_"))
