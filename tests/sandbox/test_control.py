"""The control plane: codes, faults, calls."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.drivers import (
    APPID,
    EXCHANGE,
    OTHER_APPID,
    OTHER_SECRET,
    SECRET,
    Clock,
    Sandbox,
    exchange_query,
)
from wxlogin.sandbox.app import MESSAGES, create_sandbox
from wxlogin.sandbox.journal import MAX_CALLS
from wxlogin.sandbox.simulator.messages import MASK
from wxlogin.sandbox.state import SandboxState

KINDS = ["user_info", "phone_number", "share", "werun"]
LONE_SURROGATE = b'"\\ud800"'


def error_of(response: Any) -> dict[str, Any]:
    """Return the error in the answer, after a look at its shape."""
    assert list(response.json) == ["error"]
    error: dict[str, Any] = response.json["error"]
    assert list(error) == ["code", "message", "request_id", "retryable"]
    assert isinstance(error["message"], str)
    assert (error["request_id"], error["retryable"]) == (None, False)
    return error


# Codes


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
def test_a_code_can_be_had_without_saying_anything(sandbox: Sandbox, body: bytes) -> None:
    response = sandbox.client.post("/_sandbox/codes", data=body)

    assert response.status_code == 200
    assert sandbox.errcode(response.get_json()["code"]) == 0


def test_the_code_can_be_cut_out_of_the_answer(sandbox: Sandbox) -> None:
    text = sandbox.client.post("/_sandbox/codes", json={"openid": "o-1"}).text

    assert re.fullmatch(r'\{"code":"[A-Za-z0-9]{32}","openid":"o-1"\}\n', text)
    assert sandbox.errcode(text.split('"')[3]) == 0


def test_the_content_type_does_not_matter(sandbox: Sandbox) -> None:
    """As `curl -d` sends a form's unless it is told otherwise."""
    response = sandbox.client.post(
        "/_sandbox/codes", data=b'{"openid":"o-1"}', content_type="application/x-www-form-urlencoded"
    )

    assert response.get_json()["openid"] == "o-1"


def test_no_two_codes_are_the_same(sandbox: Sandbox) -> None:
    assert sandbox.code() != sandbox.code()


def test_an_openid_is_made_up_in_wechats_form(sandbox: Sandbox) -> None:
    openid = sandbox.issue()["openid"]

    assert re.fullmatch("o[A-Za-z0-9_-]{27}", openid)


def test_a_user_made_up_is_a_new_one(sandbox: Sandbox) -> None:
    assert sandbox.issue()["openid"] != sandbox.issue()["openid"]


def test_a_code_is_for_the_first_app_unless_another_is_named(sandbox: Sandbox) -> None:
    code, other_code = sandbox.code(), sandbox.code(appid=OTHER_APPID)

    assert sandbox.errcode(code, appid=APPID, secret=SECRET) == 0
    assert sandbox.errcode(other_code, appid=OTHER_APPID, secret=OTHER_SECRET) == 0


def test_a_unionid_sticks_to_the_user(sandbox: Sandbox) -> None:
    sandbox.code(openid="o-1", unionid="u-1")

    session = sandbox.exchange(sandbox.code(openid="o-1"))

    assert session["unionid"] == "u-1"


def test_a_user_can_be_given_another_unionid(sandbox: Sandbox) -> None:
    sandbox.code(openid="o-1", unionid="u-1")

    session = sandbox.exchange(sandbox.code(openid="o-1", unionid="u-2"))

    assert session["unionid"] == "u-2"


@pytest.mark.parametrize("openid", ["oGZUI0egBJY1zhBYw2KhdUfwVJJE", "-_", "a" * 128])
def test_an_openid_can_be_chosen(sandbox: Sandbox, openid: str) -> None:
    assert sandbox.issue(openid=openid)["openid"] == openid


@pytest.mark.parametrize(
    "body",
    [
        b'{"appid":"wx0000000000000000"}',
        b'{"appid":""}',
        b'{"appid":1}',
        b'{"openid":""}',
        b'{"openid":null}',
        b'{"openid":["o-1"]}',
        b'{"openid":"o 1"}',
        b'{"openid":"o-1\\n"}',
        b'{"openid":"\xc3\xb6"}',
        b'{"openid":"' + b"a" * 129 + b'"}',
        b'{"unionid":true}',
        b'{"unionid":"\\ud800"}',
        b'{"openID":"o-1"}',
        b'{"openid":"o-1"',
        b"[]",
        b"null",
        b'"o-1"',
        b"\xff\xfe\xff",
        b"[" * 60_000,
        b"9" * 5000,
        LONE_SURROGATE,
    ],
)
def test_a_body_that_makes_no_sense_is_refused(sandbox: Sandbox, body: bytes) -> None:
    response = sandbox.client.post("/_sandbox/codes", data=body)

    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_request"


# Faults


def test_arming_a_fault_answers_with_what_was_armed(sandbox: Sandbox) -> None:
    response = sandbox.arm(EXCHANGE, errcode=45011, times=2)

    assert response.status_code == 201
    assert response.json == {
        "path": EXCHANGE,
        "times": 2,
        "errcode": 45011,
        "status": None,
        "body": None,
        "content_type": None,
        "changes": None,
        "delay_seconds": 0,
        "reset": False,
    }


@pytest.mark.parametrize(
    ("errcode", "errmsg"),
    [
        (-1, "system error"),
        (40226, "code blocked"),
        (45011, "api minute-quota reach limit  mustslower  retry next minute"),
        (123456, "unknown error"),
    ],
)
def test_an_errcode_is_told_in_wechats_shape(sandbox: Sandbox, errcode: int, errmsg: str) -> None:
    sandbox.arm(errcode=errcode)

    response = sandbox.exchange_response("any")

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/plain")
    assert re.fullmatch(rf'\{{"errcode":{errcode},"errmsg":"{errmsg}, rid: [0-9a-f-]{{26}}"\}}', response.text)


@pytest.mark.parametrize("effect", [{"errcode": -1}, {"status": 502}, {"body": "<html>"}])
def test_a_fault_that_replaces_the_answer_leaves_the_work_undone(sandbox: Sandbox, effect: dict[str, Any]) -> None:
    code = sandbox.code()
    sandbox.arm(**effect)

    sandbox.exchange_response(code)

    assert sandbox.errcode(code) == 0


def test_a_status_comes_with_an_empty_body(sandbox: Sandbox) -> None:
    sandbox.arm(status=502)

    response = sandbox.exchange_response("any")

    assert (response.status_code, response.text) == (502, "")


@pytest.mark.parametrize("body", ["", "<html>502 Bad Gateway</html>", '{"session_key":"', "汉\x00"])
def test_a_body_is_sent_as_it_is(sandbox: Sandbox, body: str) -> None:
    sandbox.arm(body=body)

    response = sandbox.exchange_response("any")

    assert (response.status_code, response.text) == (200, body)


@pytest.mark.parametrize("effect", [{"body": "<html>"}, {"errcode": -1}])
def test_a_status_goes_with_a_body_or_an_errcode(sandbox: Sandbox, effect: dict[str, Any]) -> None:
    sandbox.arm(status=503, **effect)

    response = sandbox.exchange_response("any")

    assert response.status_code == 503
    assert response.text


@pytest.mark.parametrize(
    ("rest", "errcode"), [({}, 0), ({"errcode": -1}, -1)], ids=["normal answer", "another effect"]
)
def test_a_delay_comes_before_the_answer(
    sandbox: Sandbox, naps: list[float], rest: dict[str, Any], errcode: int
) -> None:
    code = sandbox.code()
    sandbox.arm(delay_seconds=2.5, **rest)

    assert sandbox.errcode(code) == errcode
    assert naps == [2.5]


def test_a_call_without_a_delay_does_not_wait(sandbox: Sandbox, naps: list[float]) -> None:
    sandbox.exchange("any")

    assert naps == []


def test_a_fault_is_shown_as_many_times_as_it_was_armed_for(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1, times=3)

    errcodes = [sandbox.errcode("any") for _ in range(5)]

    assert errcodes == [-1, -1, -1, 40029, 40029]


def test_a_fault_is_shown_once_unless_told_otherwise(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1)

    assert [sandbox.errcode("any") for _ in range(2)] == [-1, 40029]


def test_faults_that_are_forgotten_are_not_shown(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1, times=3)
    sandbox.arm(errcode=45011)
    sandbox.arm("/cgi-bin/token", errcode=-1)

    response = sandbox.client.delete("/_sandbox/faults")

    assert response.status_code == 204
    assert "session_key" in sandbox.log_in()
    assert sandbox.fetch_token()


def test_the_faults_of_one_path_are_forgotten_alone(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1)
    sandbox.arm("/cgi-bin/token", errcode=-1)

    sandbox.client.delete("/_sandbox/faults", json={"path": "/cgi-bin/token"})

    assert sandbox.errcode("code") == -1
    assert sandbox.fetch_token()


@pytest.mark.parametrize("fields", [{"path": 1}, {"path": "/_sandbox/faults"}, {"errcode": -1}])
def test_what_says_wrongly_which_faults_to_forget_forgets_none(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    sandbox.arm(errcode=-1)

    response = sandbox.client.delete("/_sandbox/faults", json=fields)

    assert (response.status_code, error_of(response)["code"]) == (400, "invalid_request")
    assert sandbox.errcode("code") == -1


def test_the_faults_of_a_path_are_shown_in_the_order_they_were_armed(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1, times=2)
    sandbox.arm(errcode=45011)
    sandbox.arm(errcode=40226)

    assert [sandbox.errcode("any") for _ in range(5)] == [-1, -1, 45011, 40226, 40029]


def test_a_fault_is_for_its_own_path(sandbox: Sandbox) -> None:
    sandbox.arm("/cgi-bin/token", errcode=-1)

    assert sandbox.errcode("any") == 40029


def test_a_path_that_nothing_serves_can_have_faults(sandbox: Sandbox) -> None:
    sandbox.arm("/cgi-bin/nothing", errcode=-1)

    answer = sandbox.client.get("/cgi-bin/nothing").get_json(force=True)

    assert answer["errcode"] == -1
    assert answer["errmsg"].startswith("system error rid: ")


def test_a_reset_loses_the_answer_after_the_work_is_done(sandbox: Sandbox) -> None:
    code = sandbox.code()
    sandbox.arm(reset=True)

    with pytest.raises(ConnectionResetError):
        sandbox.exchange_response(code)

    assert sandbox.errcode(code) == 40163


def test_the_control_plane_has_no_faults(sandbox: Sandbox) -> None:
    sandbox.arm("/_sandboxed", errcode=-1)

    assert sandbox.client.get("/_sandbox/calls").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"times": 1_000_000, "errcode": -1},
        {"errcode": -(2**31) + 1},
        {"errcode": 2**31 - 1},
        {"status": 200},
        {"status": 599},
        {"delay_seconds": 60},
        {"delay_seconds": 0.001},
        {"delay_seconds": 0, "errcode": -1},
        {"delay_seconds": 1, "reset": True},
    ],
)
def test_a_fault_within_the_bounds_is_armed(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    assert sandbox.arm("/any", **fault).status_code == 201


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"errcode": -1},
        {"path": "/any"},
        {"path": "/any", "times": 2},
        {"path": "/any", "reset": False},
        {"path": "/any", "delay_seconds": 0},
        {"path": "", "errcode": -1},
        {"path": "sns", "errcode": -1},
        {"path": 1, "errcode": -1},
        {"path": None, "errcode": -1},
        {"path": "/_sandbox", "errcode": -1},
        {"path": "/_sandbox/codes", "errcode": -1},
        {"path": "/any", "errcode": -1, "times": 0},
        {"path": "/any", "errcode": -1, "times": 1_000_001},
        {"path": "/any", "errcode": -1, "times": 1.0},
        {"path": "/any", "errcode": -1, "times": True},
        {"path": "/any", "errcode": -1, "times": None},
        {"path": "/any", "errcode": 0},
        {"path": "/any", "errcode": 2**31},
        {"path": "/any", "errcode": "-1"},
        {"path": "/any", "errcode": True},
        {"path": "/any", "status": 199},
        {"path": "/any", "status": 600},
        {"path": "/any", "status": "502"},
        {"path": "/any", "body": {"errcode": -1}},
        {"path": "/any", "body": None},
        {"path": "/any", "delay_seconds": -0.1},
        {"path": "/any", "delay_seconds": 60.1},
        {"path": "/any", "delay_seconds": float("nan")},
        {"path": "/any", "delay_seconds": float("inf")},
        {"path": "/any", "delay_seconds": "1"},
        {"path": "/any", "delay_seconds": True},
        {"path": "/any", "reset": 1},
        {"path": "/any", "reset": "true"},
        {"path": "/any", "reset": True, "errcode": -1},
        {"path": "/any", "reset": True, "status": 502},
        {"path": "/any", "reset": True, "body": ""},
        {"path": "/any", "errcode": -1, "body": ""},
        {"path": "/any", "errcode": -1, "unknown": 1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    response = sandbox.client.post("/_sandbox/faults", json=fault)

    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_request"


def test_a_fault_with_text_that_cannot_be_sent_is_refused(sandbox: Sandbox) -> None:
    response = sandbox.client.post("/_sandbox/faults", data=b'{"path":"/any","body":' + LONE_SURROGATE + b"}")

    assert response.status_code == 400


def test_a_refused_fault_is_not_armed(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1, body="")

    assert sandbox.errcode("any") == 40029


# Calls


def test_a_call_is_remembered_with_its_time_and_its_secrets_masked(sandbox: Sandbox, clock: Clock) -> None:
    code = sandbox.code()
    sandbox.exchange(code, access_token="an access token")

    assert sandbox.calls() == [
        {
            "path": EXCHANGE,
            "query": exchange_query(code) | {"secret": "***", "access_token": "***"},
            "errcode": 0,
            "at": clock.now,
        }
    ]


def test_a_call_is_listed_in_the_documented_order(sandbox: Sandbox) -> None:
    sandbox.exchange("any")

    assert list(sandbox.calls()[0]) == ["path", "query", "errcode", "at"]


def test_calls_are_listed_oldest_first(sandbox: Sandbox, clock: Clock) -> None:
    for path in ("/b", "/a", "/c"):
        sandbox.client.get(path)
        clock.advance(1)

    assert [call["path"] for call in sandbox.calls()] == ["/b", "/a", "/c"]


def test_a_repeated_parameter_is_a_list(sandbox: Sandbox) -> None:
    sandbox.client.get("/any?a=1&a=2&secret=x&secret=y")

    assert sandbox.calls()[0]["query"] == {"a": ["1", "2"], "secret": ["***", "***"]}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_refused_call_is_remembered_with_its_errcode(sandbox: Sandbox, method: str) -> None:
    sandbox.client.open("/sns/any", method=method)

    assert sandbox.calls()[0]["errcode"] == 40066


@pytest.mark.parametrize(
    ("effect", "errcode"),
    [
        ({"errcode": 45011}, 45011),
        ({"errcode": 45011, "status": 503}, 45011),
        ({"status": 502}, None),
        ({"body": "<html>"}, None),
        ({"delay_seconds": 1}, 40029),
    ],
)
def test_a_call_that_met_a_fault_is_remembered_with_what_it_was_told(
    sandbox: Sandbox, effect: dict[str, Any], errcode: int | None
) -> None:
    sandbox.arm(**effect)

    sandbox.exchange_response("any")

    assert sandbox.calls()[0]["errcode"] == errcode


def test_a_call_whose_answer_was_lost_is_remembered_as_done(sandbox: Sandbox) -> None:
    code = sandbox.code()
    sandbox.arm(reset=True)

    with pytest.raises(ConnectionResetError):
        sandbox.exchange_response(code)

    assert [call["errcode"] for call in sandbox.calls()] == [0]


def test_a_call_is_listed_while_it_waits_for_its_answer(state: SandboxState) -> None:
    listed: list[Any] = []
    sandbox = Sandbox(create_sandbox(state, sleep=lambda _: listed.extend(state.journal.calls())).test_client())
    sandbox.arm(delay_seconds=60)

    sandbox.exchange("any")

    assert [(call.path, call.errcode) for call in listed] == [(EXCHANGE, None)]


def test_the_control_plane_is_not_among_the_calls(sandbox: Sandbox) -> None:
    sandbox.code()
    sandbox.arm("/any", errcode=-1)
    sandbox.client.get("/_sandbox/nothing")

    assert sandbox.calls() == []


def test_only_the_newest_calls_are_kept(sandbox: Sandbox, state: SandboxState) -> None:
    for number in range(MAX_CALLS + 1):
        state.journal.note_call(f"/{number}", {}, now=0)

    calls = sandbox.calls()

    assert len(calls) == MAX_CALLS == 10_000
    assert (calls[0]["path"], calls[-1]["path"]) == ("/1", f"/{MAX_CALLS}")


# Forgetting


def test_forgetting_everything_answers_with_nothing(sandbox: Sandbox) -> None:
    response = sandbox.client.delete("/_sandbox")

    assert (response.status_code, response.data) == (204, b"")


def test_forgotten_codes_are_unknown(sandbox: Sandbox) -> None:
    used, unused = sandbox.code(), sandbox.code()
    sandbox.exchange(used)

    sandbox.client.delete("/_sandbox")

    assert [sandbox.errcode(used), sandbox.errcode(unused)] == [40029, 40029]


def test_forgotten_users_have_no_unionid(sandbox: Sandbox) -> None:
    sandbox.code(openid="o-1", unionid="u-1")

    sandbox.client.delete("/_sandbox")

    assert "unionid" not in sandbox.exchange(sandbox.code(openid="o-1"))


def test_forgotten_faults_are_not_shown(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=-1)

    sandbox.client.delete("/_sandbox")

    assert sandbox.errcode("any") == 40029


def test_forgotten_calls_are_not_listed(sandbox: Sandbox) -> None:
    sandbox.exchange("any")

    sandbox.client.delete("/_sandbox")

    assert sandbox.calls() == []


def test_a_call_forgotten_while_it_waited_stays_forgotten(state: SandboxState) -> None:
    sandbox = Sandbox(create_sandbox(state, sleep=lambda _: state.forget_everything()).test_client())
    sandbox.arm(delay_seconds=1)

    sandbox.exchange("any")

    assert sandbox.calls() == []


def test_the_apps_are_not_forgotten(sandbox: Sandbox) -> None:
    sandbox.client.delete("/_sandbox")

    assert sandbox.errcode(sandbox.code()) == 0


# Errors


@pytest.mark.parametrize("path", ["/_sandbox/nothing", "/_sandbox/", "/_sandbox//codes", "/_sandbox/codes/"])
def test_an_unknown_control_path_is_not_found(sandbox: Sandbox, path: str) -> None:
    response = sandbox.client.post(path)

    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/_sandbox/codes", {"POST"}),
        ("OPTIONS", "/_sandbox/codes", {"POST"}),
        ("PUT", "/_sandbox/faults", {"GET", "HEAD", "POST", "DELETE"}),
        ("POST", "/_sandbox/calls", {"GET", "HEAD"}),
        ("GET", "/_sandbox", {"DELETE"}),
    ],
)
def test_a_method_that_is_not_served_is_told_with_those_that_are(
    sandbox: Sandbox, method: str, path: str, allowed: set[str]
) -> None:
    response = sandbox.client.open(path, method=method)

    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_a_crash_is_told_in_the_shape_of_every_error(state: SandboxState) -> None:
    def crash(_: float) -> None:
        raise ZeroDivisionError

    sandbox = Sandbox(create_sandbox(state, sleep=crash).test_client())
    sandbox.arm("/any", delay_seconds=1)

    response = sandbox.client.get("/any")

    assert response.status_code == 500
    assert error_of(response)["code"] == "internal_error"


@pytest.mark.parametrize("path", ["/_sandbox/codes", "/_sandbox/nothing", EXCHANGE])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_more_than_64_kib_is_refused(sandbox: Sandbox, path: str, chunked: bool) -> None:
    response = post(sandbox, path, body=b" " * (64 * 1024 + 1), chunked=chunked)

    assert response.status_code == 413
    assert error_of(response)["code"] == "request_too_large"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_64_kib_is_read(sandbox: Sandbox, chunked: bool) -> None:
    response = post(sandbox, "/_sandbox/codes", body=b" " * (64 * 1024), chunked=chunked)

    assert response.status_code == 200


def post(sandbox: Sandbox, path: str, *, body: bytes, chunked: bool) -> Any:
    """Send `body`, if it is `chunked` as a server hands it on: without a length, but with an end."""
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""} if chunked else {}
    return sandbox.client.post(path, data=body, environ_overrides=environ)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
field_names = st.one_of(
    st.sampled_from(["path", "times", "errcode", "status", "body", "delay_seconds", "reset"]),
    st.sampled_from(["openid", "appid", "unionid", "kind", "data", "phoneNumber", "expire", "void"]),
)
field_values = json_values | st.sampled_from(["/any", APPID, "o-1", *KINDS, 1, -1, 502, True])
junk_bodies = st.one_of(
    st.binary(),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(field_names, field_values).map(lambda value: json.dumps(value).encode()),
)


@given(kind=st.sampled_from(KINDS), data=st.dictionaries(st.text(), json_values))
def test_user_data_can_be_anything_that_json_can_say(kind: str, data: dict[str, Any]) -> None:
    client = create_sandbox(SandboxState()).test_client()
    Sandbox(client).code(openid="o-1")

    response = client.post("/_sandbox/user-data", json={"openid": "o-1", "kind": kind, "data": data})

    assert response.status_code in {200, 400}


@given(path=st.sampled_from(["codes", "faults", "user-data", "phone-codes", "tokens"]), body=junk_bodies)
def test_no_body_is_too_much_for_the_control_plane(path: str, body: bytes) -> None:
    client = create_sandbox(SandboxState()).test_client()
    Sandbox(client).code(openid="o-1")

    response = client.post(f"/_sandbox/{path}", data=body)

    assert response.status_code in {200, 201, 400}
    assert response.status_code != 400 or error_of(response)["code"] == "invalid_request"


# Faults that change an answer


@pytest.mark.parametrize(
    "changes", [{"expires_in": 7200}, {"errcode": 0, "errmsg": "ok"}, {"unionid": None}, {"openid": "o/p"}]
)
def test_an_answer_is_changed_after_the_work_is_done(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    sandbox.arm(changes=changes)
    code = sandbox.code(openid="o-1")

    session = sandbox.exchange(code)

    assert session == session | {"openid": "o-1"} | changes
    assert sandbox.errcode(code) == 40163


def test_an_errcode_is_changed_into_a_string(sandbox: Sandbox) -> None:
    sandbox.arm(errcode=40029, changes={"errcode": "40029"})

    assert sandbox.exchange(sandbox.code())["errcode"] == "40029"


def test_changes_leave_what_is_no_object_alone(sandbox: Sandbox) -> None:
    sandbox.arm(body="<html>", changes={"errcode": 1})
    sandbox.arm(body="[]", changes={"errcode": 1})

    assert [sandbox.exchange_response(sandbox.code()).text for _ in range(2)] == ["<html>", "[]"]


def test_an_answer_has_another_media_type(sandbox: Sandbox) -> None:
    sandbox.arm(content_type="text/html; charset=gbk")

    answer = sandbox.exchange_response(sandbox.code())

    assert answer.headers["Content-Type"] == "text/html; charset=gbk"
    assert "openid" in answer.get_json(force=True)


def test_a_body_has_the_users_live_key_in_it(sandbox: Sandbox) -> None:
    sandbox.arm(body="<p>OPENID SESSION_KEY</p>", status=502)
    code = sandbox.code(openid="o-1")

    answer = sandbox.exchange_response(code)

    session = sandbox.exchange(code)
    assert (answer.status_code, answer.text) == (502, f"<p>o-1 {session['session_key']}</p>")


def test_a_body_about_nobody_stays_as_it_is(sandbox: Sandbox) -> None:
    sandbox.arm(body="OPENID")

    assert sandbox.exchange_response("unknown").text == "OPENID"


@pytest.mark.parametrize(("lifetime", "errcode"), [(0, 40029), (1, 0)])
def test_a_code_can_be_one_that_expires_soon(sandbox: Sandbox, clock: Clock, lifetime: int, errcode: int) -> None:
    code = sandbox.code(expires_in=lifetime)

    assert sandbox.errcode(code) == errcode


# Where fields go


def listed(sandbox: Sandbox, what: str) -> Any:
    return sandbox.client.get(f"/_sandbox/{what}").json


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/codes?openid=o-1"),
        ("DELETE", "/faults?path=/a"),
        ("GET", "/calls?path=/a"),
        ("DELETE", "?appid=wx1"),
    ],
)
def test_a_query_is_refused_and_changes_nothing(sandbox: Sandbox, method: str, path: str) -> None:
    sandbox.arm(path="/a", errcode=-1)

    answer = sandbox.client.open(f"/_sandbox{path}", method=method)

    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_request")
    assert [fault["path"] for fault in listed(sandbox, "faults")] == ["/a"]


@pytest.mark.parametrize("path", ["/a?x=1", "/a#x", "a", "", 1, "/_sandbox/calls"])
@pytest.mark.parametrize("what", ["faults", "limits"])
def test_what_is_no_path_of_wechats_is_refused(sandbox: Sandbox, what: str, path: object) -> None:
    fields = {"errcode": -1} if what == "faults" else {"calls": 1}

    assert sandbox.client.post(f"/_sandbox/{what}", json={"path": path, **fields}).status_code == 400


def test_what_is_still_to_fail_and_what_is_limited_can_be_seen(sandbox: Sandbox) -> None:
    sandbox.arm(path="/a", errcode=-1, times=3)
    sandbox.arm(path="/b", reset=True)
    limit = {"path": "/c", "calls": 5, "seconds": 60, "per": "user", "errcode": 45011}
    sandbox.client.post("/_sandbox/limits", json={"path": "/c", "calls": 5})

    sandbox.client.get("/a")

    faults = listed(sandbox, "faults")
    assert [(fault["path"], fault["times"]) for fault in faults] == [("/a", 2), ("/b", 1)]
    assert listed(sandbox, "limits") == [limit]


@pytest.mark.parametrize("levels", [99, 600, 20_000])
@pytest.mark.parametrize("value", ["[]", '{"a":0}'])
def test_what_is_nested_too_deeply_is_refused_and_nothing_is_armed(
    sandbox: Sandbox, levels: int, value: str
) -> None:
    changes = '{"a":' + "[" * levels + value + "]" * levels + "}"

    answer = sandbox.client.post("/_sandbox/faults", data=f'{{"path":"/a","changes":{changes}}}')

    assert answer.status_code == 400
    assert listed(sandbox, "faults") == []


def test_many_brackets_side_by_side_and_in_texts_are_not_deep(sandbox: Sandbox) -> None:
    changes = {"side by side": [[]] * 300, "text": "[" * 300 + '"' + "{" * 300}

    sandbox.arm(path="/a", changes=changes)

    assert listed(sandbox, "faults")[0]["changes"] == changes


def test_the_key_that_a_fault_puts_in_is_not_shown(sandbox: Sandbox) -> None:
    session = sandbox.log_in(openid="o-1")
    sandbox.arm(path="/wxa/x", body="<p>OPENID SESSION_KEY</p>")

    answer = sandbox.client.get("/wxa/x", query_string={"openid": "o-1", "appid": APPID})

    told = sandbox.client.application.extensions[MESSAGES].after(0, seconds=0)
    assert answer.get_data(as_text=True) == f"<p>o-1 {session['session_key']}</p>"
    assert told[-1].content == {"body": f"<p>o-1 {MASK}</p>"}
    assert session["session_key"] not in "".join(each.as_json() for each in told)


@pytest.mark.parametrize("name", ["secret", "appsecret", "access_token", "component_access_token", "signature"])
def test_no_call_is_listed_with_a_secret(sandbox: Sandbox, name: str) -> None:
    sandbox.client.get("/cgi-bin/x", query_string={name: "canary"})

    assert sandbox.calls()[0]["query"] == {name: "***"}
