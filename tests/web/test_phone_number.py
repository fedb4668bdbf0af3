"""``POST /phone-number``: the user's own phone number, for a code of a button, and never written down."""

from __future__ import annotations

import dataclasses
import logging
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

PATH = "/wxa/business/getuserphonenumber"
STABLE, OLDER = "/cgi-bin/stable_token", "/cgi-bin/token"
SOMEBODY = "oSomebodyElse0123456789abcde"
PLANTED_NUMBER = "8613512345678"


@pytest.fixture
def phone(mini_program: MiniProgram) -> MiniProgram:
    mini_program.log_in()
    return mini_program


def ask(phone: MiniProgram, code: str | None = None) -> Answer:
    """Press the button and send its code, or another one."""
    return phone.post("/phone-number", json={"code": code or phone.sandbox.phone_code(openid=phone.openid)})


def test_a_code_is_exchanged_for_the_users_phone_number(phone: MiniProgram, sandbox: Sandbox) -> None:
    answer = ask(phone, sandbox.phone_code(openid=phone.openid, phoneNumber=PLANTED_NUMBER))

    assert answer.status == 200
    assert answer.text.strip() == (
        f'{{"phoneNumber":"{PLANTED_NUMBER}","purePhoneNumber":"{PLANTED_NUMBER}","countryCode":"86"}}'
    )


def test_a_form_will_do(phone: MiniProgram, sandbox: Sandbox) -> None:
    assert phone.post("/phone-number", data={"code": sandbox.phone_code(openid=phone.openid)}).status == 200


def test_the_country_code_is_text_whatever_wechat_sends(phone: MiniProgram, sandbox: Sandbox) -> None:
    watermark = '"watermark":{"timestamp":1637744274,"appid":"wx4f4bc4dec97d474b"}'
    number = '"phoneNumber":"+852 98765432","purePhoneNumber":"98765432","countryCode":852'
    sandbox.arm(path=PATH, body=f'{{"errcode":0,"errmsg":"ok","phone_info":{{{number},{watermark}}}}}')

    assert ask(phone).json == {"phoneNumber": "+852 98765432", "purePhoneNumber": "98765432", "countryCode": "852"}


def test_a_number_for_another_app_is_not_passed_on(phone: MiniProgram, sandbox: Sandbox) -> None:
    watermark = '"watermark":{"timestamp":1637744274,"appid":"wx00000000000000aa"}'
    number = f'"phoneNumber":"{PLANTED_NUMBER}","purePhoneNumber":"{PLANTED_NUMBER}","countryCode":"86"'
    sandbox.arm(path=PATH, body=f'{{"errcode":0,"phone_info":{{{number},{watermark}}}}}')

    answer = ask(phone)

    assert (answer.status, answer.error["code"]) == (502, "wechat_error")
    assert PLANTED_NUMBER not in answer.text


def test_a_code_works_once(phone: MiniProgram, sandbox: Sandbox) -> None:
    code = sandbox.phone_code(openid=phone.openid)
    ask(phone, code)

    again = ask(phone, code)

    assert (again.status, again.error["code"], again.error["errcode"]) == (400, "invalid_code", 40029)
    assert "new code" in again.error["message"]


def test_somebody_elses_code_is_refused(phone: MiniProgram, sandbox: Sandbox) -> None:
    answer = ask(phone, sandbox.phone_code(openid=SOMEBODY, phoneNumber=PLANTED_NUMBER))

    assert (answer.status, answer.error["code"]) == (400, "invalid_code")
    assert PLANTED_NUMBER not in answer.text


def test_a_login_code_is_none(phone: MiniProgram, sandbox: Sandbox) -> None:
    assert ask(phone, sandbox.issue_code(openid=phone.openid)).error["code"] == "invalid_code"


@pytest.mark.parametrize(
    "code", ["", " ", "a" * 129, "a/b", "a b", "ü", "code\n", "a\0", "the code is a mock one"]
)
def test_what_can_not_be_a_code_costs_no_call(phone: MiniProgram, sandbox: Sandbox, code: str) -> None:
    calls = sandbox.calls()

    answer = phone.post("/phone-number", json={"code": code})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert sandbox.calls() == calls


@pytest.mark.parametrize(
    "body", [{}, {"code": None}, {"code": 1}, {"code": "a", "openid": SOMEBODY}, {"encryptedData": "a"}, [], "a"]
)
def test_another_body_costs_no_call(phone: MiniProgram, sandbox: Sandbox, body: Any) -> None:
    calls = sandbox.calls()

    assert phone.post("/phone-number", json=body).error["code"] == "invalid_request"
    assert sandbox.calls() == calls


@pytest.mark.parametrize("body", [{"json": {"code": "a"}}, {"json": {}}, {"data": b"junk"}])
def test_without_a_session_there_is_nothing_to_ask_for(send: Send, sandbox: Sandbox, body: dict[str, Any]) -> None:
    answer = send("POST", "/phone-number", **body)

    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")
    assert sandbox.calls() == []


def test_after_logging_out_there_is_nothing_to_ask_for(phone: MiniProgram, sandbox: Sandbox) -> None:
    phone.log_out()

    assert ask(phone).status == 401
    assert sandbox.answers(PATH) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_no_other_method_spends_a_code(phone: MiniProgram, sandbox: Sandbox, method: str) -> None:
    assert phone.send(method, "/phone-number", headers={"sessionid": phone.stored}).status == 405
    assert sandbox.answers(PATH) == []


def test_a_code_in_the_address_is_refused(phone: MiniProgram, sandbox: Sandbox) -> None:
    code = sandbox.phone_code(openid=phone.openid)

    assert phone.post(f"/phone-number?code={code}", json={"code": code}).status == 400
    assert sandbox.answers(PATH) == []


def test_a_bad_token_costs_one_more_call_and_one_refresh(phone: MiniProgram, sandbox: Sandbox) -> None:
    ask(phone)
    sandbox.end_tokens(void=True)

    assert ask(phone).status == 200
    assert sandbox.answers(PATH) == [0, 40001, 0]
    assert sandbox.answers(STABLE) == [0, 0]


def test_the_older_endpoint_gives_the_token_where_that_is_wished(settings: Settings, sandbox: Sandbox) -> None:
    older = dataclasses.replace(settings, access_token_api="token")
    phone = MiniProgram(in_process(create_app(Services.build(older))), sandbox)
    phone.log_in()

    assert ask(phone).status == 200
    assert (sandbox.answers(OLDER), sandbox.answers(STABLE)) == ([0], [])


def test_logging_in_needs_no_token(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    sandbox.arm(path=STABLE, errcode=40164, times=9)

    assert mini_program.log_in().status == 200
    assert sandbox.answers(STABLE) == []


def test_if_no_token_can_be_had_the_code_is_not_spent(phone: MiniProgram, sandbox: Sandbox) -> None:
    sandbox.arm(path=STABLE, status=502)
    code = sandbox.phone_code(openid=phone.openid)

    refused = ask(phone, code)

    assert (refused.status, refused.error["code"], refused.error["retryable"]) == (503, "wechat_unavailable", True)
    assert refused.headers["Retry-After"] == "1"
    assert sandbox.answers(PATH) == []


def test_an_answer_that_is_lost_is_told_as_such(phone: MiniProgram, sandbox: Sandbox) -> None:
    sandbox.arm(path=PATH, reset=True)

    answer = ask(phone)

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (504, "wechat_timeout", False)
    assert sandbox.answers(PATH) == [0]


def test_no_number_code_or_id_is_in_a_log_line(
    phone: MiniProgram, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = sandbox.phone_code(openid=phone.openid, phoneNumber=PLANTED_NUMBER)

    ask(phone, code)
    ask(phone, code)
    sandbox.arm(path=PATH, errcode=40001, times=2)
    ask(phone, code)

    lines = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "answered" in lines
    for secret in (code, PLANTED_NUMBER, phone.openid, "61_"):  # so begins a token of the sandbox's
        assert not any(form in lines for form in (secret, quote(secret), b64encode(secret.encode()).decode()))
