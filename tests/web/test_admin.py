"""``/admin``: operators see and end the sessions of any user, and nobody else gets in."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from tests.conftest import APPID, Clock
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from tests.servers import free_port
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.web.app import create_app

DAY = 86400
TOKEN = "the-operators-token"
OPENID, SOMEBODYS_OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE", "oGZUI0egBJY1zhBYw2KhdUfSOMEB"
ROUTES = [("GET", ""), ("DELETE", ""), ("DELETE", f"/{'A' * 22}")]
for_each_route = pytest.mark.parametrize(("method", "path"), ROUTES)


@dataclasses.dataclass
class Operator:
    """Somebody with a token, at some address."""

    send: Send
    authorization: str = f"Bearer {TOKEN}"
    address: str = "192.0.2.1"

    def ask(self, method: str, path: str = "", *, openid: str = OPENID) -> Answer:
        """Make a request about a user's sessions."""
        return self.send(
            method,
            f"/admin/users/{openid}/sessions{path}",
            headers={"Authorization": self.authorization},
            environ_base={"REMOTE_ADDR": self.address},
        )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, admin_token=TOKEN)


@pytest.fixture
def operator(send: Send) -> Operator:
    return Operator(send)


@pytest.fixture
def phone(send: Send, sandbox: Sandbox) -> MiniProgram:
    return logged_in(send, sandbox)


@pytest.fixture
def tablet(phone: MiniProgram, send: Send, sandbox: Sandbox, clock: Clock) -> MiniProgram:
    """Another device of the same user, logged in later."""
    clock.advance(10)
    return logged_in(send, sandbox)


@pytest.fixture
def somebodys(send: Send, sandbox: Sandbox) -> MiniProgram:
    return logged_in(send, sandbox, openid=SOMEBODYS_OPENID)


def logged_in(send: Send, sandbox: Sandbox, *, openid: str = OPENID) -> MiniProgram:
    device = MiniProgram(send, sandbox, openid)
    device.log_in()
    return device


def session_id_of(device: MiniProgram) -> SessionId:
    session_id = SessionId.parse(device.stored.partition("=")[2].partition(";")[0])
    assert session_id
    return session_id


def are_logged_in(*devices: MiniProgram) -> list[bool]:
    return [device.whoami().status == 200 for device in devices]


# what operators do


def test_an_operator_sees_a_users_sessions_the_newest_first(
    operator: Operator, phone: MiniProgram, tablet: MiniProgram, somebodys: MiniProgram, clock: Clock
) -> None:
    answer = operator.ask("GET")

    now = int(clock())
    expected = [
        {
            "handle": session_id_of(device).field,
            "created_at": made_at,
            "last_seen_at": made_at // 60 * 60,
            "expires_in": made_at + 7 * DAY - now,
            "user_agent": answer.json["sessions"][0]["user_agent"],
        }
        for device, made_at in ((tablet, now), (phone, now - 10))
    ]
    assert answer.status == 200
    assert answer.json == {"sessions": expected, "count": 2}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.set_cookie == ""


def test_an_answer_to_an_operator_has_nothing_that_opens_a_session_or_names_the_user(
    operator: Operator, phone: MiniProgram
) -> None:
    text = operator.ask("GET").text

    session_id = session_id_of(phone)
    assert [secret for secret in (OPENID, session_id.random, session_id.user_hash) if secret in text] == []


@pytest.mark.parametrize("openid", ["unknown", "%E4%BD%A0", "%00", "*", "x" * 5000])
def test_a_user_who_is_not_known_has_no_sessions(operator: Operator, phone: MiniProgram, openid: str) -> None:
    assert operator.ask("GET", openid=openid).json == {"sessions": [], "count": 0}
    assert operator.ask("DELETE", openid=openid).status == 204
    assert are_logged_in(phone) == [True]


def test_an_operator_logs_a_user_out_everywhere(
    operator: Operator, phone: MiniProgram, tablet: MiniProgram, somebodys: MiniProgram
) -> None:
    answer = operator.ask("DELETE")

    assert (answer.status, answer.text, answer.set_cookie) == (204, "", "")
    assert are_logged_in(phone, tablet, somebodys) == [False, False, True]


def test_an_operator_logs_a_user_out_on_one_device(
    operator: Operator, phone: MiniProgram, tablet: MiniProgram
) -> None:
    answer = operator.ask("DELETE", f"/{session_id_of(phone).field}")

    assert (answer.status, answer.text, answer.set_cookie) == (204, "", "")
    assert are_logged_in(phone, tablet) == [False, True]


@pytest.mark.parametrize("handle", ["A" * 22, "x", "*", "%20", "%FF", "A" * 5000])
def test_a_handle_that_is_none_ends_nothing(operator: Operator, phone: MiniProgram, handle: str) -> None:
    assert operator.ask("DELETE", f"/{handle}").status == 204
    assert are_logged_in(phone) == [True]


def test_a_handle_of_another_user_ends_nothing(operator: Operator, somebodys: MiniProgram) -> None:
    assert operator.ask("DELETE", f"/{session_id_of(somebodys).field}").status == 204
    assert are_logged_in(somebodys) == [True]


@for_each_route
def test_our_appid_may_be_given(operator: Operator, phone: MiniProgram, method: str, path: str) -> None:
    assert operator.ask(method, f"{path}?appid={APPID}").status in {200, 204}


@for_each_route
@pytest.mark.parametrize("query", ["appid=wx0000000000000000", "appid=x", f"appid={APPID}&appid={APPID}"])
def test_an_appid_that_is_not_ours_or_not_alone_is_refused(
    operator: Operator, phone: MiniProgram, method: str, path: str, query: str
) -> None:
    answer = operator.ask(method, f"{path}?{query}")

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.error["message"].startswith("appid: ")
    assert are_logged_in(phone) == [True]


@for_each_route
def test_without_the_store_operators_are_told(settings: Settings, method: str, path: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    app = create_app(Services.build(dataclasses.replace(settings, redis_url=url)))

    answer = Operator(in_process(app)).ask(method, path)

    assert (answer.status, answer.error["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"] == "1"


# who is an operator


@for_each_route
@pytest.mark.parametrize("authorization", ["", f"Bearer {TOKEN}", "Bearer ", "Bearer x"])
def test_without_a_token_in_the_settings_there_are_no_such_routes(
    settings: Settings, sandbox: Sandbox, method: str, path: str, authorization: str
) -> None:
    send = in_process(create_app(Services.build(dataclasses.replace(settings, admin_token=""))))
    phone = logged_in(send, sandbox)

    answer = Operator(send, authorization).ask(method, path)

    assert (answer.status, answer.error) == (404, send("GET", "/x").error | _request_id(answer))
    assert are_logged_in(phone) == [True]


def _request_id(answer: Answer) -> dict[str, Any]:
    return {"request_id": answer.error["request_id"]}


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}"])
def test_the_right_token_is_let_in(send: Send, authorization: str) -> None:
    assert Operator(send, authorization).ask("GET").status == 200


@for_each_route
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN} x",
        f"Bearer x {TOKEN}",
        f"Bearer Bearer {TOKEN}",
        f"Basic {TOKEN}",
        TOKEN,
        f"the-operBearer {TOKEN.removeprefix('the-oper')}",
        "Bearer é",
    ],
)
def test_without_the_right_token_nobody_is_let_in(
    send: Send, phone: MiniProgram, method: str, path: str, authorization: str
) -> None:
    answer = Operator(send, authorization).ask(method, path)

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (401, "not_logged_in", False)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="wxlogin"'
    assert are_logged_in(phone) == [True]


def test_a_user_is_no_operator(send: Send, phone: MiniProgram) -> None:
    answer = Operator(send, f"Bearer {session_id_of(phone).text}").ask("GET")

    assert answer.status == 401


def test_nobody_learns_without_the_token_that_an_appid_is_wrong(send: Send) -> None:
    assert Operator(send, "Bearer wrong").ask("GET", "?appid=x").status == 401


def test_after_10_wrong_tokens_nobody_is_let_in_from_there_for_a_while(send: Send, phone: MiniProgram) -> None:
    statuses = [Operator(send, f"Bearer wrong-{number}").ask("GET").status for number in range(10)]

    answer = Operator(send).ask("DELETE")

    assert statuses == [401] * 10
    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (429, "rate_limited", True)
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert are_logged_in(phone) == [True]


def test_wrong_tokens_from_one_address_do_not_count_at_another(send: Send) -> None:
    for _ in range(11):
        Operator(send, "Bearer wrong").ask("GET")

    assert Operator(send, address="192.0.2.2").ask("GET").status == 200


# the audit


def audit_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [vars(record) for record in caplog.records if record.name == "wxlogin.observability.events"]
    names = ("levelname", "message", "operator", "user_hash", "sessions")
    return [{name: line[name] for name in names} for line in lines]


@pytest.mark.parametrize(
    ("method", "path", "action", "sessions"),
    [
        ("GET", "", "listed", 2),
        ("DELETE", "", "ended all", 2),
        ("DELETE", "/{handle}", "ended one", 1),
        ("DELETE", f"/{'A' * 22}", "ended one", 0),
    ],
)
def test_what_an_operator_does_is_logged_with_who_whom_and_how_many(
    operator: Operator,
    phone: MiniProgram,
    tablet: MiniProgram,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    action: str,
    sessions: int,
) -> None:
    operator.ask(method, path.format(handle=session_id_of(phone).field))

    assert audit_of(caplog) == [
        {
            "levelname": "WARNING",
            "message": f"audit: {action}",
            "operator": "admin token from 192.0.2.1",
            "user_hash": hash_of(User(APPID, OPENID)),
            "sessions": sessions,
        }
    ]


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("DELETE", "/{handle}"), ("DELETE", "/{session_id}")])
@pytest.mark.parametrize("token", [TOKEN, "a-wrong-token"])
def test_nothing_is_logged_that_names_the_user_or_lets_anybody_in(
    send: Send,
    phone: MiniProgram,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    token: str,
) -> None:
    session_id = session_id_of(phone)
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    Operator(send, f"Bearer {token}").ask(method, path.format(handle=session_id.field, session_id=session_id.text))

    logged = repr([vars(record) for record in caplog.records])
    assert [secret for secret in (OPENID, token, session_id.random) if secret in logged] == []


def test_who_is_not_let_in_leaves_no_line_in_the_audit(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    Operator(send, "Bearer wrong").ask("DELETE")

    assert audit_of(caplog) == []


def test_what_nobody_knows_the_end_of_is_logged_as_that(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = dataclasses.replace(settings, admin_token=TOKEN, redis_url="redis://127.0.0.1:1/0")
    send = in_process(create_app(Services.build(nowhere)))

    answer = send("DELETE", "/admin/users/oUser/sessions", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status == 503
    line = next(vars(record) for record in caplog.records if record.name == "wxlogin.observability.events")
    assert (line["message"], line["sessions"]) == ("audit: ended all", "unknown")
