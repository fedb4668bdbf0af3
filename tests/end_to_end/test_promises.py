"""What the service promises about itself: round trips, outages, secrets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import RedisServer, Service, gunicorn, monitored, redis_server, round_trips, wait_until


@pytest.fixture(scope="module")
def one_worker(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose only worker can be counted on to be connected."""
    folder = tmp_path_factory.mktemp("one")
    with gunicorn(folder, environment(redis_url=store.url, wechat_api_url=the_sandbox.url), workers=1) as running:
        yield running


@pytest.fixture
def counted(one_worker: Service, sandbox: Sandbox) -> MiniProgram:
    mini_program = MiniProgram(over_http(one_worker.url), sandbox)
    mini_program.log_in()
    return mini_program


def test_a_login_costs_one_call_to_wechat_and_two_round_trips(
    counted: MiniProgram, store: RedisServer, sandbox: Sandbox
) -> None:
    calls_before = len(sandbox.calls())
    code = sandbox.issue_code()

    with round_trips(store.client()) as count:
        assert counted.log_in_with(code).status == 200

    assert count() == 2
    assert len(sandbox.calls()) - calls_before == 1


@pytest.mark.parametrize("path", ["/auth", "/session"])
def test_a_check_costs_one_round_trip(counted: MiniProgram, store: RedisServer, path: str) -> None:
    with monitored(store.client()) as commands:
        assert counted.get(path).status in {200, 204}

    assert [command.split()[0] for command in commands] == ["HGET"]


@pytest.mark.parametrize("carried", ["", "junk", "undefined", "sessionid=; Path=/", "A" * 58, "A" * 60, "*"])
@pytest.mark.parametrize("path", ["/auth", "/session", "/healthz", "/nothing"])
def test_without_a_plausible_id_the_store_is_not_asked(
    counted: MiniProgram, store: RedisServer, path: str, carried: str
) -> None:
    with monitored(store.client()) as commands:
        counted.send("GET", path, headers={"sessionid": carried, "Cookie": f"sessionid={carried}"})

    assert commands == []


def test_with_an_id_routes_that_need_no_session_do_not_ask_the_store(
    counted: MiniProgram, store: RedisServer
) -> None:
    with monitored(store.client()) as commands:
        counted.get("/healthz")
        counted.get("/nothing")
        counted.send("POST", "/login", json={"code": "no code"}, headers={"sessionid": counted.stored})

    assert commands == []


def test_no_key_or_field_opens_anything(counted: MiniProgram, store: RedisServer) -> None:
    session_id = counted.log_in().session_id
    redis = store.client()

    dump = repr([(key, redis.hgetall(key)) for key in redis.keys("wxlogin:user:*")])

    assert f"wxlogin:user:{session_id[:16]}" in dump
    assert session_id[16:] not in dump
    assert counted.openid not in dump


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[RedisServer]:
    """A store to break. The service on it is the test's own, too: its circuit breakers may be open for a while."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_user(own_store: RedisServer, sandbox: Sandbox, tmp_path: Path) -> Iterator[MiniProgram]:
    settings = environment(redis_url=own_store.url, wechat_api_url=sandbox.url)
    with gunicorn(tmp_path, settings) as running:
        yield MiniProgram(over_http(running.url), sandbox)


def test_an_outage_of_the_store_is_told_and_survived(
    own_user: MiniProgram, own_store: RedisServer, sandbox: Sandbox
) -> None:
    mini_program, send = own_user, own_user.send
    mini_program.log_in()
    code = sandbox.issue_code()
    own_store.stop()
    during = [
        send("GET", "/healthz").status,
        send("GET", "/readyz").status,
        mini_program.get("/auth").status,
        mini_program.whoami().status,
        send("POST", "/login", json={"code": code}).status,
    ]
    own_store.start()

    assert during == [200, 503, 503, 503, 503]
    wait_until(
        lambda: {mini_program.get("/auth").status for _ in range(20)} == {204}, what="each worker serves again"
    )
    assert send("POST", "/login", json={"code": code}).status == 200


def test_a_frozen_store_holds_nobody_up(own_user: MiniProgram, own_store: RedisServer) -> None:
    own_user.log_in()
    own_store.freeze()

    answers = [own_user.get("/auth") for _ in range(3)]

    own_store.thaw()
    assert {answer.error["code"] for answer in answers} == {"store_unavailable"}
    wait_until(lambda: own_user.get("/auth").status == 204, what="the store is thawed")


@pytest.mark.parametrize(
    "line",
    [
        "GET /getOpenid?secret=CANARY-1&js_code=CANARY-2",
        "GET http://[x/getOpenid?secret=CANARY-3 HTTP/1.1",
        "GET / HTTP/1.1\r\nsessionid CANARY-4",
        "GET / HTTP/1.1\r\nsessionid=CANARY-5: x",
    ],
)
def test_a_request_that_cannot_be_read_is_not_quoted_in_the_log(service: Service, line: str) -> None:
    before = service.log.count("Invalid request")
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=20) as connection:
        connection.sendall(f"{line}\r\n\r\n".encode())
        connection.recv(100)

    wait_until(lambda: service.log.count("Invalid request") > before, what="the refusal is logged")
    assert "CANARY" not in service.log
