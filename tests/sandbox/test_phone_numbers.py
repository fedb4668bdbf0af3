"""Phone codes, and the numbers they stand for."""

import re
from typing import Any

import pytest
from flask import Flask

from tests.sandbox.drivers import APPID, OTHER_APPID, PHONE_NUMBER, Clock, Sandbox, in_twenty_threads
from wxlogin.sandbox.state import SandboxState


def test_a_phone_code_is_64_hex_digits(sandbox: Sandbox) -> None:
    response = sandbox.client.post("/_sandbox/phone-codes")

    assert re.fullmatch(r'\{"code":"[0-9a-f]{64}"\}\n', response.text)


def test_no_two_phone_codes_are_the_same(sandbox: Sandbox) -> None:
    assert sandbox.phone_code() != sandbox.phone_code()


def test_a_phone_code_is_exchanged_for_its_number(sandbox: Sandbox) -> None:
    code = sandbox.phone_code(phoneNumber="13912345678")

    answer = sandbox.phone_number(code=code)

    assert answer["phone_info"]["phoneNumber"] == "13912345678"


def test_a_success_is_compact_json_in_the_documented_order(sandbox: Sandbox, clock: Clock) -> None:
    code = sandbox.phone_code()
    issued_at = int(clock.now)
    clock.advance(100)

    response = sandbox.client.post(
        PHONE_NUMBER, query_string={"access_token": sandbox.fetch_token()}, json={"code": code}
    )

    assert response.text == (
        '{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":"13580006666","purePhoneNumber":"13580006666",'
        f'"countryCode":"86","watermark":{{"timestamp":{issued_at},"appid":"{APPID}"}}}}}}'
    )


def test_a_phone_code_works_once(sandbox: Sandbox) -> None:
    code = sandbox.phone_code()
    sandbox.phone_number(code=code)

    assert sandbox.phone_number(code=code)["errcode"] == 40029


@pytest.mark.usefixtures("restless_threads")
def test_of_twenty_threads_exchanging_one_phone_code_exactly_one_succeeds(app: Flask, sandbox: Sandbox) -> None:
    code = sandbox.phone_code()

    errcodes = in_twenty_threads(app, lambda sandbox: sandbox.phone_number(code=code)["errcode"])

    assert sorted(errcodes) == [0] + 19 * [40029]


@pytest.mark.parametrize(("age", "errcode"), [(299.9, 0), (300, 40029)])
def test_a_phone_code_lives_five_minutes(sandbox: Sandbox, clock: Clock, age: float, errcode: int) -> None:
    code = sandbox.phone_code()
    clock.advance(age)

    assert sandbox.phone_number(code=code)["errcode"] == errcode


def test_a_login_code_is_no_phone_code(sandbox: Sandbox) -> None:
    code = sandbox.code()

    assert sandbox.phone_number(code=code)["errcode"] == 40029
    assert sandbox.errcode(code) == 0


def test_a_phone_code_is_no_login_code(sandbox: Sandbox) -> None:
    code = sandbox.phone_code()

    assert sandbox.errcode(code) == 40029
    assert sandbox.phone_number(code=code)["errcode"] == 0


def test_an_invalid_code_is_told_with_a_hint(sandbox: Sandbox) -> None:
    answer = sandbox.phone_number(code="unknown")

    assert re.fullmatch(
        r"invalid code hint: \[[A-Za-z0-9_-]{16}\] rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", answer["errmsg"]
    )


@pytest.mark.parametrize("fields", [{}, {"code": ""}, {"code": None}, {"openid": "o-1"}])
def test_a_body_without_a_code_is_refused(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    response = sandbox.client.post(PHONE_NUMBER, query_string={"access_token": sandbox.fetch_token()}, json=fields)

    assert response.get_json(force=True)["errcode"] == 40029


@pytest.mark.parametrize(
    ("issued_for", "asked_for", "errcode"),
    [
        ("o-1", "o-1", 0),
        ("o-1", None, 0),
        ("o-1", "", 0),
        ("o-1", "o-2", 40029),
        (None, "o-2", 0),
        (None, None, 0),
    ],
)
def test_an_openid_has_to_be_that_of_the_code(
    sandbox: Sandbox, issued_for: str | None, asked_for: str | None, errcode: int
) -> None:
    code = sandbox.phone_code(**({"openid": issued_for} if issued_for else {}))

    assert sandbox.phone_number(code=code, openid=asked_for)["errcode"] == errcode


def test_an_exchange_with_the_wrong_openid_spends_the_code(sandbox: Sandbox) -> None:
    code = sandbox.phone_code(openid="o-1")
    sandbox.phone_number(code=code, openid="o-2")

    assert sandbox.phone_number(code=code, openid="o-1")["errcode"] == 40029


def test_a_phone_code_is_of_no_use_to_another_app(sandbox: Sandbox) -> None:
    code = sandbox.phone_code(appid=OTHER_APPID)

    assert sandbox.phone_number(code=code)["errcode"] == 40013


def test_nothing_posted_is_told_apart(sandbox: Sandbox) -> None:
    response = sandbox.client.post(PHONE_NUMBER, query_string={"access_token": sandbox.fetch_token()})

    assert response.get_json(force=True)["errcode"] == 44002
    assert "empty post data rid: " in response.text


@pytest.mark.parametrize(
    "body", [b"code=%s", b'{"code":"%s"', b'["%s"]', b'"%s"', b'{"code":["%s"]}', b'{"code":"%s","openid":1}']
)
def test_a_body_that_is_not_right_is_refused(sandbox: Sandbox, body: bytes) -> None:
    code = sandbox.phone_code()

    response = sandbox.client.post(
        PHONE_NUMBER, query_string={"access_token": sandbox.fetch_token()}, data=body % code.encode()
    )

    assert response.get_json(force=True)["errcode"] == 47001
    assert sandbox.phone_number(code=code)["errcode"] == 0


def test_a_form_is_refused(sandbox: Sandbox) -> None:
    response = sandbox.client.post(
        PHONE_NUMBER, query_string={"access_token": sandbox.fetch_token()}, data={"code": sandbox.phone_code()}
    )

    assert response.get_json(force=True)["errcode"] == 47001


@pytest.mark.parametrize(
    "fields",
    [
        {"appid": "wx0000000000000000"},
        {"appid": 1},
        {"openid": "o 1"},
        {"openid": None},
        {"phoneNumber": ""},
        {"phoneNumber": 13580006666},
        {"phoneNumber": "x"},
        {"phoneNumber": 33 * "1"},
        {"phone_number": "13580006666"},
    ],
)
def test_asking_for_a_phone_code_that_makes_no_sense_is_refused(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    response = sandbox.client.post("/_sandbox/phone-codes", json=fields)

    assert response.status_code == 400
    assert response.get_json()["error"]["code"] == "invalid_request"


def test_forgotten_phone_codes_are_unknown(sandbox: Sandbox) -> None:
    code = sandbox.phone_code()

    sandbox.client.delete("/_sandbox")

    assert sandbox.phone_number(code=code)["errcode"] == 40029


def test_a_phone_code_does_not_show_its_secrets(state: SandboxState) -> None:
    issued = state.issue_phone_code(phone_number="13912345678")

    assert issued.code not in repr(issued)
    assert "13912345678" not in repr(issued)
