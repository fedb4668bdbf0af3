"""``/session`` through HTTP: who am I, and log out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import APPID, Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from wxlogin.app import create_app
from wxlogin.services import Services
from wxlogin.settings import Settings

DAY = 86400


def test_a_session_tells_how_long_it_lasts(mini_program: MiniProgram, clock: Clock) -> None:
    mini_program.log_in()
    clock.advance(50)

    assert mini_program.whoami().json == {
        "appid": APPID,
        "created_at": int(clock.now) - 50,
        "expires_in": 30 * DAY - 50,
        "idle_expires_in": 7 * DAY - 50,
    }


def test_using_a_session_moves_its_idle_clock_but_not_its_end(mini_program: MiniProgram, clock: Clock) -> None:
    mini_program.log_in()
    clock.advance(6 * DAY)
    mini_program.whoami()
    clock.advance(6 * DAY)

    answer = mini_program.whoami().json

    assert (answer["expires_in"], answer["idle_expires_in"]) == (18 * DAY, DAY)


def test_an_idle_session_expires(mini_program: MiniProgram, clock: Clock) -> None:
    mini_program.log_in()
    clock.advance(7 * DAY)

    answer = mini_program.whoami()

    assert (answer.status, answer.error["code"]) == (401, "session_expired")


def test_a_busy_session_expires_too(mini_program: MiniProgram, clock: Clock) -> None:
    mini_program.log_in()
    for _ in range(6):
        clock.advance(5 * DAY - 1)
        assert mini_program.whoami().status == 200
    clock.advance(6)

    assert mini_program.whoami().error["code"] == "session_expired"


def test_without_a_session_nobody_is_anybody(send: Send) -> None:
    answer = send("GET", "/session")

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (401, "not_logged_in", False)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="wxlogin"'
    assert answer.set_cookie == ""


def test_the_openid_is_shown_where_that_is_wished(settings: Settings, sandbox: Sandbox) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, expose_openid=True)))
    mini_program = MiniProgram(in_process(app), sandbox)
    mini_program.log_in()

    assert mini_program.whoami().json["openid"] == mini_program.openid


@pytest.mark.parametrize(
    "carry",
    [
        lambda stored, bare: {"sessionid": stored},
        lambda stored, bare: {"Cookie": stored},
        lambda stored, bare: {"sessionid": bare},
        lambda stored, bare: {"Cookie": f"sessionid={bare}"},
        lambda stored, bare: {"Cookie": bare},
        lambda stored, bare: {"Authorization": f"Bearer {bare}"},
        lambda stored, bare: {"Cookie": f"sessionid={stored}"},
        lambda stored, bare: {"Cookie": f"a=1; Path=/,{stored},b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"},
        lambda stored, bare: {"sessionid": "", "Cookie": stored},
        lambda stored, bare: {"sessionid": bare, "Cookie": "sessionid=" + "A" * 59},
    ],
)
def test_whatever_was_stored_and_sent_back_is_understood(
    mini_program: MiniProgram, send: Send, carry: Callable[..., Any]
) -> None:
    bare = mini_program.log_in().session_id

    answer = send("GET", "/session", headers=carry(mini_program.stored, bare))

    assert answer.status == 200


@pytest.mark.parametrize(
    "carry",
    [
        lambda bare: ("/session", {"X-Session-Id": bare}),
        lambda bare: ("/session", {"set-cookie": f"sessionid={bare}"}),
        lambda bare: ("/session", {"Authorization": f"Basic {bare}"}),
        lambda bare: (f"/session?sessionid={bare}", {}),
        lambda bare: ("/session", {"sessionid": f"{bare},{'A' * 59}"}),
        lambda bare: ("/session", {"Cookie": f"sessionid={bare}; sessionid={'A' * 59}"}),
        lambda bare: ("/session", {"Cookie": f"SESSIONID={bare}"}),
        lambda bare: ("/session", {"sessionid": bare.swapcase()}),
    ],
)
def test_an_id_anywhere_else_or_beside_another_is_nobody(
    mini_program: MiniProgram, send: Send, carry: Callable[..., Any]
) -> None:
    path, headers = carry(mini_program.log_in().session_id)

    assert send("GET", path, headers=headers).error["code"] == "not_logged_in"


def test_logging_out_ends_the_session_and_clears_the_cookie(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    answer = mini_program.log_out()

    assert (answer.status, answer.text) == (204, "")
    assert answer.set_cookie == "sessionid=; Max-Age=0; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert mini_program.whoami().status == 401


def test_logging_out_ends_this_session_only(send: Send, sandbox: Sandbox) -> None:
    phone, tablet = MiniProgram(send, sandbox), MiniProgram(send, sandbox)
    phone.log_in()
    tablet.log_in()

    phone.log_out()

    assert tablet.whoami().status == 200


@pytest.mark.parametrize("headers", [{}, {"sessionid": "A" * 59}, {"sessionid": "junk"}])
def test_logging_out_again_or_as_nobody_is_as_good(send: Send, headers: dict[str, str]) -> None:
    answer = send("DELETE", "/session", headers=headers)

    assert (answer.status, answer.set_cookie.split(";")[:2]) == (204, ["sessionid=", " Max-Age=0"])


def test_a_logged_out_session_is_refused_however_often_it_comes_back(mini_program: MiniProgram) -> None:
    mini_program.log_in()
    mini_program.log_out()

    assert {mini_program.whoami().status for _ in range(100)} == {401}
