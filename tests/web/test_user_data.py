"""``/user-data`` through HTTP: data that WeChat encrypted or signed for this user, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import logging
import textwrap
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import APPID, Clock
from tests.drivers import Answer, MiniProgram, Sandbox, Send, in_process
from tests.wechat.drivers import SESSION_KEY
from tests.wechat.test_crypto import IV
from tests.wechat.test_user_data import data_of
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

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


FORMS: dict[str, Callable[[str], str]] = {
    "blanks for pluses": lambda text: text.replace("+", " "),
    "lines": lambda text: "\r\n".join(textwrap.wrap(text, 64)),
    "for URLs": lambda text: urlsafe_b64encode(b64decode(text)).decode().rstrip("="),
    "percent-encoded": lambda text: quote(text, safe=""),
}


@pytest.mark.parametrize("form", FORMS)
def test_base64_in_a_form_that_can_be_read_in_one_way_is_repaired(
    phone: MiniProgram, sandbox: Sandbox, form: str
) -> None:
    data = sandbox.user_data(openid=phone.openid, kind="werun")

    assert decrypt(phone, {name: FORMS[form](value) for name, value in data.items()}).status == 200


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
    lambda data: {"encryptedData": flipped(data["encryptedData"], -1)},
    lambda data: {"encryptedData": flipped(data["encryptedData"], 40)},
    lambda data: {"encryptedData": b64encode(b64decode(data["encryptedData"])[16:]).decode()},
    lambda data: {"encryptedData": b64encode(b64decode(data["encryptedData"])[:16]).decode()},
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_whatever_is_wrong_with_the_data_the_answer_is_the_same(
    phone: MiniProgram, sandbox: Sandbox, spoil: Any
) -> None:
    data = sandbox.user_data(openid=phone.openid)

    answer = decrypt(phone, {**data, **spoil(data)})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (409, "session_key_stale", False)
    assert {name for name in answer.error if name != "request_id"} == {"code", "message", "retryable"}


NOT_BLOCKS = {
    "iv": ["", "AAAA", "not base64!", "码", b64encode(bytes(15)).decode(), b64encode(bytes(32)).decode()],
    "encryptedData": ["", "AAAA", "码", "undefined", b64encode(bytes(33)).decode(), "A" * 43_712],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in NOT_BLOCKS.items() for value in values]
)
def test_what_is_wrong_whatever_the_key_is_an_invalid_request(
    phone: MiniProgram, sandbox: Sandbox, field: str, value: str
) -> None:
    answer = decrypt(phone, {**sandbox.user_data(openid=phone.openid), field: value})

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.error["message"].startswith(f"{field}: Not base64 of ")


def test_all_that_is_wrong_with_both_fields_is_told_at_once(phone: MiniProgram) -> None:
    assert decrypt(phone, {"encryptedData": "?", "iv": "?"}).error["message"] == (
        "encryptedData: Not base64 of 1 to 2048 blocks of 16 bytes: send what WeChat gave, as it is. "
        "iv: Not base64 of 16 bytes: send what WeChat gave, as it is."
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"encryptedData": "?"}, (400, "invalid_request")), ({"iv": "AAAA"}, (400, "invalid_request"))],
)
def test_only_failures_that_depend_on_the_key_are_counted(
    phone: MiniProgram, sandbox: Sandbox, changes: dict[str, str], expected: tuple[int, str]
) -> None:
    data = sandbox.user_data(openid=phone.openid)

    answers = [decrypt(phone, data | changes) for _ in range(30)]

    assert {(answer.status, answer.error["code"]) for answer in answers} == {expected}
    assert decrypt(phone, data).status == 200


@pytest.fixture
def phone_with_key(mini_program: MiniProgram, sandbox: Sandbox) -> MiniProgram:
    """A user whose session_key the tests know."""
    sandbox.arm(body=json.dumps({"openid": mini_program.openid, "session_key": SESSION_KEY}))
    mini_program.log_in()
    return mini_program


def encrypted_here(payload: dict[str, Any]) -> dict[str, str]:
    """Return what a phone would send of this, had WeChat encrypted it."""
    watermark = {"timestamp": 1_795_000_000, "appid": APPID}
    return {"encryptedData": data_of({**payload, "watermark": watermark}, session_key=SESSION_KEY), "iv": IV}


UNKNOWN = {"a_new_kind": 1, "13580006666": 2, "oGZUI0egBJY1zhBYw2KhdUfwVJJE": 3}


def test_data_of_a_kind_that_is_not_known_is_said_to_be_that_and_is_not_counted(
    phone_with_key: MiniProgram,
) -> None:
    answers = [decrypt(phone_with_key, encrypted_here(UNKNOWN)) for _ in range(30)]

    assert {(answer.status, answer.error["code"]) for answer in answers} == {(422, "unknown_user_data")}
    assert {answer.error["retryable"] for answer in answers} == {False}
    assert not any(name in answer.text for answer in answers for name in UNKNOWN)
    assert decrypt(phone_with_key, encrypted_here({"openGId": "tG0123456789"})).status == 200


def test_unknown_data_has_a_limit_of_its_own(phone_with_key: MiniProgram) -> None:
    """Whether a cut text is JSON tells something about the ids in it."""
    answers = [decrypt(phone_with_key, encrypted_here(UNKNOWN)) for _ in range(61)]

    assert {answer.status for answer in answers[:60]} == {422}
    assert answers[60].error["code"] == "rate_limited"
    assert decrypt(phone_with_key, encrypted_here({"openGId": "tG0123456789"})).status == 200


def test_the_operator_is_told_what_the_fields_of_an_unknown_kind_are_called(
    phone_with_key: MiniProgram, caplog: pytest.LogCaptureFixture
) -> None:
    decrypt(phone_with_key, encrypted_here(UNKNOWN))

    told = [vars(record) for record in caplog.records if vars(record).get("event") == "user_data_unknown"]
    assert [(line["levelname"], line["names"]) for line in told] == [("WARNING", ["a_new_kind"])]


def test_data_of_a_field_that_is_new_is_decrypted_with_it(phone: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=phone.openid, data={"is_demote": True, "vip": {"level": [1, None]}})

    answer = decrypt(phone, data)

    assert (answer.json["is_demote"], answer.json["vip"]) == (True, {"level": [1, None]})


CONFIRM = "/wxa/business/checkencryptedmsg"
PHONE = {"phoneNumber": "13580006666", "purePhoneNumber": "13580006666", "countryCode": "86"}


@pytest.fixture
def confirming(settings: Settings, sandbox: Sandbox) -> MiniProgram:
    """A user of a service that has WeChat confirm phone numbers; the tests know the session_key."""
    chosen = dataclasses.replace(settings, confirm_phone_numbers=True)
    phone = MiniProgram(in_process(create_app(Services.build(chosen))), sandbox)
    phone.log_in()
    return phone


def test_a_phone_number_that_wechat_confirms_is_decrypted(confirming: MiniProgram, sandbox: Sandbox) -> None:
    data = sandbox.user_data(openid=confirming.openid, kind="phone_number")
    mangled = {name: quote(value, safe="") for name, value in data.items()}

    assert decrypt(confirming, mangled).json == PHONE
    assert sandbox.answers(CONFIRM) == [0]


def test_a_phone_number_that_wechat_does_not_confirm_is_refused_and_counted(
    confirming: MiniProgram, sandbox: Sandbox
) -> None:
    sandbox.arm(body=json.dumps({"openid": confirming.openid, "session_key": SESSION_KEY}))
    confirming.log_in()

    answers = [decrypt(confirming, encrypted_here(PHONE)) for _ in range(21)]

    assert {answer.error["code"] for answer in answers[:20]} == {"session_key_stale"}
    assert answers[20].error["code"] == "rate_limited"
    assert set(sandbox.answers(CONFIRM)) == {1}


def test_the_log_says_that_wechat_does_not_know_a_phone_number(
    confirming: MiniProgram, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sandbox.arm(path=CONFIRM, errcode=1)

    decrypt(confirming, sandbox.user_data(openid=confirming.openid, kind="phone_number"))

    reasons = [vars(record).get("reason") for record in caplog.records if hasattr(record, "event")]
    assert "WeChat does not know the phone number" in reasons


def test_wechat_may_say_that_a_phone_number_is_not_its_own(confirming: MiniProgram, sandbox: Sandbox) -> None:
    sandbox.arm(path=CONFIRM, body='{"errcode":0,"errmsg":"ok","vaild":false,"create_time":0}')
    data = sandbox.user_data(openid=confirming.openid, kind="phone_number")

    assert decrypt(confirming, data).error["code"] == "session_key_stale"


@pytest.mark.parametrize(
    "fault", [{"errcode": -1, "times": 2}, {"status": 500}, {"reset": True}, {"body": '{"errcode":0}'}]
)
def test_while_wechat_cannot_confirm_a_phone_number_it_is_not_answered(
    confirming: MiniProgram, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.arm(path=CONFIRM, **fault)
    data = sandbox.user_data(openid=confirming.openid, kind="phone_number")

    answer, again = decrypt(confirming, data), decrypt(confirming, data)

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "wechat_unavailable", True)
    assert "Send the same data again" in answer.error["message"]
    assert again.status == 200


@pytest.mark.parametrize("kind", ["user_info", "share", "werun"])
def test_wechat_is_asked_about_phone_numbers_only(confirming: MiniProgram, sandbox: Sandbox, kind: str) -> None:
    assert decrypt(confirming, sandbox.user_data(openid=confirming.openid, kind=kind)).status == 200
    assert sandbox.answers(CONFIRM) == []


def test_wechat_is_not_asked_unless_that_is_wished(phone: MiniProgram, sandbox: Sandbox) -> None:
    assert decrypt(phone, sandbox.user_data(openid=phone.openid, kind="phone_number")).json == PHONE
    assert sandbox.answers(CONFIRM) == []


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
