"""Rows D: data that WeChat did not encrypt or sign, or not so, or not for this user. Nothing tells them apart."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
import tracemalloc
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.bad_days.bench import Bench, bench, told
from tests.drivers import Answer, MiniProgram
from wxlogin.services import Services
from wxlogin.sessions.session_id import SessionId

APPID = "wx4f4bc4dec97d474b"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
KEY = bytes(range(16))
IV = bytes(range(16, 32))
STALE = (409, "session_key_stale")
WATERMARK: dict[str, Any] = {"timestamp": 1_477_314_187, "appid": APPID}
PROFILE: dict[str, Any] = {
    "openId": OPENID,
    "nickName": "Band",
    "gender": 1,
    "language": "zh_CN",
    "city": "Guangzhou",
    "province": "Guangdong",
    "country": "CN",
    "avatarUrl": "https://thirdwx.qlogo.cn/132",
    "watermark": WATERMARK,
}
PHONE: dict[str, Any] = {
    "phoneNumber": "13580006666",
    "purePhoneNumber": "13580006666",
    "countryCode": "86",
    "watermark": WATERMARK,
}
GROUP: dict[str, Any] = {"openGId": "tG" + 26 * "0", "watermark": WATERMARK}


def text_of(data: bytes) -> str:
    return b64encode(data).decode()


def without(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key != name}


def stamped(**changes: Any) -> bytes:
    """Return a phone number whose watermark is another; what is None is left out."""
    mark = {name: value for name, value in (WATERMARK | changes).items() if value is not None}
    return json.dumps(PHONE | {"watermark": mark}).encode()


def padded(plaintext: bytes) -> bytes:
    length = 16 - len(plaintext) % 16
    return plaintext + bytes([length]) * length


def encrypted(blocks: bytes, *, key: bytes = KEY, iv: bytes = IV) -> bytes:
    encryptor = Cipher(AES128(key), CBC(iv)).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def sealed(plaintext: bytes | dict[str, Any], *, key: bytes = KEY) -> dict[str, str]:
    """Return what a phone would send of this, had WeChat encrypted it."""
    data = json.dumps(plaintext).encode() if isinstance(plaintext, dict) else plaintext
    return {"encryptedData": text_of(encrypted(padded(data), key=key)), "iv": text_of(IV)}


def padded_badly(ending: bytes) -> dict[str, str]:
    """Return a group's id that ends, after its JSON, with these bytes."""
    data = json.dumps(GROUP).encode()
    blocks = data + b" " * (-(len(data) + len(ending)) % 16) + ending
    return {"encryptedData": text_of(encrypted(blocks)), "iv": text_of(IV)}


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def logged_in(day: Bench, session_key: str = text_of(KEY)) -> MiniProgram:
    """Return the phone of a user to whom WeChat gave this session_key."""
    phone = day.user(OPENID)
    day.sandbox.arm(body=json.dumps({"openid": OPENID, "session_key": session_key}))
    assert phone.log_in().status == 200
    return phone


def decrypt(phone: MiniProgram, data: dict[str, Any]) -> Answer:
    body = {name: value for name, value in data.items() if name in {"encryptedData", "iv"}}
    return phone.post("/user-data/decrypt", json=body)


@pytest.fixture
def phone(day: Bench) -> MiniProgram:
    return logged_in(day)


_PHONE_TEXT = json.dumps(PHONE)
_DEEP = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
_RIGHT = sealed(PHONE)

REFUSED: dict[str, dict[str, str]] = {
    "D-05-key-of-another": sealed(PHONE, key=secrets.token_bytes(16)),
    "D-06-padding-0x00": padded_badly(b"\x00"),
    "D-06-padding-0x11": padded_badly(b"\x11" * 17),
    "D-06-padding-0xC8": padded_badly(b"\xc8"),
    "D-06-padding-of-two-kinds": padded_badly(b"\x03\x02\x03"),
    "D-06-no-padding": padded_badly(b" "),  # which JSON would not mind
    "D-06-nothing-but-padding": sealed(b""),
    "D-06-one-block-of-0x10-too-many": sealed(json.dumps(GROUP).encode() + b"\x10" * 16),
    "D-07-no-JSON": sealed(b"phoneNumber=13580006666"),
    "D-07-list": sealed(json.dumps([PHONE]).encode()),
    "D-07-deep": sealed(_DEEP),
    "D-07-long-number": sealed(b'{"countryCode": ' + b"9" * 20_000 + b"}"),
    "D-07-NaN": sealed(_PHONE_TEXT.replace('"86"', "NaN").encode()),
    "D-07-watermark-twice": sealed((_PHONE_TEXT[:-1] + f', "watermark": {json.dumps(WATERMARK)}}}').encode()),
    "D-08-no-watermark": sealed(without(PHONE, "watermark")),
    "D-08-no-appid": sealed(stamped(appid=None)),
    "D-08-wrong-appid": sealed(stamped(appid="wx1234567890abcdef")),
    "D-08-appid-a-list": sealed(stamped(appid=[APPID])),
    "D-08-appid-with-a-blank": sealed(stamped(appid=f"{APPID} ")),
    "D-11-unknown-key-that-hides-a-known-one": sealed(PHONE | {"isAdmin": {"openId": OPENID}}),
    "D-11-renamed-key": sealed(without(PHONE, "phoneNumber") | {"phoneNumbeR": "13580006666"}),
    "D-11-renamed-openId": sealed({"openIe": OPENID} | without(PROFILE, "openId")),
    "D-11-wrong-type": sealed(PHONE | {"phoneNumber": 13580006666}),
    "D-11-two-kinds-in-one": sealed(PHONE | GROUP),
    "D-11-openId-of-another": sealed(PROFILE | {"openId": "oSomebodyElse0123456789abcde"}),
    "D-12-one-block": {"encryptedData": text_of(b"x" * 16), "iv": text_of(IV)},
}

INVALID: dict[str, dict[str, str]] = {
    "D-12-empty": {"encryptedData": "", "iv": text_of(IV)},
    "D-12-not-whole-blocks": {"encryptedData": text_of(b"x" * 33), "iv": text_of(IV)},
    "D-12-iv-of-0": {**_RIGHT, "iv": ""},
    "D-12-iv-of-15": {**_RIGHT, "iv": text_of(IV[:15])},
    "D-12-iv-of-17": {**_RIGHT, "iv": text_of(IV + b"x")},
    "D-12-no-base64": {**_RIGHT, "encryptedData": "?" * 64},
}


@pytest.mark.parametrize("data", [pytest.param(data, id=row) for row, data in REFUSED.items()])
def test_all_that_is_wrong_with_data_is_one_refusal(day: Bench, phone: MiniProgram, data: dict[str, str]) -> None:
    keys = day.keys()

    answer, other = decrypt(phone, data), decrypt(phone, sealed(b"anything else"))

    assert told(answer) == STALE
    assert without(answer.error, "request_id") == without(other.error, "request_id")
    assert len(answer.text) == len(other.text)
    assert set(day.keys()) - set(keys) == set(day.keys("wxlogin:limit:"))
    assert day.leaks([answer], text_of(KEY), data["encryptedData"][:64] or OPENID, "13580006666", OPENID) == []
    assert decrypt(phone, _RIGHT).json["phoneNumber"] == "13580006666"


@pytest.mark.parametrize("data", [pytest.param(data, id=row) for row, data in INVALID.items()])
def test_what_no_key_could_decrypt_is_an_invalid_request_and_not_counted(
    day: Bench, phone: MiniProgram, data: dict[str, str]
) -> None:
    keys = day.keys()

    answer = decrypt(phone, data)

    assert told(answer) == (400, "invalid_request")
    assert set(day.keys()) == set(keys)
    assert day.leaks([answer], text_of(KEY), data["encryptedData"][:64] or OPENID, OPENID) == []


@pytest.mark.parametrize("character", range(5), ids="D-02-{}".format)
def test_an_openid_that_was_changed_by_flips_of_the_iv_is_refused(phone: MiniProgram, character: int) -> None:
    text = json.dumps(PROFILE, separators=(",", ":")).encode()
    assert text[11:16] == OPENID[:5].encode()
    place, other = 11 + character, b"A"
    iv = bytearray(IV)
    iv[place] ^= text[place] ^ other[0]  # what decrypts has an A there

    answer = decrypt(phone, {"encryptedData": text_of(encrypted(padded(text))), "iv": text_of(bytes(iv))})

    assert told(answer) == STALE


def _each_time_forgiven(day: Bench, data: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Give the data; nobody counts how much of it fails."""
    for number, each in enumerate(data):
        if number % 20 == 0:
            day.forget("wxlogin:limit:")
        yield each


def test_d_03_no_flip_of_one_bit_is_accepted(day: Bench, phone: MiniProgram) -> None:
    right = encrypted(padded(json.dumps(GROUP, separators=(",", ":")).encode()))
    assert len(right) == 112
    data = ({"encryptedData": text_of(flipped(right, bit)), "iv": text_of(IV)} for bit in range(len(right) * 8))

    answers = [decrypt(phone, each) for each in _each_time_forgiven(day, data)]

    assert len(answers) == 896
    assert {told(answer) for answer in answers} == {STALE}
    assert len({len(answer.text) for answer in answers}) == 1


def test_d_05_data_of_another_user_is_refused(day: Bench) -> None:
    phone, other = day.user(), day.user("oSomebodyElse0123456789abcde")
    phone.log_in()
    other.log_in()

    answer = decrypt(phone, day.sandbox.user_data(openid=other.openid))

    assert told(answer) == STALE


@pytest.mark.parametrize(
    ("age_seconds", "status"),
    [
        pytest.param(0, 200, id="D-09-now"),
        pytest.param(590, 200, id="D-09-in-time"),
        pytest.param(620, 409, id="D-09-too-old"),
        pytest.param(-40, 200, id="D-09-a-clock-that-is-behind"),
        pytest.param(-90, 409, id="D-09-of-the-future"),
    ],
)
def test_where_the_operator_says_how_old_data_may_be_it_is_refused_after_that(
    day: Bench, age_seconds: int, status: int
) -> None:
    strict = dataclasses.replace(day.settings, watermark_max_age_seconds=600)
    phone = logged_in(bench(strict, day.sandbox, day.redis, day.log))

    answer = decrypt(phone, sealed(stamped(timestamp=int(time.time()) - age_seconds)))

    assert answer.status == status


def test_d_10_the_same_data_may_be_read_twice(phone: MiniProgram) -> None:
    assert [decrypt(phone, _RIGHT).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(PROFILE, id="D-11-profile"),
        pytest.param(PHONE, id="D-11-phone"),
        pytest.param(GROUP, id="D-11-group"),
    ],
)
def test_data_as_wechat_sends_it_is_read(phone: MiniProgram, payload: dict[str, Any]) -> None:
    answer = decrypt(phone, sealed(payload))

    assert (answer.status, answer.json) == (200, without(without(payload, "watermark"), "openId"))


@pytest.mark.parametrize("megabytes", [1, 10], ids="D-14-{}".format)
def test_megabytes_are_too_large_and_never_in_memory(phone: MiniProgram, megabytes: int) -> None:
    body = json.dumps({"encryptedData": "A" * megabytes * 1_000_000, "iv": text_of(IV)}).encode()
    tracemalloc.start()

    answer = phone.post("/user-data/decrypt", data=body, content_type="application/json")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told(answer) == (413, "content_too_large")
    assert peak < 500_000


@pytest.mark.parametrize("value", [1, 1.5, True, None, ["AAAA"], {"a": "b"}], ids="D-15-{}".format)
@pytest.mark.parametrize("field", ["encryptedData", "iv"])
def test_what_is_no_text_is_an_invalid_request(phone: MiniProgram, field: str, value: object) -> None:
    assert told(decrypt(phone, {**_RIGHT, field: value})) == (400, "invalid_request")


_NO_KEYS = pytest.mark.parametrize(
    "session_key", ["", "!", "no-base64!", "AAAAAAAAAAAAAAAAAAAA", "a" * 128], ids="D-16-{}".format
)


@_NO_KEYS
def test_a_stored_session_key_that_is_none_opens_nothing_and_breaks_nothing(
    day: Bench, phone: MiniProgram, session_key: str
) -> None:
    store = Services.of(day.app).sessions
    session_id = SessionId.parse(phone.stored.partition("=")[2].partition(";")[0])
    assert session_id
    stored = store.get(session_id)
    assert store.update_if_unchanged(stored, dataclasses.replace(stored.record, session_key=session_key))

    assert told(decrypt(phone, _RIGHT)) == STALE
    assert phone.whoami().status == 200


@_NO_KEYS
def test_a_login_with_a_session_key_that_is_none_is_none(day: Bench, session_key: str) -> None:
    day.sandbox.arm(body=json.dumps({"openid": OPENID, "session_key": session_key}))

    assert told(day.user().log_in()) == (502, "wechat_error")
    assert day.sessions() == 0


def test_d_16_a_corrupt_record_is_not_logged_in_and_an_alarm(day: Bench, phone: MiniProgram) -> None:
    [key] = day.keys("wxlogin:user:")
    [field] = day.redis.hkeys(key)
    value = day.redis.hget(key, field)
    assert isinstance(value, bytes)
    day.redis.hset(key, field, value[:-1] + bytes([value[-1] ^ 1]))

    answer = decrypt(phone, _RIGHT)

    assert told(answer) == (401, "not_logged_in")
    assert '"event": "session_record_invalid"' in day.log.getvalue()


def test_d_17_data_under_a_newer_key_is_refused_until_the_next_login(day: Bench) -> None:
    phone = day.user()
    phone.log_in()
    day.sandbox.issue_code(openid=phone.openid)  # wx.login() elsewhere: WeChat has another key now
    data = day.sandbox.user_data(openid=phone.openid)

    refused = decrypt(phone, data)
    phone.log_in()
    data = day.sandbox.user_data(openid=phone.openid)

    assert told(refused) == STALE
    assert decrypt(phone, data).status == 200


def test_d_18_who_lets_hundreds_of_decryptions_fail_is_stopped_after_20(day: Bench, phone: MiniProgram) -> None:
    right = encrypted(padded(json.dumps(PHONE).encode()))

    answers = [
        decrypt(phone, {"encryptedData": text_of(flipped(right, number % 256)), "iv": text_of(IV)})
        for number in range(500)
    ]

    assert [told(answer) for answer in answers[:20]] == [STALE] * 20
    assert {told(answer) for answer in answers[20:]} == {(429, "rate_limited")}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 600 for answer in answers[20:])


def test_d_18_not_even_another_login_gives_more_tries(day: Bench, phone: MiniProgram) -> None:
    for _ in range(20):
        decrypt(phone, sealed(b"nothing"))

    again = logged_in(day)

    assert told(decrypt(again, _RIGHT)) == (429, "rate_limited")
    assert again.whoami().status == 200


def test_d_19_without_a_session_nothing_is_decrypted(day: Bench, phone: MiniProgram) -> None:
    assert told(decrypt(day.user(), _RIGHT)) == (401, "not_logged_in")


def test_d_19_with_the_session_of_another_nothing_is_decrypted(day: Bench, phone: MiniProgram) -> None:
    other = day.user("oSomebodyElse0123456789abcde")
    other.log_in()

    assert told(decrypt(other, _RIGHT)) == STALE


RAW_DATA = '{"nickName":"José 微信 😀","gender":1}'
SIGNATURE = hashlib.sha1((RAW_DATA + text_of(KEY)).encode(), usedforsecurity=False).hexdigest()

UNSIGNED = {
    "D-20-wrong": (RAW_DATA, "0" * 40),
    "D-20-upper-case": (RAW_DATA, SIGNATURE.upper()),
    "D-20-truncated": (RAW_DATA, SIGNATURE[:-1]),
    "D-20-longer": (RAW_DATA, SIGNATURE + "0"),
    "D-20-with-a-blank": (RAW_DATA, f" {SIGNATURE}"),
    "D-20-empty": (RAW_DATA, ""),
    "D-20-not-ASCII": (RAW_DATA, "é" * 40),
    "D-20-no-data": ("", SIGNATURE),
    "D-20-other-escapes": (json.dumps(json.loads(RAW_DATA), separators=(",", ":")), SIGNATURE),
    "D-20-NFD": (unicodedata.normalize("NFD", RAW_DATA), SIGNATURE),
    "D-20-blanks": (RAW_DATA.replace(":", ": "), SIGNATURE),
    "D-20-a-lone-surrogate": (RAW_DATA + "\ud800", SIGNATURE),
    "D-20-the-key-told-in-the-data": (RAW_DATA + text_of(KEY), SIGNATURE),
}


def verify(phone: MiniProgram, raw_data: str, signature: str) -> Answer:
    return phone.post("/user-data/verify", json={"rawData": raw_data, "signature": signature})


@pytest.mark.parametrize(
    ("raw_data", "signature"), [pytest.param(*values, id=row) for row, values in UNSIGNED.items()]
)
def test_what_wechat_did_not_sign_is_not_valid(
    day: Bench, phone: MiniProgram, raw_data: str, signature: str
) -> None:
    answer = verify(phone, raw_data, signature)

    assert (answer.status, answer.json) == (200, {"valid": False})
    assert day.leaks([answer], text_of(KEY), SIGNATURE) == []


def test_d_20_what_wechat_signed_is_valid_to_the_byte(phone: MiniProgram) -> None:
    assert verify(phone, RAW_DATA, SIGNATURE).json == {"valid": True}


@pytest.mark.parametrize("kind", ["user_info", "phone_number", "share", "werun"], ids="D-21-{}".format)
def test_an_answer_has_what_was_promised_and_the_log_nothing_of_it(day: Bench, kind: str) -> None:
    phone = day.user("oCanary-0123456789abcdefghij")
    phone.log_in()
    data = day.sandbox.user_data(openid=phone.openid, kind=kind)

    answer = decrypt(phone, data)

    promised = set(json.loads(data["rawData"]))
    assert (answer.status, set(answer.json)) == (200, promised)
    assert answer.headers["Cache-Control"] == "no-store"
    assert day.leaks([answer], phone.openid, "watermark", data["encryptedData"][:40], data["iv"]) == []
    assert day.leaks([], phone.stored.split("=")[1].split(";")[0], "13580006666", "Guangzhou") == []
