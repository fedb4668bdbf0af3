from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.wechat.drivers import (
    ACCESS_TOKEN,
    APPID,
    OK,
    OPENID,
    PHONE_INFO,
    PHONE_NUMBER,
    SESSION_KEY,
    UNIONID,
    UNUSABLE_IDS,
)
from wxlogin.wechat.api.errors import InvalidResponse
from wxlogin.wechat.api.models import (
    AccessToken,
    CodeSession,
    PhoneNumber,
    access_token_of,
    check_is_ok,
    code_session_of,
    phone_number_of,
    session_key_of,
)

ANSWER = {"openid": OPENID, "session_key": SESSION_KEY}


def test_an_answer_becomes_a_code_session() -> None:
    session = code_session_of({**ANSWER, "unionid": UNIONID})

    assert session == CodeSession(openid=OPENID, session_key=SESSION_KEY, unionid=UNIONID)


@pytest.mark.parametrize("answer", [ANSWER, {**ANSWER, "unionid": None}, {**ANSWER, "unionid": ""}])
def test_an_app_that_is_not_bound_has_no_unionid(answer: dict[str, Any]) -> None:
    session = code_session_of(answer)

    assert session.unionid is None


def test_unknown_fields_are_ignored() -> None:
    session = code_session_of({**ANSWER, "expires_in": 7200, "nickname": "\x00"})

    assert session == CodeSession(openid=OPENID, session_key=SESSION_KEY)


@pytest.mark.parametrize("value", ["o", "o" * 128, "-_", "0"])
def test_ids_are_url_safe_and_of_any_usual_length(value: str) -> None:
    session = code_session_of({**ANSWER, "openid": value, "unionid": value})

    assert (session.openid, session.unionid) == (value, value)


@pytest.mark.parametrize("value", ["o" * 129, "o o", "o+o", "o/o", "o=", "ｏ", "o\x7f", " o", "o "])
@pytest.mark.parametrize("name", ["openid", "unionid"])
def test_other_ids_are_unusable(name: str, value: str) -> None:
    with pytest.raises(InvalidResponse):
        code_session_of({**ANSWER, name: value})


@pytest.mark.parametrize("value", ["tiihtNczf5v6AKRyjwEUhQ==", "+/" * 11 + "=="])
def test_session_keys_are_base64_of_16_bytes(value: str) -> None:
    session = code_session_of({**ANSWER, "session_key": value})

    assert session.session_key == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "k",
        "k" * 24,
        "k" * 22,
        "k" * 20 + "==",
        "k" * 21 + "===",
        "k" * 20,
        "k" * 22 + "=",
        "-" * 22 + "==",
        "k" * 22 + "==\n",
        "k" * 86 + "==",
        "ｋ",
    ],
)
def test_other_session_keys_are_unusable(value: str) -> None:
    with pytest.raises(InvalidResponse):
        code_session_of({**ANSWER, "session_key": value})


@pytest.mark.parametrize("value", UNUSABLE_IDS.values(), ids=UNUSABLE_IDS)
@pytest.mark.parametrize("name", ANSWER)
def test_an_unusable_field_is_named_and_not_shown(name: str, value: object) -> None:
    with pytest.raises(InvalidResponse) as raised:
        code_session_of({**ANSWER, name: value})

    assert str(raised.value) == f"the answer has no usable {name}"


VALUES = [
    CodeSession(openid=OPENID, session_key=SESSION_KEY, unionid=UNIONID),
    AccessToken(ACCESS_TOKEN, 7200),
    PhoneNumber(PHONE_NUMBER, PHONE_NUMBER, "86"),
]
all_values = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@all_values
def test_a_value_shows_nothing_of_itself(value: Any) -> None:
    assert repr(value) == f"{type(value).__name__}()"


@all_values
def test_a_value_does_not_change(value: Any) -> None:
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, "o")


# Access tokens


@pytest.mark.parametrize("seconds", [1, 345, 7200, 86_400])
def test_an_answer_becomes_an_access_token(seconds: int) -> None:
    token = access_token_of({"access_token": ACCESS_TOKEN, "expires_in": seconds})

    assert token == AccessToken(ACCESS_TOKEN, seconds)


@pytest.mark.parametrize("seconds", [None, 0, -1, 86_401, True, 7200.0, "7200", [7200]])
def test_a_token_without_a_usable_lifetime_is_unusable(seconds: object) -> None:
    with pytest.raises(InvalidResponse, match="expires_in"):
        access_token_of({"access_token": ACCESS_TOKEN, "expires_in": seconds})


@pytest.mark.parametrize("value", ["t" * 512, "t" * 2048, "61_-/+=~!"])
def test_tokens_are_visible_ascii_with_room_to_grow(value: str) -> None:
    assert access_token_of({"access_token": value, "expires_in": 7200}).value == value


@pytest.mark.parametrize("value", [None, "", "t" * 2049, "t t", "t\n", "t\x00", "ｔ", 1, True, ["t"]])
def test_other_tokens_are_unusable(value: object) -> None:
    with pytest.raises(InvalidResponse, match=r"access_token$"):
        access_token_of({"access_token": value, "expires_in": 7200})


# Phone numbers


def phone_answer(**changes: Any) -> dict[str, Any]:
    return {**OK, "phone_info": PHONE_INFO | changes}


@pytest.mark.parametrize("country", ["86", 86])
def test_a_country_code_may_come_as_a_number(country: object) -> None:
    phone = phone_number_of(phone_answer(countryCode=country), appid=APPID)

    assert phone == PhoneNumber(PHONE_NUMBER, "9876 5432", "86")


@pytest.mark.parametrize("value", [None, "", "1" * 33, "13580006666\n", "<b>", "１", 1.5, True, ["86"], {}])
@pytest.mark.parametrize("name", ["phoneNumber", "purePhoneNumber", "countryCode"])
def test_a_field_that_is_no_phone_number_is_unusable(name: str, value: object) -> None:
    with pytest.raises(InvalidResponse, match=f"{name}$"):
        phone_number_of(phone_answer(**{name: value}), appid=APPID)


@pytest.mark.parametrize("watermark", [None, [], "x", {}, {"appid": None}, {"appid": "wx00000000000000aa"}])
def test_a_phone_number_of_another_app_is_unusable(watermark: object) -> None:
    with pytest.raises(InvalidResponse):
        phone_number_of(phone_answer(watermark=watermark), appid=APPID)


@pytest.mark.parametrize("info", [None, [], "x", 1, {}])
def test_an_answer_without_a_phone_is_unusable(info: object) -> None:
    with pytest.raises(InvalidResponse):
        phone_number_of({**OK, "phone_info": info}, appid=APPID)


# Session keys


def test_an_answer_about_the_user_has_the_new_key() -> None:
    assert session_key_of({**OK, **ANSWER}, openid=OPENID) == SESSION_KEY


@pytest.mark.parametrize("openid", [None, "", "oAnother", OPENID.lower(), [OPENID]])
def test_a_key_of_another_user_is_unusable(openid: object) -> None:
    with pytest.raises(InvalidResponse, match="another user"):
        session_key_of({**OK, **ANSWER, "openid": openid}, openid=OPENID)


@pytest.mark.parametrize("value", UNUSABLE_IDS.values(), ids=UNUSABLE_IDS)
def test_a_new_key_has_to_be_usable(value: object) -> None:
    with pytest.raises(InvalidResponse, match=r"session_key$"):
        session_key_of({**OK, **ANSWER, "session_key": value}, openid=OPENID)


@pytest.mark.parametrize("errcode", [0, "0"])
def test_an_answer_that_says_ok_is_ok(errcode: object) -> None:
    check_is_ok({"errcode": errcode, "errmsg": "ok"})


@pytest.mark.parametrize("answer", [{}, {"errcode": None}, {"errmsg": "ok"}])
def test_an_answer_that_says_nothing_is_not_ok(answer: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponse):
        check_is_ok(answer)
