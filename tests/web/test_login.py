"""``POST /login`` through HTTP: a code goes in, a session cookie comes out."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest
from redis import Redis

from tests.conftest import APPID, Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app


def test_a_code_is_exchanged_for_a_session_cookie_and_nothing_else(mini_program: MiniProgram) -> None:
    answer = mini_program.log_in()

    assert answer.status == 200
    assert answer.json == {"expires_in": 30 * 86400}
    assert answer.set_cookie.startswith("sessionid=")
    assert mini_program.whoami().status == 200


def test_the_cookie_has_max_age_and_no_expires(mini_program: MiniProgram) -> None:
    cookie = mini_program.log_in().set_cookie

    attributes = cookie.split("; ")[1:]
    assert sorted(attributes) == ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax", "Secure"]


def test_a_login_calls_wechat_exactly_once(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    mini_program.log_in()

    assert [(call["path"], call["errcode"]) for call in sandbox.calls()] == [("/sns/jscode2session", 0)]


def test_a_form_body_is_as_good(send: Send, sandbox: Sandbox) -> None:
    answer = send("POST", "/login", data={"code": sandbox.issue_code()})

    assert answer.status == 200


def test_our_appid_may_be_given(send: Send, sandbox: Sandbox) -> None:
    answer = send("POST", "/login", json={"code": sandbox.issue_code(), "appid": APPID})

    assert answer.status == 200


def test_another_appid_is_refused_before_wechat_is_asked(send: Send, sandbox: Sandbox) -> None:
    answer = send("POST", "/login", json={"code": sandbox.issue_code(), "appid": "wx0000000000000000"})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == []


def test_every_login_makes_a_new_id_and_ends_the_session_of_the_one_that_came_along(
    mini_program: MiniProgram, send: Send, sandbox: Sandbox
) -> None:
    first = mini_program.log_in().session_id
    code = sandbox.issue_code(openid=mini_program.openid)

    second = send("POST", "/login", json={"code": code}, headers={"sessionid": first}).session_id

    assert second != first
    assert send("GET", "/session", headers={"sessionid": first}).status == 401
    assert send("GET", "/session", headers={"sessionid": second}).status == 200


def test_another_users_login_on_the_same_phone_ends_the_session_of_the_first(
    mini_program: MiniProgram, send: Send, sandbox: Sandbox
) -> None:
    first = mini_program.log_in().session_id

    send("POST", "/login", json={"code": sandbox.issue_code()}, headers={"sessionid": first})

    assert send("GET", "/session", headers={"sessionid": first}).status == 401


def test_a_failed_login_leaves_the_session_that_came_along_alone(mini_program: MiniProgram, send: Send) -> None:
    first = mini_program.log_in().session_id

    send("POST", "/login", json={"code": "unknown"}, headers={"sessionid": first})

    assert send("GET", "/session", headers={"sessionid": first}).status == 200


def test_only_an_answer_that_has_a_session_varies_with_what_carries_one(send: Send, sandbox: Sandbox) -> None:
    refused = send("POST", "/login", json={"code": "unknown"}, headers={"sessionid": "x"})
    answered = send("POST", "/login", json={"code": sandbox.issue_code()})

    assert "Vary" not in refused.headers
    assert answered.headers["Vary"] == "Cookie, Authorization, sessionid"


def test_an_id_that_the_client_chose_is_never_adopted(send: Send, sandbox: Sandbox) -> None:
    chosen = "A" * 59

    answer = send("POST", "/login", json={"code": sandbox.issue_code()}, headers={"sessionid": chosen})

    assert answer.session_id != chosen
    assert send("GET", "/session", headers={"sessionid": chosen}).status == 401


def test_a_second_device_leaves_the_first_logged_in(send: Send, sandbox: Sandbox) -> None:
    phone, tablet = MiniProgram(send, sandbox), MiniProgram(send, sandbox)
    phone.log_in()
    tablet.log_in()

    assert (phone.whoami().status, tablet.whoami().status) == (200, 200)


@pytest.mark.parametrize(
    ("errcode", "status", "code", "retryable", "retry_after"),
    [
        (40029, 400, "invalid_code", False, None),
        (40163, 400, "code_used", False, None),
        (40226, 403, "user_blocked", False, None),
        (45011, 429, "wechat_rate_limited", True, "60"),
        (45009, 429, "wechat_rate_limited", True, "3600"),
        (40013, 500, "wechat_rejected_credentials", False, None),
        (40125, 500, "wechat_rejected_credentials", False, None),
        (40164, 500, "wechat_rejected_credentials", False, None),
        (40243, 500, "wechat_rejected_credentials", False, None),
        (48001, 500, "wechat_rejected_credentials", False, None),
        (44002, 502, "wechat_error", False, None),
    ],
)
def test_what_wechat_refuses_is_told_with_its_errcode(
    send: Send, sandbox: Sandbox, errcode: int, status: int, code: str, retryable: bool, retry_after: str | None
) -> None:
    sandbox.arm(errcode=errcode)

    answer = send("POST", "/login", json={"code": sandbox.issue_code()})

    assert answer.status == status
    assert {name: answer.error[name] for name in ("code", "retryable", "errcode")} == {
        "code": code,
        "retryable": retryable,
        "errcode": errcode,
    }
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.set_cookie == ""
    assert len(sandbox.calls()) == 1


def test_when_wechat_stays_busy_the_same_code_may_be_sent_again(
    mini_program: MiniProgram, sandbox: Sandbox
) -> None:
    code = sandbox.issue_code()
    sandbox.arm(errcode=-1, times=2)

    refused, accepted = mini_program.log_in_with(code), mini_program.log_in_with(code)

    assert (refused.status, refused.error["code"], refused.error["retryable"]) == (503, "wechat_unavailable", True)
    assert (refused.headers["Retry-After"], refused.error["errcode"]) == ("1", -1)
    assert accepted.status == 200


def test_a_code_that_is_sent_again_leads_to_the_same_session(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()

    first, second = mini_program.log_in_with(code), mini_program.log_in_with(code)

    assert (second.status, second.text, second.set_cookie) == (200, first.text, first.set_cookie)
    assert len(sandbox.calls()) == 1


def test_a_code_that_is_sent_again_the_old_way_leads_to_the_same_session(send: Send, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()

    first, second = send("POST", "/login", json={"code": code}), send("GET", f"/getOpenid?code={code}")

    assert (second.status, second.session_id) == (200, first.session_id)


def test_a_code_that_is_sent_again_ends_the_session_that_it_came_with(send: Send, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()
    send("POST", "/login", json={"code": code})
    other = MiniProgram(send, sandbox, openid="oAnother")
    other.log_in()

    send("POST", "/login", json={"code": code}, headers={"sessionid": other.stored})

    assert other.whoami().status == 401


def test_a_code_whose_session_has_ended_is_used_up(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()
    mini_program.log_in_with(code)
    mini_program.log_out()

    answer = mini_program.log_in_with(code)

    assert (answer.status, answer.error["code"], answer.error["errcode"]) == (400, "code_used", 40163)
    assert len(sandbox.calls()) == 1


def test_a_code_whose_session_has_an_id_of_another_version_is_used_up(
    settings: Settings, sandbox: Sandbox, real_redis: Redis
) -> None:
    services = Services.build(settings, watch=lambda _: real_redis)
    code = sandbox.issue_code()
    claim = services.login.exchanges.claim(code, appid=APPID)
    real_redis.eval(*claim.outcome_script("an id of another version"))

    answer = in_process(create_app(services))("POST", "/login", json={"code": code})

    assert (answer.status, answer.error["code"]) == (400, "code_used")
    assert sandbox.calls() == []


def test_a_refused_code_is_refused_again_without_asking_wechat(
    mini_program: MiniProgram, sandbox: Sandbox
) -> None:
    first, second = mini_program.log_in_with("unheard-of"), mini_program.log_in_with("unheard-of")

    assert (first.status, first.error["code"]) == (second.status, second.error["code"]) == (400, "invalid_code")
    assert len(sandbox.calls()) == 1


def test_without_replay_a_used_code_is_refused(settings: Settings, clock: Clock, sandbox: Sandbox) -> None:
    strict = dataclasses.replace(settings, login_replay_seconds=0)
    mini_program = MiniProgram(in_process(create_app(Services.build(strict, clock=clock))), sandbox)
    code = sandbox.issue_code()
    mini_program.log_in_with(code)

    answer = mini_program.log_in_with(code)

    assert (answer.status, answer.error["code"]) == (400, "code_used")
    assert len(sandbox.calls()) == 2


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 500}, 502, "wechat_error"),
        ({"body": "<html>busy</html>"}, 502, "wechat_error"),
        ({"body": "{}"}, 502, "wechat_error"),
        ({"body": '{"openid":"o\\r\\nX-Admin: 1","session_key":"k"}'}, 502, "wechat_error"),
        ({"reset": True}, 504, "wechat_timeout"),
    ],
)
def test_what_is_no_answer_of_wechats_is_no_login(
    send: Send, sandbox: Sandbox, fault: dict[str, Any], status: int, code: str
) -> None:
    sandbox.arm(**fault)

    answer = send("POST", "/login", json={"code": sandbox.issue_code()})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (status, code, False)
    assert answer.set_cookie == ""


def test_an_answer_that_comes_too_late_is_a_timeout(settings: Settings, sandbox: Sandbox) -> None:
    hasty = dataclasses.replace(settings, wechat_read_timeout_seconds=0.2)
    sandbox.arm(delay_seconds=1)

    answer = in_process(create_app(Services.build(hasty)))("POST", "/login", json={"code": sandbox.issue_code()})

    assert (answer.status, answer.error["code"]) == (504, "wechat_timeout")


def test_wechat_out_of_reach_leaves_the_code_unspent(settings: Settings, sandbox: Sandbox) -> None:
    nowhere = dataclasses.replace(settings, wechat_api_url="http://127.0.0.1:1")

    answer = in_process(create_app(Services.build(nowhere)))("POST", "/login", json={"code": sandbox.issue_code()})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "wechat_unavailable", True)
    assert answer.headers["Retry-After"] == "1"


BAD_CODES = [
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a\t",
    "a" * 129,
    "a&appid=wxevil",
    "a&secret=x",
    "a#",
    "a?",
    "../../cgi-bin/token",
    "http://evil/",
    "a\x00",
    "a\r\n",
    "a\n",
    "\u200b",
    "\u0430",
    "\U0001f600",
    "\ud800",
    "the code is a mock one",
]


@pytest.mark.parametrize("code", BAD_CODES)
def test_a_code_that_cannot_be_one_is_refused_before_wechat_is_asked(
    send: Send, sandbox: Sandbox, code: str
) -> None:
    answer = send("POST", "/login", json={"code": code})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == []


@pytest.mark.parametrize("code", ["a", "a" * 128])
def test_a_code_of_any_likely_length_is_put_to_wechat(send: Send, sandbox: Sandbox, code: str) -> None:
    answer = send("POST", "/login", json={"code": code})

    assert answer.error["code"] == "invalid_code"
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '"x"',
        "1",
        "{}",
        '{"code": "a"} trailing',
        "{'code': 'a'}",
        '{"code": "a" /* b */}',
        '{"code": "a\n"}',
        '{"code": 1}',
        '{"code": true}',
        '{"code": null}',
        '{"code": ["a"]}',
        '{"code": {"a": "b"}}',
        '{"code": NaN}',
        '{"code": Infinity}',
        '{"code": ' + "1" * 5000 + "}",
        '{"code": "a", "code": "b"}',
        '{"code": "a", "\\u0063ode": "b"}',
        '{"code": "a", "openid": "o"}',
        '{"code": "a", "session_key": "k"}',
        '{"code": "a", "__proto__": {}}',
        '{"\\ud800": 1}',
        '{"code": "a", "\\udfff": "b"}',
        '{"code": {"\\ud800": 1}}',
        '{"code": "a", "appid": 1}',
        '{"code": ' + "[" * 990 + "]" * 990 + "}",
        '{"code": ' + "[" * 8000 + "]" * 8000 + "}",
        json.dumps({f"key{number}": 1 for number in range(4000)}),
        '{"' + "k" * 15000 + '": 1}',
    ],
)
def test_a_body_that_is_not_the_one_object_is_refused(send: Send, sandbox: Sandbox, body: str) -> None:
    answer = send("POST", "/login", data=body, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert len(answer.error["message"]) < 200
    assert sandbox.calls() == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "gbk"])
def test_a_body_in_another_encoding_is_refused(send: Send, encoding: str) -> None:
    body = '{"code": "a", "码": "b"}'.encode(encoding)

    answer = send("POST", "/login", data=body, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
        "application/jsonx",
        "application/json, text/plain",
        "application/vnd.api+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
        "application/x-www-form-urlencoded; charset=gbk",
    ],
)
def test_another_content_type_is_refused(send: Send, content_type: str) -> None:
    answer = send("POST", "/login", data='{"code":"a"}', headers={"Content-Type": content_type})

    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
def test_the_usual_spellings_of_json_are_accepted(send: Send, sandbox: Sandbox, content_type: str) -> None:
    body = json.dumps({"code": sandbox.issue_code()})

    answer = send("POST", "/login", data=body, headers={"Content-Type": content_type})

    assert answer.status == 200


@pytest.mark.parametrize("body", ["code=a&code=b", "code=a&other=b", "", "appid=x", "code=%ff", "code=%00"])
def test_a_form_that_is_not_the_one_form_is_refused(send: Send, sandbox: Sandbox, body: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = send("POST", "/login", data=body, headers=headers)

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == []


@pytest.mark.parametrize("failure", [RuntimeError("a chunk that is none"), ConnectionResetError("gone")])
def test_a_body_that_does_not_arrive_whole_is_refused(send: Send, sandbox: Sandbox, failure: Exception) -> None:
    class CutOff(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise failure

    headers = {"Content-Type": "application/json"}

    chunked = {"wsgi.input": CutOff(), "wsgi.input_terminated": True}
    answer = send("POST", "/login", headers=headers, environ_overrides=chunked)

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert "field" not in answer.error["message"]
    assert sandbox.calls() == []


def test_a_code_in_the_query_is_refused(send: Send, sandbox: Sandbox) -> None:
    answer = send("POST", "/login?code=q", json={"code": sandbox.issue_code()})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
    ],
)
def test_a_login_that_another_sites_page_makes_is_refused(
    send: Send, sandbox: Sandbox, headers: dict[str, str]
) -> None:
    answer = send("POST", "/login", data={"code": sandbox.issue_code()}, headers=headers)

    assert (answer.status, answer.error["code"]) == (403, "cross_site_request")
    assert sandbox.calls() == []


def test_the_developer_tools_scripts_may_log_in(send: Send, sandbox: Sandbox) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}

    answer = send("POST", "/login", json={"code": sandbox.issue_code()}, headers=headers)

    assert answer.status == 200


def test_the_session_id_is_in_the_body_where_that_is_wished(settings: Settings, sandbox: Sandbox) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, session_id_in_body=True)))

    answer = in_process(app)("POST", "/login", json={"code": sandbox.issue_code()})

    assert answer.json == {"expires_in": 30 * 86400, "session_id": answer.session_id}


def test_the_openid_is_in_the_body_where_that_is_wished(settings: Settings, sandbox: Sandbox) -> None:
    mini_program = MiniProgram(
        in_process(create_app(Services.build(dataclasses.replace(settings, expose_openid=True)))), sandbox
    )

    answer = mini_program.log_in()

    assert answer.json == {"expires_in": 30 * 86400, "openid": mini_program.openid}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cookie_secure": False}, "Max-Age=2592000; HttpOnly; Path=/; SameSite=Lax"),
        ({"cookie_httponly": False}, "Max-Age=2592000; Secure; Path=/; SameSite=Lax"),
        ({"cookie_samesite": "None"}, "Max-Age=2592000; Secure; HttpOnly; Path=/; SameSite=None"),
        ({"cookie_path": "/api"}, "Max-Age=2592000; Secure; HttpOnly; Path=/api; SameSite=Lax"),
        ({"session_max_seconds": 700000}, "Max-Age=700000; Secure; HttpOnly; Path=/; SameSite=Lax"),
    ],
)
def test_the_cookies_attributes_are_settings(
    settings: Settings, sandbox: Sandbox, change: dict[str, Any], expected: str
) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, **change)))

    answer = in_process(app)("POST", "/login", json={"code": sandbox.issue_code()})

    assert answer.set_cookie.partition("; ")[2] == expected
