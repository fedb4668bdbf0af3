"""Limits as they run in production: one count for all workers, and what counting costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import LIMITS, environment
from tests.drivers import MiniProgram, Sandbox, Send, over_http
from tests.servers import ROOMY, RedisServer, Service, gunicorn, monitored, round_trips

UNDECIPHERABLE = {"encryptedData": "A" * 43 + "=", "iv": "A" * 22 + "=="}


@pytest.fixture(scope="module")
def one_worker(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with the limits that it has by default, whose only worker can be counted on to be connected."""
    chosen = environment(redis_url=store.url, wechat_api_url=the_sandbox.url)
    defaults = {name: value for name, value in chosen.items() if name not in LIMITS}
    with gunicorn(tmp_path_factory.mktemp("one"), defaults, workers=1) as running:
        yield running


@pytest.fixture
def counted(one_worker: Service, store: RedisServer, sandbox: Sandbox) -> MiniProgram:
    with store.client() as operator:
        operator.flushall()
    mini_program = MiniProgram(over_http(one_worker.url), sandbox)
    mini_program.log_in()
    return mini_program


def counts_in(commands: list[str]) -> list[str]:
    """Return what is asked about counts, each by its command."""
    return [command.split()[0] for command in commands if "wxlogin:limit:" in command]


def try_to_log_in(send: Send) -> int:
    return send("POST", "/login", json={"code": "no code"}).status


def test_all_workers_count_together(store: RedisServer, sandbox: Sandbox, tmp_path: Path) -> None:
    chosen = environment(redis_url=store.url, wechat_api_url=sandbox.url) | ROOMY
    with (
        gunicorn(tmp_path, {**chosen, "WXLOGIN_LOGIN_LIMIT_PER_ADDRESS": "10/minute"}, workers=2) as service,
        ThreadPoolExecutor(8) as pool,
    ):
        send = over_http(service.url)

        told = Counter(pool.map(lambda _: try_to_log_in(send), range(60)))

    assert told == {400: 10, 429: 50}


def test_a_login_costs_four_round_trips_two_of_them_for_the_limits(
    counted: MiniProgram, store: RedisServer, sandbox: Sandbox
) -> None:
    calls_before = len(sandbox.calls())
    code = sandbox.issue_code(openid=counted.openid)

    with round_trips(store.client()) as count:
        assert counted.log_in_with(code).status == 200

    assert count() == 4
    assert len(sandbox.calls()) - calls_before == 1


@pytest.mark.parametrize("whose", ["the same user's", "another user's"])
def test_a_login_that_ends_an_old_session_costs_no_more(
    counted: MiniProgram, store: RedisServer, sandbox: Sandbox, whose: str
) -> None:
    openid = counted.openid if whose == "the same user's" else "oAnother"
    code, headers = sandbox.issue_code(openid=openid), {"sessionid": counted.stored}

    with round_trips(store.client()) as count:
        assert counted.send("POST", "/login", json={"code": code}, headers=headers).status == 200

    assert count() == 4


def test_a_check_costs_none_more(counted: MiniProgram, store: RedisServer) -> None:
    with monitored(store.client()) as commands:
        assert counted.get("/auth").status == 204

    assert [command.split()[0] for command in commands] == ["HGET"]


def test_a_decryption_costs_three_more_and_a_fourth_when_it_fails(
    counted: MiniProgram, store: RedisServer
) -> None:
    with monitored(store.client()) as commands:
        answer = counted.send(
            "POST", "/user-data/decrypt", headers={"sessionid": counted.stored}, json=UNDECIPHERABLE
        )

    assert answer.status == 409
    assert counts_in(commands) == ["EVAL", "EVAL", "GET", "EVAL"]
    assert sum(command.startswith("HGET ") for command in commands) == 1  # the session is read once


def test_a_refusal_costs_two_and_nothing_else(counted: MiniProgram, store: RedisServer) -> None:
    while try_to_log_in(counted.send) != 429:
        pass

    with monitored(store.client()) as commands:
        counted.log_in()

    assert [command.split()[0] for command in commands] == ["EVAL", "PTTL"]


def test_a_made_up_forwarding_header_is_no_way_around_a_limit(counted: MiniProgram) -> None:
    def try_as(number: int) -> int:
        headers = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        return counted.send("POST", "/login", json={"code": "no code"}, headers=headers).status

    assert Counter(try_as(number) for number in range(200))[429] >= 80
