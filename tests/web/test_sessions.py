"""``/session`` and ``/sessions`` through HTTP: who am I, on which devices, and log out here, there, everywhere."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from tests.conftest import APPID, Clock
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from tests.servers import RedisServer, free_port
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.web.app import create_app
from wxlogin.web.session_context import current_session, identify

DAY = 86400
OPENID, SOMEBODYS_OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE", "oGZUI0egBJY1zhBYw2KhdUfSOMEB"
CLEARED = "sessionid=; Max-Age=0; Secure; HttpOnly; Path=/; SameSite=Lax"


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
    assert answer.set_cookie == CLEARED
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


# several devices


@pytest.fixture
def phone(send: Send, sandbox: Sandbox, clock: Clock) -> MiniProgram:
    return logged_in(send, sandbox, clock, user_agent="a phone")


@pytest.fixture
def tablet(phone: MiniProgram, send: Send, sandbox: Sandbox, clock: Clock) -> MiniProgram:
    """Another device of the same user, logged in later."""
    return logged_in(send, sandbox, clock, user_agent="a tablet")


@pytest.fixture
def somebodys(send: Send, sandbox: Sandbox, clock: Clock) -> MiniProgram:
    return logged_in(send, sandbox, clock, openid=SOMEBODYS_OPENID, user_agent="somebody's")


def logged_in(
    send: Send, sandbox: Sandbox, clock: Clock, *, openid: str = OPENID, user_agent: str = ""
) -> MiniProgram:
    """Log a device in, a second after the one before."""
    clock.advance(1)
    code = sandbox.issue_code(openid=openid)
    answer = send("POST", "/login", json={"code": code}, headers={"User-Agent": user_agent})
    return MiniProgram(send, sandbox, openid, answer.set_cookie)


def delete(device: MiniProgram, path: str) -> Answer:
    return device.send("DELETE", path, headers={"sessionid": device.stored})


def session_id_of(device: MiniProgram) -> SessionId:
    session_id = SessionId.parse(device.stored.partition("=")[2].partition(";")[0])
    assert session_id
    return session_id


def handle_of(device: MiniProgram) -> str:
    [own] = [each["handle"] for each in device.get("/sessions").json["sessions"] if each["is_current"]]
    return str(own)


def are_logged_in(*devices: MiniProgram) -> list[bool]:
    return [device.whoami().status == 200 for device in devices]


def test_a_user_sees_all_his_sessions_the_newest_first(
    phone: MiniProgram, tablet: MiniProgram, clock: Clock
) -> None:
    clock.advance(50)

    answer = phone.get("/sessions")

    now = int(clock())
    assert answer.status == 200
    assert answer.json == {
        "sessions": [
            {
                "handle": session_id_of(tablet).field,
                "created_at": now - 50,
                "last_seen_at": (now - 50) // 60 * 60,
                "expires_in": 7 * DAY - 50,
                "user_agent": "a tablet",
                "is_current": False,
            },
            {
                "handle": session_id_of(phone).field,
                "created_at": now - 51,
                "last_seen_at": (now - 51) // 60 * 60,
                "expires_in": 7 * DAY - 51,
                "user_agent": "a phone",
                "is_current": True,
            },
        ]
    }


def test_a_list_of_sessions_is_not_cached_and_sets_no_cookie(phone: MiniProgram) -> None:
    answer = phone.get("/sessions")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Cookie, Authorization, sessionid"
    assert answer.set_cookie == ""


def test_when_a_session_was_last_seen_is_told_to_the_minute(
    phone: MiniProgram, tablet: MiniProgram, clock: Clock
) -> None:
    clock.advance(200 - clock() % 60)  # 20 seconds into a minute
    phone.whoami()
    clock.advance(30)

    listed = tablet.get("/sessions").json["sessions"]

    assert listed[1]["last_seen_at"] == int(clock()) - 50


def test_each_device_is_the_current_one_to_itself(phone: MiniProgram, tablet: MiniProgram) -> None:
    lists = [device.get("/sessions").json["sessions"] for device in (phone, tablet)]

    assert [[each["is_current"] for each in sessions] for sessions in lists] == [[False, True], [True, False]]


def test_a_user_sees_no_sessions_of_others(phone: MiniProgram, somebodys: MiniProgram) -> None:
    assert [each["user_agent"] for each in phone.get("/sessions").json["sessions"]] == ["a phone"]


@pytest.mark.parametrize("expose_openid", [False, True])
def test_a_list_of_sessions_has_nothing_that_opens_one_or_names_the_user(
    settings: Settings, sandbox: Sandbox, clock: Clock, expose_openid: bool
) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, expose_openid=expose_openid), clock=clock))
    devices = [logged_in(in_process(app), sandbox, clock) for _ in range(2)]

    text = devices[0].get("/sessions").text

    ids = [session_id_of(device) for device in devices]
    secrets = [OPENID, ids[0].user_hash, *(each.random for each in ids), "session_key", "unionid"]
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize(
    "carry",
    [
        lambda own, handle: {"sessionid": handle},
        lambda own, handle: {"Cookie": f"sessionid={handle}"},
        lambda own, handle: {"Authorization": f"Bearer {handle}"},
        lambda own, handle: {"sessionid": own.user_hash + handle},
        lambda own, handle: {"sessionid": own.user_hash + handle.ljust(43, "A")},
    ],
)
def test_a_handle_opens_nothing(send: Send, phone: MiniProgram, carry: Callable[..., dict[str, str]]) -> None:
    headers = carry(session_id_of(phone), handle_of(phone))

    assert send("GET", "/session", headers=headers).error["code"] == "not_logged_in"


def test_logging_out_everywhere_ends_all_sessions_of_the_user_and_clears_the_cookie(
    phone: MiniProgram, tablet: MiniProgram, somebodys: MiniProgram
) -> None:
    answer = delete(phone, "/sessions")

    assert (answer.status, answer.text, answer.set_cookie) == (204, "", CLEARED)
    assert are_logged_in(phone, tablet, somebodys) == [False, False, True]


def test_logging_out_everywhere_else_leaves_this_session(
    phone: MiniProgram, tablet: MiniProgram, somebodys: MiniProgram
) -> None:
    answer = delete(phone, "/sessions?except=current")

    assert (answer.status, answer.text, answer.set_cookie) == (204, "", "")
    assert are_logged_in(phone, tablet, somebodys) == [True, False, True]


@pytest.mark.parametrize(
    "query",
    [
        "except=",
        "except=other",
        "except=Current",
        "except=current&except=current",
        "except=current,x",
        "exept=current",
    ],
)
def test_no_other_exception_is_made(phone: MiniProgram, tablet: MiniProgram, query: str) -> None:
    answer = delete(phone, f"/sessions?{query}")

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert are_logged_in(phone, tablet) == [True, True]


def test_a_user_ends_the_session_of_another_of_his_devices(phone: MiniProgram, tablet: MiniProgram) -> None:
    answer = delete(phone, f"/sessions/{handle_of(tablet)}")

    assert (answer.status, answer.text, answer.set_cookie) == (204, "", "")
    assert are_logged_in(phone, tablet) == [True, False]


def test_a_user_who_ends_this_session_by_its_handle_is_logged_out(phone: MiniProgram, tablet: MiniProgram) -> None:
    answer = delete(phone, f"/sessions/{handle_of(phone)}")

    assert (answer.status, answer.set_cookie) == (204, CLEARED)
    assert are_logged_in(phone, tablet) == [False, True]


def test_nobody_ends_a_session_of_somebody_else(phone: MiniProgram, somebodys: MiniProgram) -> None:
    answer = delete(phone, f"/sessions/{handle_of(somebodys)}")

    assert (answer.status, answer.set_cookie) == (204, "")
    assert are_logged_in(phone, somebodys) == [True, True]


def test_ending_a_session_again_is_as_good(phone: MiniProgram, tablet: MiniProgram) -> None:
    handle = handle_of(tablet)

    assert [delete(phone, f"/sessions/{handle}").status for _ in range(2)] == [204, 204]


@pytest.mark.parametrize("handle", ["A" * 22, "x", "*", "%20", "%00", "%FF", "%E4%BD%A0", "A" * 5000, "current"])
def test_a_handle_that_is_none_ends_nothing(phone: MiniProgram, tablet: MiniProgram, handle: str) -> None:
    answer = delete(phone, f"/sessions/{handle}")

    assert (answer.status, answer.set_cookie) == (204, "")
    assert are_logged_in(phone, tablet) == [True, True]


def test_an_id_is_not_a_handle(phone: MiniProgram, tablet: MiniProgram) -> None:
    delete(phone, f"/sessions/{session_id_of(tablet).text}")

    assert are_logged_in(tablet) == [True]


SESSIONS_ROUTES = [
    ("GET", "/sessions"),
    ("DELETE", "/sessions"),
    ("DELETE", "/sessions?except=current"),
    ("DELETE", f"/sessions/{'A' * 22}"),
    ("DELETE", "/sessions/x"),
]
for_each_sessions_route = pytest.mark.parametrize(("method", "path"), SESSIONS_ROUTES)


@for_each_sessions_route
@pytest.mark.parametrize("stored", ["", "junk", hash_of(User(APPID, OPENID)) + "A" * 43])
def test_who_is_not_logged_in_neither_sees_nor_ends_sessions(
    phone: MiniProgram, send: Send, method: str, path: str, stored: str
) -> None:
    answer = send(method, path, headers={"sessionid": stored})

    assert (answer.status, answer.error["code"], answer.set_cookie) == (401, "not_logged_in", "")
    assert are_logged_in(phone) == [True]


@for_each_sessions_route
def test_who_has_logged_out_ends_no_other_session(
    phone: MiniProgram, tablet: MiniProgram, method: str, path: str
) -> None:
    phone.log_out()

    answer = phone.send(method, path, headers={"sessionid": phone.stored})

    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")
    assert are_logged_in(tablet) == [True]


@for_each_sessions_route
def test_with_an_expired_session_nobody_sees_or_ends_others(
    phone: MiniProgram, clock: Clock, method: str, path: str
) -> None:
    clock.advance(7 * DAY)

    answer = phone.send(method, path, headers={"sessionid": phone.stored})

    assert (answer.status, answer.error["code"]) == (401, "session_expired")


@for_each_sessions_route
def test_without_the_store_sessions_are_neither_seen_nor_ended(settings: Settings, method: str, path: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    send = in_process(create_app(Services.build(dataclasses.replace(settings, redis_url=url))))

    answer = send(method, path, headers={"sessionid": SessionId.new(User(APPID, OPENID)).text})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "store_unavailable", True)
    assert answer.headers["Retry-After"] == "1"
    assert answer.set_cookie == ""


@pytest.mark.parametrize(("most", "expected"), [(2, [False, True, True]), (0, [True, True, True])])
def test_a_user_has_no_more_sessions_than_the_settings_allow(
    settings: Settings, sandbox: Sandbox, clock: Clock, most: int, expected: list[bool]
) -> None:
    chosen = dataclasses.replace(settings, max_sessions_per_user=most)
    send = in_process(create_app(Services.build(chosen, clock=clock)))

    devices = [logged_in(send, sandbox, clock) for _ in range(3)]

    assert are_logged_in(*devices) == expected


# logging out wins

DEVICES = 10


class SlowRequests:
    """A route that reads the session and then waits; `overlap` has many requests for it under way at once."""

    def __init__(self, app: Flask) -> None:
        self._have_read = threading.Barrier(DEVICES + 1)
        self._may_answer = threading.Event()
        app.add_url_rule("/slow", view_func=self._answer)
        app.add_url_rule("/slow-renewal", view_func=self._renew)

    def _answer(self) -> str:
        identify()
        self._have_read.wait(20)
        assert self._may_answer.wait(20)
        return "done"

    def _renew(self) -> str:
        self._answer()
        current_session().rotate_id()
        return "renewed"

    def overlap(self, path: str, devices: list[MiniProgram], do: Callable[[], Answer]) -> list[Answer]:
        """Do something after each device's request has read its session, and before any is answered."""
        with ThreadPoolExecutor(DEVICES) as pool:
            slow = [pool.submit(device.get, path) for device in devices]
            self._have_read.wait(20)
            assert do().status == 204
            self._may_answer.set()
            return [answer.result(20) for answer in slow]


@pytest.fixture
def app_on_redis(settings: Settings, the_redis_server: RedisServer, real_redis: Redis, clock: Clock) -> Flask:
    chosen = dataclasses.replace(
        settings,
        redis_url=the_redis_server.url,
        redis_read_timeout_seconds=5,
        admin_token="the-operators-token",
    )
    return create_app(Services.build(chosen, clock=clock))


WAYS_TO_END: dict[str, Callable[[MiniProgram, MiniProgram], Answer]] = {
    "everywhere": lambda tablet, phone: delete(tablet, "/sessions"),
    "everywhere else": lambda tablet, phone: delete(tablet, "/sessions?except=current"),
    "there": lambda tablet, phone: delete(tablet, f"/sessions/{session_id_of(phone).field}"),
    "here": lambda tablet, phone: phone.log_out(),
    "by an operator": lambda tablet, phone: phone.send(
        "DELETE", f"/admin/users/{OPENID}/sessions", headers={"Authorization": "Bearer the-operators-token"}
    ),
}


@pytest.mark.parametrize(("path", "status"), [("/slow", 200), ("/slow-renewal", 401)])
@pytest.mark.parametrize("end", WAYS_TO_END.values(), ids=WAYS_TO_END.keys())
def test_slow_requests_that_overlap_a_logout_do_not_bring_the_session_back(
    app_on_redis: Flask,
    sandbox: Sandbox,
    clock: Clock,
    end: Callable[[MiniProgram, MiniProgram], Answer],
    path: str,
    status: int,
) -> None:
    slow, send = SlowRequests(app_on_redis), in_process(app_on_redis)
    phone, tablet = (logged_in(send, sandbox, clock) for _ in range(2))
    clock.advance(100)

    answers = slow.overlap(path, [phone] * DEVICES, lambda: end(tablet, phone))

    assert {(answer.status, answer.set_cookie) for answer in answers} == {(status, "")}
    assert are_logged_in(phone) == [False]


def test_slow_requests_of_many_devices_that_overlap_a_logout_everywhere_leave_no_session(
    app_on_redis: Flask, sandbox: Sandbox, clock: Clock, real_redis: Redis
) -> None:
    slow, send = SlowRequests(app_on_redis), in_process(app_on_redis)
    devices = [logged_in(send, sandbox, clock) for _ in range(DEVICES)]
    clock.advance(100)

    slow.overlap("/slow", devices, lambda: delete(devices[0], "/sessions"))

    assert real_redis.keys("wxlogin:user:*") == []


def test_slow_requests_that_nothing_overlaps_move_the_clock(
    app_on_redis: Flask, sandbox: Sandbox, clock: Clock
) -> None:
    slow, send = SlowRequests(app_on_redis), in_process(app_on_redis)
    phone, somebodys = (logged_in(send, sandbox, clock, openid=openid) for openid in (OPENID, SOMEBODYS_OPENID))
    clock.advance(100)

    slow.overlap("/slow", [phone] * DEVICES, lambda: delete(somebodys, "/sessions"))

    assert phone.whoami().json["idle_expires_in"] == 7 * DAY
