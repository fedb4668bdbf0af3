"""The middleware of /auth: what it does besides deciding, which tests/web/test_auth_request.py has."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from types import FrameType
from typing import Any

import pytest
from flask import Flask, request

from tests.drivers import MiniProgram, Send, in_process
from tests.servers import PROJECT, RedisServer, round_trips
from wxlogin.config.settings import Settings
from wxlogin.server import http1
from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.web.app import create_app
from wxlogin.web.auth_request.middleware import GRANTED_STATUS, AuthRequestMiddleware


def count(send: Send, line: str) -> float:
    """Return the value of a metric."""
    found = [each for each in send("GET", "/metrics").text.splitlines() if each.startswith(f"wxlogin_{line} ")]
    return float(found[0].split(" ")[1]) if found else 0.0


@pytest.fixture
def routed(app: Flask) -> list[str]:
    """The requests that reached Flask."""
    reached: list[str] = []
    app.before_request(lambda: reached.append(request.path))
    return reached


def test_a_granted_check_does_not_reach_flask_and_is_counted(
    mini_program: MiniProgram, send: Send, routed: list[str]
) -> None:
    mini_program.log_in()
    routed.clear()

    mini_program.get("/auth")

    assert routed == []
    assert count(send, 'auth_decisions_total{decision="granted"}') == 1
    assert count(send, 'http_requests_total{method="GET",route="/auth",status="204"}') == 1
    assert count(send, 'http_request_duration_seconds_count{route="/auth"}') == 1


def test_a_granted_check_is_not_logged_and_a_refused_one_is(
    mini_program: MiniProgram, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    mini_program.log_in()
    caplog.set_level(logging.DEBUG)
    caplog.clear()

    mini_program.get("/auth")
    send("GET", "/auth", headers={"X-Request-Id": "asked-by-nginx"})

    (line,) = [vars(each) for each in caplog.records if each.getMessage() == "answered"]
    assert line == {**line, "route": "/auth", "status": 401, "outcome": "not_logged_in"}


def test_a_refused_check_is_counted_once(mini_program: MiniProgram, send: Send, routed: list[str]) -> None:
    mini_program.log_in()
    routed.clear()

    mini_program.get("/auth?appid=wx0000000000000000")

    assert routed == []
    assert count(send, 'auth_decisions_total{decision="wrong_app"}') == 1
    assert count(send, 'http_requests_total{method="GET",route="/auth",status="403"}') == 1
    assert count(send, 'auth_decisions_total{decision="granted"}') == 0


def test_a_refused_check_asks_redis_once(
    settings: Settings, the_redis_server: RedisServer, real_redis: Any
) -> None:
    services = Services.build(dataclasses.replace(settings, redis_url=the_redis_server.url))
    send = in_process(create_app(services))
    send("GET", "/readyz")  # which connects
    nobodys = "x" * 59

    with round_trips(real_redis) as trips:
        answer = send("GET", "/auth", headers={"sessionid": nobodys})

    assert answer.status == 401
    assert trips() == 1


@pytest.mark.parametrize(
    ("given", "kept"), [("a-request.of:nginx_1", True), ("", False), ("x" * 65, False), ("a b", False)]
)
def test_a_request_keeps_the_id_that_it_comes_with(
    mini_program: MiniProgram, send: Send, given: str, kept: bool
) -> None:
    mini_program.log_in()

    answer = send("GET", "/auth", headers={"sessionid": mini_program.stored, "X-Request-Id": given})

    assert answer.status == 204
    assert (answer.headers["X-Request-Id"] == given) is kept
    assert answer.headers["X-Request-Id"]


def test_a_check_from_memory_enters_the_modules_that_the_architecture_page_has(settings: Settings) -> None:
    services = Services.build(settings)
    cache = NearCache(seconds=2)
    cache.enable()
    user = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
    session_id = SessionId.new(user)
    cache.fill(session_id, cache.begin_fill(session_id), user, seconds=60)
    middleware = AuthRequestMiddleware(
        create_app(services), SessionVerifier(services.sessions, cache), services.metrics
    )
    request_head = "\r\n".join(
        ["GET /auth HTTP/1.1", "Host: a", "X-Request-Id: a", f"Cookie: sessionid={session_id.text}", "", ""]
    )
    entered = set()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.add(frame.f_globals["__name__"])

    sys.setprofile(look)
    try:
        environ = http1.parse_request(request_head.encode())
        assert environ
        headers = middleware.try_answer(environ, lambda _: None)
        assert isinstance(headers, list)
        http1.serialize_response(GRANTED_STATUS, headers, server="gunicorn")
        middleware.record_granted(0.001)
    finally:
        sys.setprofile(None)

    page = (PROJECT / "docs" / "architecture.md").read_text()
    _, _, told = page.partition("From memory, a check enters eight modules:")
    named = re.findall("`([a-z0-9_]+)`", told.partition(".")[0])
    ours = {name.rpartition(".")[2] for name in entered if name.startswith("wxlogin.")}
    assert ours | {"worker"} == set(named)
    assert len(named) == 8


class Broken(SessionVerifier):
    """What has a bug."""

    def get(self, session_id: SessionId) -> Any:
        raise ZeroDivisionError


def test_a_bug_is_told_in_the_shape_of_every_error(settings: Settings) -> None:
    services = Services.build(settings)
    app = create_app(dataclasses.replace(services, verifier=Broken(services.sessions)))

    answer = in_process(app)("GET", "/auth", headers={"sessionid": "x" * 59})

    assert (answer.status, answer.error["code"]) == (500, "internal_error")


def test_what_a_check_notes_for_the_log_is_gone_after_it(
    mini_program: MiniProgram, caplog: pytest.LogCaptureFixture
) -> None:
    mini_program.log_in()
    mini_program.get("/auth")
    caplog.set_level(logging.INFO)

    logging.getLogger("somebody").warning("something else")

    assert not hasattr(caplog.records[-1], "user_hash")
