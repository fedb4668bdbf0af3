"""``/user-data`` through HTTP: data that WeChat encrypted or signed for this user, and nothing else."""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from typing import Any

import pytest

from tests.conftest import Clock
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from wxlogin.app import create_app
from wxlogin.services import Services
from wxlogin.settings import Settings

SOMEBODY = "oSomebodyElse0123456789abcde"


@pytest.fixture
def phone(mini_program: MiniProgram) -> MiniProgram:
    mini_program.log_in()
    return mini_program


def decrypt(phone: MiniProgram, data: dict[str, str], *, body_as: str = "json") -> Answer:
    body = {name: data[name] for name in ("encryptedData", "iv")}
    return phone.send("POST", "/user-data/decrypt", headers={"sessionid": phone.stored}, **{body_as: body})


def verify(phone: MiniProgram, raw_data: str, signature: str) -> Answer:
    body = {"rawData": raw_data, "signature": signature}
    return phone.send("POST", "/user-data/verify", headers={"sessionid": phone.stored}, json=body)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("user_info", {"nickName", "gender", "language", "city", "province", "country", "avatarUrl"}),
        ("phone_number", {"phoneNumber", "purePhoneNumber", "countryCode"}),
        ("share", {"openGId"}),
        ("werun", {"stepInfoList"}),
    ],
)
def test_each_kind_is_decrypted_without_its_watermark_and_the_users_ids(
    phone: MiniProgram, sandbox: Sandbox, kind: str, expected: set[str]
) -> None:
    answer = decrypt(phone, sandbox.user_data(openid=phone.openid, kind=kind))

    assert (answer.status, set(answer.json)) == (200, expected)


def test_the_users_ids_are_in_the_answer_where_that_is_wished(settings: Settings, sandbox: Sandbox) -> None:
    exposing = dataclasses.replace(settings, expose_openid=True)
    phone = MiniProgram(in_process(create_app(Services.build(exposing))), sandbox)
    phone.log_in()

    assert decrypt(phone, sandbox.user_data(openid=phone.openid)).json["openId"] == phone.openid


def test_a_login_on_a_second_device_breaks_nothing(phone: MiniProgram, send: Send, sandbox: Sandbox) -> None:
    MiniProgram(send, sandbox).log_in()  # WeChat gives the user a new key, which the phone's session has not

    assert decrypt(phone, sandbox.user_data(openid=phone.openid)).status == 200


def test_a_login_on_a_second_device_between_getting_and_sending_breaks_nothing(
    phone: MiniProgram, send: Send, sandbox: Sandbox
) -> None:
    data = sandbox.user_data(openid=phone.openid)
    MiniProgram(send, sandbox).log_in()

    assert decrypt(phone, data).status == 200


def test_a_login_on_the_same_device_between_getting_and_sending_breaks_nothing(
    phone: MiniProgram, sandbox: Sandbox
) -> None:
    """The new session takes the place of the old one, and the data was encrypted with the old one's key."""
    data = sandbox.user_data(openid=phone.openid)
    code, headers = sandbox.issue_code(openid=phone.openid), {"sessionid": phone.stored}
    phone.stored = phone.send("POST", "/login", json={"code": code}, headers=headers).set_cookie

    assert decrypt(phone, data).status == 200


def test_what_was_signed_before_a_login_is_valid_after_it(phone: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=phone.openid)
    code, headers = sandbox.issue_code(openid=phone.openid), {"sessionid": phone.stored}
    phone.stored = phone.send("POST", "/login", json={"code": code}, headers=headers).set_cookie

    assert verify(phone, data["rawData"], data["signature"]).json == {"valid": True}


def test_blanks_for_pluses_are_repaired(phone: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=phone.openid, kind="werun")
    spoilt = {name: value.replace("+", " ") for name, value in data.items()}

    assert decrypt(phone, spoilt).status == 200


def test_a_form_is_as_good(phone: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=phone.openid)

    assert decrypt(phone, data, body_as="data").status == 200


def flipped(text: str, position: int) -> str:
    data = bytearray(b64decode(text))
    data[position] ^= 1
    return b64encode(data).decode()


SPOILT = [
    lambda data: {"iv": flipped(data["iv"], 0)},
    lambda data: {"iv": flipped(data["iv"], 15)},
    lambda data: {"iv": "AAAA"},
    lambda data: {"iv": "not base64!"},
    lambda data: {"encryptedData": flipped(data["encryptedData"], -1)},
    lambda data: {"encryptedData": flipped(data["encryptedData"], 40)},
    lambda data: {"encryptedData": data["encryptedData"][:-4]},
    lambda data: {"encryptedData": data["encryptedData"][:24]},
    lambda data: {"encryptedData": ""},
    lambda data: {"encryptedData": "码"},
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_whatever_is_wrong_with_the_data_the_answer_is_the_same(
    phone: MiniProgram, sandbox: Sandbox, spoil: Any
) -> None:
    data = sandbox.user_data(openid=phone.openid)

    answer = decrypt(phone, {**data, **spoil(data)})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (409, "session_key_stale", False)
    assert {name for name in answer.error if name != "request_id"} == {"code", "message", "retryable"}


def test_another_users_data_is_refused(phone: MiniProgram, send: Send, sandbox: Sandbox) -> None:
    MiniProgram(send, sandbox, openid=SOMEBODY).log_in()

    assert decrypt(phone, sandbox.user_data(openid=SOMEBODY)).error["code"] == "session_key_stale"


def test_another_apps_data_is_refused(phone: MiniProgram, sandbox: Sandbox) -> None:
    watermark = {"timestamp": 1, "appid": "wx0000000000000000"}

    data = sandbox.user_data(openid=phone.openid, data={"watermark": watermark})

    assert decrypt(phone, data).error["code"] == "session_key_stale"


@pytest.mark.parametrize(("age", "status"), [(599, 200), (602, 409)])
def test_data_that_is_too_old_is_refused_where_that_is_wished(
    settings: Settings, sandbox: Sandbox, clock: Clock, age: int, status: int
) -> None:
    strict = dataclasses.replace(settings, watermark_max_age_seconds=600)
    phone = MiniProgram(in_process(create_app(Services.build(strict, clock=clock))), sandbox)
    phone.log_in()
    watermark = {"timestamp": int(clock.now) - age, "appid": settings.appid}

    data = sandbox.user_data(openid=phone.openid, kind="phone_number", data={"watermark": watermark})

    assert decrypt(phone, data).status == status


def test_the_profile_that_wechat_signed_is_valid(phone: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=phone.openid, data={"nickName": "小明 😀"})

    assert verify(phone, data["rawData"], data["signature"]).json == {"valid": True}


@pytest.mark.parametrize(
    "forge",
    [
        lambda raw, signature: (raw + " ", signature),
        lambda raw, signature: (raw, signature[:-1]),
        lambda raw, signature: (raw, ""),
        lambda raw, signature: (raw, "码" * 40),
        lambda raw, signature: ("{}", signature),
    ],
)
def test_anything_else_is_not_valid(phone: MiniProgram, sandbox: Sandbox, forge: Any) -> None:
    data = sandbox.user_data(openid=phone.openid)

    answer = verify(phone, *forge(data["rawData"], data["signature"]))

    assert (answer.status, answer.json) == (200, {"valid": False})


@pytest.mark.parametrize("path", ["/user-data/decrypt", "/user-data/verify"])
@pytest.mark.parametrize(
    "body", [{}, {"encryptedData": 1, "iv": []}, {"rawData": {}, "signature": None}, {"x": "y"}]
)
def test_a_body_of_another_shape_is_refused(phone: MiniProgram, path: str, body: dict[str, Any]) -> None:
    answer = phone.send("POST", path, headers={"sessionid": phone.stored}, json=body)

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")


def test_what_is_wrong_with_a_body_is_said_in_the_words_of_its_sender(phone: MiniProgram) -> None:
    answer = phone.send("POST", "/user-data/decrypt", headers={"sessionid": phone.stored}, json={"iv": 1})

    assert answer.error["message"] == "encryptedData: Missing data for required field. iv: Not a valid string."


@pytest.mark.parametrize(
    ("path", "body"),
    [("decrypt", {"encryptedData": "AAAA", "iv": "AAAA"}), ("verify", {"rawData": "{}", "signature": "a"})],
)
def test_nobody_can_have_nothing_decrypted_or_verified(send: Send, path: str, body: dict[str, str]) -> None:
    assert send("POST", f"/user-data/{path}", json=body).error["code"] == "not_logged_in"
