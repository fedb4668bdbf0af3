"""What is believed of what decrypts: what WeChat sends, about this user, to this app, and nothing tampered with.

What an attacker can make of genuine texts is in test_user_data_forgery.py.
"""

from __future__ import annotations

import inspect
import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wechat.drivers import APPID, OPENID, SESSION_KEY, UNIONID
from tests.wechat.test_crypto import IV, OFFICIAL_DATA, OFFICIAL_TEXT, encrypted
from wxlogin.wechat.api import crypto, user_data, user_data_kinds
from wxlogin.wechat.api.user_data import Owner, StaleSessionKey, UnknownUserData, Verdict, judge, read_user_data

OTHER_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
STAMPED_AT = 1477314187
WATERMARK = {"timestamp": STAMPED_AT, "appid": APPID}

PROFILE = {
    "nickName": "Band",
    "gender": 1,
    "language": "zh_CN",
    "city": "Guangzhou",
    "province": "Guangdong",
    "country": "CN",
    "avatarUrl": "http://wx.qlogo.cn/mmopen/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTs"
    "w3mo8ibKicsnfN5pRjl1p8HQ/0",
}
USER_INFO = {"openId": OPENID, **PROFILE, "unionId": UNIONID}
PHONE_NUMBER = {"phoneNumber": "13580006666", "purePhoneNumber": "13580006666", "countryCode": "86"}
SHARE = {"openGId": "tG0000000000000000000000000000"}
GROUP = {
    "opengid": "tGXVqG5IZmqkGArWBhZNJwn2NsqaQ",
    "open_single_roomid": "",
    "group_openid": "oGXVqG5IZmqkGArWBhZNJwn2Nsqa",
    "chat_type": 3,
}
PRIVATE_MESSAGE = {"activityId": "1014_NGiqxZOdZBCyNDZr~"}
WERUN = {"stepInfoList": [{"timestamp": 1477152000, "step": 100}, {"timestamp": 1477238400, "step": 200}]}
KINDS: dict[str, dict[str, Any]] = {
    "user_info": USER_INFO,
    "profile": PROFILE,
    "phone_number": PHONE_NUMBER,
    "share": SHARE,
    "group": GROUP,
    "werun": WERUN,
    "private_message": PRIVATE_MESSAGE,
}

# Made by other people's code, but for the first not by WeChat; see the reference.
PHONE_NUMBER_DATA = (
    "xT8p8W6jIVdEWQ+ccHuD2bmG5RSiwg14VWRFw/UGVh6Aj+jDIadafJ4xdCIBQ/uxDiyw/MZWvpFyRn3pP3xxVfNQxFtzghvK+Pj5JQI7x41Epnir"
    "OxeUcm4HWRdmzGJla5bZSoGnOCbsXv5pRwGUkKrjqXN+ahUvXsHu7s3UO17Wm7voWb/tLcxrZfVTyk0rxntL3Fq2vaQdw+WIdarjGw=="
)
SHARE_DATA = (
    "eBsEnzKu6/nkCnGwRd9Wjrhwh9KZdKh5asKDR50Ggo36NPRLfTMh+ad9HlKpa11SvrjoWcn6j/f8xKBdOOMfACScfRhAL1ZSnARGWs0NOnLOWrHd"
    "GlQcY3kln1BSgitYYcjV5hGDNrbJmFm3U7ZBUQ=="
)
WERUN_DATA = (
    "XoLUxF76jN/OsfTGUqF/ZqRn+2PtO66lAMg/g0D3bg2dhp/ioZmpTE2lnkHEC+murswEagSU94nTku7LRB/p5CpBfozJ89g1M4kAQHHlnpEq+hcx"
    "5glWgol12SUEsQQXX/RIcdCOhH8whnhz/ANzspJpqLSrjj+8JwIe2IneWWIzRQld3iGf954EwZoZs/PZYriMFLjbk0YRG/+HefZbQA=="
)
OTHER_APPS_DATA = (
    "xT8p8W6jIVdEWQ+ccHuD2bmG5RSiwg14VWRFw/UGVh6Aj+jDIadafJ4xdCIBQ/uxDiyw/MZWvpFyRn3pP3xxVfNQxFtzghvK+Pj5JQI7x41Epnir"
    "OxeUcm4HWRdmzGJlyOtX+Lw/NpWGxTHNlKEAyn/CH/mD+Z1bpVTpZPolTe0PHU5L4NVeod/bae2Gj2bish77uDEOlZ3DpKF91iBxZg=="
)
VECTORS = {
    "user_info": OFFICIAL_DATA,
    "phone_number": PHONE_NUMBER_DATA,
    "share": SHARE_DATA,
    "werun": WERUN_DATA,
}


def data_of(payload: object, *, session_key: str = SESSION_KEY) -> str:
    """Return ``payload``, or the bytes of one, as WeChat would encrypt it with our IV."""
    if not isinstance(payload, bytes):
        payload = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    padding = 16 - len(payload) % 16
    return encrypted(payload + bytes([padding]) * padding, session_key=session_key)


def stamped(payload: dict[str, Any], **watermark: Any) -> dict[str, Any]:
    return {**payload, "watermark": WATERMARK | watermark}


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def read(encrypted_data: str, iv: str = IV, **changes: Any) -> dict[str, Any]:
    owner = {"appid": APPID, "openid": OPENID, "unionid": UNIONID}
    expected = {"session_keys": [SESSION_KEY], "max_age_seconds": None, "now": STAMPED_AT}
    ours = Owner(**{name: changes.pop(name, value) for name, value in owner.items()})
    return read_user_data(b64decode(encrypted_data), b64decode(iv), owner=ours, **(expected | changes))


def is_refused(encrypted_data: str, iv: str = IV, **changes: Any) -> bool:
    """Say whether it is refused, in the one way that says nothing."""
    try:
        read(encrypted_data, iv, **changes)
    except StaleSessionKey as error:
        return (error.args, error.__cause__, error.__context__) == ((), None, None)
    return False


def is_never_read(encrypted_data: str, iv: str) -> bool:
    """Say whether it is refused, or unknown: a kind of one field is, if that is renamed."""
    try:
        return is_refused(encrypted_data, iv)
    except UnknownUserData:
        return True


def is_believed(encrypted_data: str) -> bool:
    """Say whether it is, without the wait that follows a refusal."""
    plaintext = crypto.decipher(b64decode(encrypted_data), b64decode(IV), session_key=SESSION_KEY)
    owner = Owner(appid=APPID, openid=OPENID, unionid=UNIONID)
    verdict, _ = judge(plaintext.data, owner=owner, max_age_seconds=None, now=STAMPED_AT)
    return plaintext.is_valid and verdict is not Verdict.REFUSED


def flipped(text: str, mask: int) -> str:
    """Return the base64 of what ``text`` is base64 of, with the bits of ``mask`` flipped."""
    data = b64decode(text)
    return b64encode((int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")).decode()


def forged_iv(encrypted_data: str, start: bytes, *, block: int = 0) -> tuple[str, str]:
    """Return the data from ``block`` on and the IV that make it start with these 16 characters."""
    data = b64decode(encrypted_data)
    before = (b64decode(IV) + data)[16 * block :][:16]
    # Somebody without the key knows it by heart.
    text = crypto.decipher(data, b64decode(IV), session_key=SESSION_KEY).data[16 * block :][:16]
    iv = bytes(a ^ b ^ c for a, b, c in zip(before, text, start, strict=True))
    return b64encode(data[16 * block :]).decode(), b64encode(iv).decode()


# What is read.


@pytest.mark.parametrize("kind", VECTORS)
def test_the_vectors_are_read_and_nothing_but_what_was_promised(kind: str) -> None:
    assert read(VECTORS[kind]) == KINDS[kind]


PAYLOADS = {
    **KINDS,
    "user_info of an app that is not bound": without(USER_INFO, "unionId"),
    "user_info of wx.getUserProfile": PROFILE,
    "user_info of nobody in particular": PROFILE | {"nickName": "", "gender": 0, "city": "", "avatarUrl": ""},
    "user_info without a unionId": USER_INFO | {"unionId": None},
    "a profile of today": PROFILE | {"nickName": "微信用户", "gender": 0, "language": "", "is_demote": True},
    "user_info in Chinese": USER_INFO | {"nickName": "苏震巍 [}\u2028😀\\\"'", "city": "苏州"},
    "user_info in another order": {"openId": OPENID, **dict(reversed(USER_INFO.items()))},
    "phone_number abroad": {"phoneNumber": "+85261234567", "purePhoneNumber": "61234567", "countryCode": "852"},
    "phone_number abroad without a plus": {
        "phoneNumber": "85261234567",
        "purePhoneNumber": "61234567",
        "countryCode": 852,
    },
    "phone_number with blanks": {
        "phoneNumber": "+852 6123-4567",
        "purePhoneNumber": "6123 4567",
        "countryCode": "852",
    },
    "phone_number of China with its country": PHONE_NUMBER | {"phoneNumber": "+8613580006666"},
    "phone_number that is the pure one, abroad": PHONE_NUMBER | {"countryCode": "1"},
    "phone_number with a number for its country": PHONE_NUMBER | {"countryCode": 86},
    "share with a ticket": SHARE | {"msgTicket": "a/b+c=="},
    "share without a ticket": SHARE | {"msgTicket": None},
    "group of wx.getGroupEnterInfo": {"opengid": SHARE["openGId"]},
    "group of two": GROUP | {"opengid": "", "open_single_roomid": "s:GX/VqG5I", "chat_type": 1},
    "werun of 31 days": {"stepInfoList": [{"timestamp": STAMPED_AT, "step": 0}] * 31},
    "group of two without an opengid": {"open_single_roomid": "s:GX/VqG5I", "group_openid": "o1", "chat_type": 1},
    "werun of no day": {"stepInfoList": []},
}

# What WeChat may add some day.
NEW_FIELDS: dict[str, Any] = {
    "a": 1,
    "is_new": None,
    "newField2": "微信 text",
    "a" * 40: [],
    "someFieldOfTomorrow2": "",
    "some_field_of_2027": 0,
    "expire": {"timestamp": STAMPED_AT, "step": 1},
    "timestamp": STAMPED_AT,
    "gender_of_old": {"deep": [{"in": [{"something": [1.5, True, None, "微信"]}]}]},
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_what_wechat_sends_is_read(payload: dict[str, Any]) -> None:
    assert read(data_of(stamped(payload))) == payload


@pytest.mark.parametrize("length", range(16))
def test_it_is_read_whatever_its_length(length: int) -> None:
    payload = PROFILE | {"nickName": "x" * length}

    assert read(data_of(stamped(payload))) == payload


@pytest.mark.parametrize("name", NEW_FIELDS)
@pytest.mark.parametrize("kind", KINDS)
def test_fields_that_wechat_adds_are_read_along(kind: str, name: str) -> None:
    new = {name: NEW_FIELDS[name]}

    assert read(data_of(stamped(KINDS[kind]) | new)) == KINDS[kind] | new
    assert read(data_of(stamped(KINDS[kind] | new))) == KINDS[kind] | new


@pytest.mark.parametrize("value", [1, True, None, [[0.5]]])
def test_a_short_new_field_may_stand_anywhere_but_first(value: Any) -> None:
    (first, *others), new = PHONE_NUMBER.items(), ("a_new_field_15c", value)
    fields = [first, new, *others]

    assert read(data_of(stamped(dict(fields)))) == dict(fields)
    assert is_refused(data_of(stamped(dict([new, first, *others]))))


@pytest.mark.parametrize("new", [("a_new_field_of_x", 1), ("new", "text"), ("new", [""]), ("new", {"x": 1})])
def test_a_long_new_field_may_not_stand_between_those_that_belong_together(new: tuple[str, Any]) -> None:
    """It could hide the 16 garbled characters where two texts were joined, in its name or in that and its text."""
    first, *others = PHONE_NUMBER.items()

    assert is_refused(data_of(stamped(dict([first, new, *others]))))
    assert read(data_of(stamped(dict([first, *others, new])))) == dict([first, *others, new])


@pytest.mark.parametrize(
    "new", [("a_new_field_0f_x", 1), ("A_NEW_FIELD_OF_X", 1), ("new", "a\x14"), ("new", [["\n"]])]
)
def test_a_new_field_that_splices_make_may_stand_behind_the_watermark_only(new: tuple[str, Any]) -> None:
    assert is_refused(data_of(stamped(PHONE_NUMBER | dict([new]))))
    assert read(data_of(stamped(PHONE_NUMBER) | dict([new]))) == PHONE_NUMBER | dict([new])


@pytest.mark.parametrize("control", [0x00, 0x01, 0x09, 0x0A, 0x14, 0x1F, 0x7F])
def test_a_nickname_with_a_raw_control_character_is_read(control: int) -> None:
    text = TEXT.replace(b"Band", b"Ba" + bytes([control]) + b"nd")

    assert read(data_of(text))["nickName"] == f"Ba{chr(control)}nd"


@pytest.mark.parametrize("names", [[], ["something"], ["openid"], ["timestamp", "appid"], ["NickName", "x"]])
def test_what_has_no_name_that_is_known_is_said_to_be_unknown(names: list[str]) -> None:
    payload = stamped(dict.fromkeys(names, "x"))

    with pytest.raises(UnknownUserData) as raised:
        read(data_of(payload))

    assert raised.value.names == names
    assert str(raised.value) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"appid": "wx0000000000000000"},
        {"max_age_seconds": 1, "now": STAMPED_AT + 2},
        {"session_keys": [OTHER_KEY]},
    ],
)
def test_what_is_unknown_and_not_ours_is_refused_like_anything(changes: dict[str, Any]) -> None:
    assert is_refused(data_of(stamped({"something": "new"})), **changes)


def test_a_users_unionid_is_compared_where_both_are_known() -> None:
    assert read(OFFICIAL_DATA, unionid=None) == USER_INFO
    assert read(data_of(stamped(without(USER_INFO, "unionId"))), unionid="o" * 28)
    assert is_refused(OFFICIAL_DATA, unionid="o" * 28)


@pytest.mark.parametrize("secret", [OPENID, UNIONID])
@pytest.mark.parametrize("length", [2, 8, 20])
@pytest.mark.parametrize("start", ['{"openGId":"', '{"opengid":"', '{"activityId":"'])
def test_the_end_of_a_users_id_cannot_be_read_as_another_id(start: str, length: int, secret: str) -> None:
    """A cut and a forged IV, which chooses the first 16 characters, make one of the other."""
    chosen = start.ljust(16, "x")
    text = f'{chosen}{secret[-length:]}","watermark":{json.dumps(WATERMARK)}}}'.encode()

    assert is_refused(data_of(text))
    assert read(data_of(text), openid="o" * 28, unionid=None)


def test_a_character_in_two_escapes_is_read() -> None:
    payload = json.dumps(stamped(PROFILE | {"nickName": "😀"}), indent=1).encode()

    assert rb"\ud83d\ude00" in payload
    assert read(data_of(payload))["nickName"] == "😀"


def test_the_same_data_is_read_twice() -> None:
    assert read(OFFICIAL_DATA) == read(OFFICIAL_DATA)


@pytest.mark.parametrize(
    "session_keys",
    [
        [OTHER_KEY, SESSION_KEY],
        [SESSION_KEY, OTHER_KEY],
        ["", "not base64", "AAAA", SESSION_KEY],
        (OTHER_KEY,) * 50 + (SESSION_KEY,),
    ],
)
def test_any_key_of_the_user_will_do(session_keys: list[str]) -> None:
    assert read(OFFICIAL_DATA, session_keys=session_keys) == USER_INFO


@pytest.mark.parametrize("age_seconds", [-60, -1, 0, 600])
def test_a_watermark_young_enough_is_accepted(age_seconds: int) -> None:
    assert read(OFFICIAL_DATA, max_age_seconds=600, now=STAMPED_AT + age_seconds) == USER_INFO


@pytest.mark.parametrize("age_seconds", [-STAMPED_AT, 10**9])
def test_without_a_limit_any_age_is_accepted(age_seconds: int) -> None:
    assert read(OFFICIAL_DATA, now=STAMPED_AT + age_seconds) == USER_INFO


# What is not.


@pytest.mark.parametrize(
    "session_keys", [[], [OTHER_KEY], [OTHER_KEY] * 3, [""], ["not base64"], [SESSION_KEY[:-2]], [b"x" * 15]]
)
def test_without_a_key_that_fits_it_is_refused(session_keys: list[str | bytes]) -> None:
    keys = [key if isinstance(key, str) else b64encode(key).decode() for key in session_keys]

    assert is_refused(OFFICIAL_DATA, session_keys=keys)


def test_a_broken_key_is_not_taken_for_the_one_that_stands_in_for_it() -> None:
    zeros = b64encode(bytes(16)).decode()
    encrypted_data = data_of(stamped(USER_INFO), session_key=zeros)

    assert read(encrypted_data, session_keys=[zeros]) == USER_INFO
    assert is_refused(encrypted_data, session_keys=["not base64"])


@pytest.mark.parametrize("payload", [b"?", b"[]", {}, USER_INFO, {"openId": "o" * 28, "watermark": WATERMARK}])
def test_what_stands_in_for_a_payload_that_is_none_is_not_read(payload: object) -> None:
    assert is_refused(data_of(payload), appid="wx0000000000000000", openid="o" * 28, unionid="o" * 28)


@pytest.mark.parametrize("age_seconds", [-(10**9), -61, 601, 10**9])
def test_a_watermark_too_old_or_of_tomorrow_is_refused(age_seconds: int) -> None:
    assert is_refused(OFFICIAL_DATA, max_age_seconds=600, now=STAMPED_AT + age_seconds)


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("appid", ["wx0000000000000000", APPID.upper(), f"{APPID} ", "", APPID[:-1]])
def test_data_of_another_app_is_refused(kind: str, appid: str) -> None:
    assert is_refused(VECTORS[kind], appid=appid)
    assert is_refused(data_of(stamped(KINDS[kind], appid=appid)))


def test_the_other_apps_vector_is_refused() -> None:
    assert read(OTHER_APPS_DATA, appid="wx0000000000000000") == PHONE_NUMBER
    assert is_refused(OTHER_APPS_DATA)


@pytest.mark.parametrize("openid", ["oGZUI0egBJY1zhBYw2KhdUfwVJJF", OPENID.lower(), OPENID[:-1], "", "é"])
def test_data_of_another_user_is_refused(openid: str) -> None:
    assert is_refused(OFFICIAL_DATA, openid=openid)


WATERMARKS: dict[str, Any] = {
    "null": None,
    "a string": json.dumps(WATERMARK),
    "a list": [WATERMARK],
    "empty": {},
    "without an appid": without(WATERMARK, "appid"),
    "without a timestamp": without(WATERMARK, "timestamp"),
    "with more": WATERMARK | {"openid": OPENID},
    "appid: null": WATERMARK | {"appid": None},
    "appid: a list": WATERMARK | {"appid": [APPID]},
    "appid: with a blank": WATERMARK | {"appid": f"{APPID} "},
    "appid: with a line break": WATERMARK | {"appid": f"{APPID}\n"},
    "timestamp: a string": WATERMARK | {"timestamp": str(STAMPED_AT)},
    "timestamp: a fraction": WATERMARK | {"timestamp": STAMPED_AT + 0.5},
    "timestamp: true": WATERMARK | {"timestamp": True},
    "timestamp: negative": WATERMARK | {"timestamp": -1},
    "timestamp: huge": WATERMARK | {"timestamp": 2**53},
}


@pytest.mark.parametrize("watermark", WATERMARKS.values(), ids=WATERMARKS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_watermark_is_refused(kind: str, watermark: object) -> None:
    assert is_refused(data_of({**KINDS[kind], "watermark": watermark}))


OPTIONAL = ("unionId", "open_single_roomid", "group_openid", "chat_type")


def renamed(kind: str) -> Iterator[tuple[str, Any]]:
    payload = stamped(KINDS[kind])
    for name, value in without(payload, *OPTIONAL).items():
        for other in (
            name.swapcase(),
            name.capitalize(),
            name + " ",
            name[:-1],
            "x" + name[1:],
            "",
            "countryCodE",
        ):
            yield f"{name} as {other!r}", without(payload, name) | {other: value}


def retyped(kind: str) -> Iterator[tuple[str, Any]]:
    payload = stamped(KINDS[kind])
    for name, value in payload.items():
        for strange in (None, True, 1.0, 0.5, -1, 2**53, 10**400, [value], {}, {"x": 1}, "\ud800", "x\n\ud800"):
            if strange is None and name == "unionId":
                continue
            yield f"{name} being {str(strange)[:9]!r}", payload | {name: strange}


def resized(kind: str) -> Iterator[tuple[str, Any]]:
    payload = stamped(KINDS[kind])
    for name in without(payload, *OPTIONAL):
        yield f"no {name}", without(payload, name)
    profiles = {"user_info", "profile"}
    for other in without(KINDS, kind, *(profiles if kind in profiles else ())):
        yield f"all of {other} besides", payload | KINDS[other]
    yield "the watermark first", {"watermark": WATERMARK, **payload}


STRANGE_NAMES = ("__proto__", "", "_x", "1x", "a-b", "a b", "é", "a" * 41, "x\n", "\ud800")
NEARLY_KNOWN_NAMES = ("open_id", "openid", "OpenId", "phone_number", "PHONENUMBER", "Watermark", "appid")
HIDDEN_NAMES = ("openId", "purePhoneNumber", "openGId", "opengid", "union_id", "appId", "watermark")
STRANGE_VALUES: tuple[Any, ...] = ({"\ud800": 1}, ["\ud800"], json.loads("[" * 20 + "]" * 20), 1e999, [-1e999])


def extended(kind: str) -> Iterator[tuple[str, Any]]:
    payload = stamped(KINDS[kind])
    for name in (*STRANGE_NAMES, *NEARLY_KNOWN_NAMES):
        yield f"{name!r} besides", payload | {name: "x"}
    for name in HIDDEN_NAMES:
        yield f"{name} hidden in an object", payload | {"x": {name: 1}}
        yield f"{name} hidden in lists", payload | {"x": [[{"x": {name: 1}}]]}
    for value in STRANGE_VALUES:
        yield f"{str(value)[:20]!r} besides", payload | {"x": value}


MISFITS = {
    f"{kind}: {what}": payload
    for kind in KINDS
    for misfits in (renamed, retyped, resized, extended)
    for what, payload in misfits(kind)
}


NAMES_OF_KINDS: set[str] = set().union(*KINDS.values())


@pytest.mark.parametrize("payload", MISFITS.values(), ids=MISFITS)
def test_what_is_not_as_its_kind_has_to_be_is_never_read(payload: dict[str, Any]) -> None:
    with pytest.raises(StaleSessionKey if NAMES_OF_KINDS & payload.keys() else UnknownUserData):
        read(data_of(json.dumps(payload).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(USER_INFO | {"unionId": f"{UNIONID}\n"}, id="unionId with a line break"),
        pytest.param(USER_INFO | {"unionId": ""}, id="unionId empty"),
        pytest.param(USER_INFO | {"unionId": "o" * 129}, id="unionId too long"),
        pytest.param(USER_INFO | {"gender": "1"}, id="gender as a string"),
        pytest.param(USER_INFO | {"avatarUrl": "http://wx.qlogo.cn/头像"}, id="avatarUrl not ASCII"),
        pytest.param(PROFILE | {"unionId": UNIONID}, id="unionId without openId"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": 13580006666}, id="phoneNumber as a number"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "13580006666a"}, id="phoneNumber with a letter"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "１３５"}, id="phoneNumber in full width"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "1" * 33}, id="phoneNumber too long"),
        pytest.param(PHONE_NUMBER | {"countryCode": 86.0}, id="countryCode with a point"),
        pytest.param(SHARE | {"openGId": "t/G"}, id="openGId that is none"),
        pytest.param({"openGId": "tGab"}, id="openGId of four characters, which can be chosen"),
        pytest.param({"opengid": ""}, id="opengid empty"),
        pytest.param({"opengid": "tGab"}, id="opengid of four characters"),
        pytest.param(GROUP | {"opengid": ""}, id="opengid empty, and no open_single_roomid"),
        pytest.param({"activityId": "a"}, id="activityId of one character, which can be chosen"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "13800138000"}, id="another phoneNumber than the pure one"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "+113580006666"}, id="phoneNumber of another country"),
        pytest.param(PHONE_NUMBER | {"purePhoneNumber": "+8613580006666"}, id="the pure number with its country"),
        pytest.param(PHONE_NUMBER | {"phoneNumber": "()", "purePhoneNumber": "()"}, id="no digit"),
        pytest.param(
            PHONE_NUMBER | {"phoneNumber": "1" * 16, "purePhoneNumber": "1" * 16},
            id="more digits than numbers have",
        ),
        pytest.param(SHARE | {"opengid": SHARE["openGId"]}, id="openGId and opengid"),
        pytest.param({"stepInfoList": [{"timestamp": 1, "step": 1}] * 65}, id="werun of 65 days"),
        pytest.param({"stepInfoList": [{"timestamp": 1}]}, id="werun without a step"),
        pytest.param({"stepInfoList": [{"timestamp": 1, "step": -1}]}, id="werun backwards"),
        pytest.param({"stepInfoList": [{"timestamp": 1, "step": "1"}]}, id="werun with a string"),
        pytest.param({"stepInfoList": [{"timestamp": 1, "step": 1, "x": 1}]}, id="werun with more"),
        pytest.param({"stepInfoList": {"0": WERUN["stepInfoList"][0]}}, id="werun as an object"),
    ],
)
def test_what_wechat_would_not_send_is_refused(payload: dict[str, Any]) -> None:
    assert is_refused(data_of(stamped(payload)))


TEXT = OFFICIAL_TEXT
NOT_ITS_JSON: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"hello",
    "a list": b"[" + TEXT + b"]",
    "a string": json.dumps(TEXT.decode()).encode(),
    "a number": b"1",
    "null": b"null",
    "cut off": TEXT[:-1],
    "twice": TEXT + TEXT,
    "something after it": TEXT + b"\0",
    "a byte order mark": b"\xef\xbb\xbf" + TEXT,
    "UTF-16": TEXT.decode().encode("utf-16"),
    "GBK": json.dumps(stamped(PROFILE | {"city": "苏州"}), ensure_ascii=False).encode("gbk"),
    "an overlong encoding": TEXT.replace(b"Band", b"B\xc1\xa1nd"),
    "an encoded surrogate": TEXT.replace(b"Band", b"\xed\xa0\x80"),
    "an escaped surrogate": TEXT.replace(b"Band", rb"\ud800"),
    "single quotes": TEXT.replace(b'"', b"'"),
    "a comma too many": TEXT[:-1] + b",}",
    "a comment": TEXT + b"// comment",
    "NaN in a new field": TEXT[:-1] + b',"x":NaN}',
    "infinity in a new field": TEXT[:-1] + b',"x":-Infinity}',
    "infinity in the digits of a new field": TEXT[:-1] + b',"x":[1e999]}',
    "deep in a new field": TEXT[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}",
    "NaN": TEXT.replace(b'"gender":1', b'"gender":NaN'),
    "NaN for an object": TEXT[:-66] + b'"watermark":NaN}',
    "infinity": TEXT.replace(b'"gender":1', b'"gender":-Infinity'),
    "infinity in digits": TEXT.replace(b'"gender":1', b'"gender":1e999'),
    "a number of many digits": TEXT.replace(b'"gender":1', b'"gender":' + b"1" * 30_000),
    "a watermark twice": TEXT.replace(b'"watermark"', b'"watermark":{},"watermark"'),
    "the same watermark twice": TEXT[:-1] + b',"watermark":' + json.dumps(WATERMARK).encode() + b"}",
    "an openId twice": TEXT.replace(b"{", b'{"openId":"o",', 1),
    "an appid twice": TEXT.replace(b'"appid"', b'"appid":"wx0","appid"'),
    "an appid twice, once escaped": TEXT.replace(b'"appid"', rb'"\u0061ppid":"wx0","appid"'),
    "deep lists": b"[" * 30_000,
    "deep lists with an end": b"[" * 15_000 + b"]" * 15_000,
    "deep objects": b'{"a":' * 5_000,
    "deep in a field": TEXT.replace(b'"Band"', b"[" * 15_000 + b"]" * 15_000),
    "deep in a field that comes twice": TEXT.replace(b"{", b'{"openId":' + b"[" * 500 + b"]" * 500 + b",", 1),
}


@pytest.mark.parametrize("text", NOT_ITS_JSON.values(), ids=NOT_ITS_JSON)
def test_what_is_not_the_json_of_one_object_is_refused(text: bytes) -> None:
    assert is_refused(data_of(text))


PADDED = {
    "zeros": TEXT + b"\0" * 7,
    "one more than a block": TEXT + b"\x11" * 7,
    "far more than a block": TEXT + b"\xc8" * 7,
    "of another length": TEXT + b"\x08" * 7,
    "of unequal bytes": TEXT + b"\x06" + b"\x07" * 6,
    "spaces, as JSON allows": TEXT + b" " * 7,
    "nothing but padding": b"\x10" * 16,
    "blocks of nothing but padding": b"\x10" * 112,
    "missing": TEXT.replace(b"Band", b"x" * 11),
}


@pytest.mark.parametrize("padded", PADDED.values(), ids=PADDED)
def test_other_padding_is_refused(padded: bytes) -> None:
    assert is_refused(encrypted(padded))


# What somebody without the key can do to it.


def test_the_vectors_do_not_survive_one_flipped_bit() -> None:
    assert len(b64decode(SHARE_DATA)) == 112
    for encrypted_data in VECTORS.values():
        bits = 8 * len(b64decode(encrypted_data))
        assert not any(is_believed(flipped(encrypted_data, 1 << bit)) for bit in range(bits))


@pytest.mark.parametrize("kind", ["user_info", "phone_number", "werun"])
def test_the_iv_does_not_survive_one_flipped_bit(kind: str) -> None:
    assert all(is_never_read(VECTORS[kind], flipped(IV, 1 << bit)) for bit in range(128))


kinds = st.sampled_from(list(VECTORS))
tamperable_kinds = st.sampled_from(["user_info", "phone_number", "werun"])


@given(kind=tamperable_kinds, mask=st.integers(min_value=1, max_value=2**128 - 1))
def test_no_tampering_with_the_iv_goes_unnoticed(kind: str, mask: int) -> None:
    assert is_never_read(VECTORS[kind], flipped(IV, mask))


@given(kind=kinds, data=st.data())
def test_no_tampering_with_the_data_goes_unnoticed(kind: str, data: st.DataObject) -> None:
    bits = 8 * len(b64decode(VECTORS[kind]))
    mask = data.draw(st.integers(min_value=1, max_value=2**bits - 1))

    assert is_refused(flipped(VECTORS[kind], mask))


@given(kind=kinds, mask=st.integers(min_value=1, max_value=2**128 - 1))
def test_no_other_key_opens_it(kind: str, mask: int) -> None:
    assert is_refused(VECTORS[kind], session_keys=[flipped(SESSION_KEY, mask)])


@given(kind=kinds, key=st.binary(min_size=16, max_size=16).map(lambda key: b64encode(key).decode()))
def test_what_another_key_encrypted_does_not_open(kind: str, key: str) -> None:
    encrypted_data = data_of(stamped(KINDS[kind]), session_key=key)

    assert read(encrypted_data, session_keys=[key]) == KINDS[kind]
    assert is_refused(encrypted_data)


@pytest.mark.parametrize("kind", VECTORS)
def test_it_is_refused_when_cut(kind: str) -> None:
    data = b64decode(VECTORS[kind])

    assert all(is_refused(b64encode(data[:length]).decode()) for length in range(16, len(data), 16))
    assert all(is_refused(b64encode(data[start:]).decode()) for start in range(16, len(data), 16))


whole_blocks = st.integers(0, 3).flatmap(lambda count: st.binary(min_size=16 * count, max_size=16 * count))


@given(kind=kinds, before=whole_blocks, after=whole_blocks)
def test_it_is_refused_when_extended(kind: str, before: bytes, after: bytes) -> None:
    data = before + b64decode(VECTORS[kind]) + after

    assert is_refused(b64encode(data).decode()) is bool(before or after)


@given(kind=kinds, other=kinds, data=st.data())
def test_it_is_refused_when_blocks_are_swapped_or_spliced(kind: str, other: str, data: st.DataObject) -> None:
    both = b64decode(VECTORS[kind]) + b64decode(VECTORS[other])
    blocks = [both[at : at + 16] for at in range(0, len(both), 16)]
    spliced = b"".join(data.draw(st.lists(st.sampled_from(blocks), min_size=1, max_size=30)))

    is_whole = b64encode(spliced).decode() in VECTORS.values()
    assert is_refused(b64encode(spliced).decode()) is not is_whole


def test_another_iv_is_refused() -> None:
    assert is_refused(OFFICIAL_DATA, OTHER_KEY)


@given(blocks=st.integers(1, 4).flatmap(lambda count: st.binary(min_size=16 * count, max_size=16 * count)))
def test_whatever_it_is_given_it_is_refused_in_one_way(blocks: bytes) -> None:
    assert is_refused(b64encode(blocks).decode())


@given(text=st.binary(max_size=64))
def test_bytes_that_happen_to_decrypt_are_refused(text: bytes) -> None:
    assert is_refused(data_of(text))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=values, name=st.sampled_from([*USER_INFO, *PHONE_NUMBER, "watermark", "openGId", "stepInfoList"]))
def test_other_json_is_refused(value: object, name: str) -> None:
    assert is_refused(data_of(json.dumps(value).encode()))
    assert is_refused(data_of(json.dumps({name: value}).encode()))


def test_a_forged_openid_is_refused() -> None:
    forged = forged_iv(OFFICIAL_DATA, b'{"openId":"oABCD')

    assert read(*forged, openid="oABCD" + OPENID[5:])["openId"] == "oABCD" + OPENID[5:]
    assert is_refused(*forged)


def test_an_openid_cannot_be_renamed_into_a_unionid() -> None:
    encrypted_data = data_of({"openId": OPENID, **PROFILE, "watermark": WATERMARK})

    assert is_refused(*forged_iv(encrypted_data, b'{"unionId":"GZUI'))


def test_a_unionid_cannot_be_kept_by_cutting_off_the_openid() -> None:
    assert OFFICIAL_TEXT[32:].startswith(b'UfwVJJE","nickName":')
    assert is_refused(*forged_iv(OFFICIAL_DATA, b'{        "nickNa', block=2))


def test_what_is_left_without_its_openid_names_nobody() -> None:
    encrypted_data = data_of({"openId": OPENID, **PROFILE, "watermark": WATERMARK})

    forged = forged_iv(encrypted_data, b'{        "nickNa', block=2)

    assert read(*forged, openid="somebody-else") == PROFILE


# How long a refusal takes is not for a test to measure, but what is done in that time is.


def keys_by_padding() -> dict[bool, str]:
    """Return a wrong key for the official data by whether its padding, by chance, is valid."""
    keys = {}
    for number in range(10_000):
        key = b64encode(number.to_bytes(16, "big")).decode()
        keys[crypto.decipher(b64decode(OFFICIAL_DATA), b64decode(IV), session_key=key).is_valid] = key
    return keys


def work_of(encrypted_data: str, iv: str = IV, **changes: Any) -> list[str]:
    """Return what of ours, and of C, is called in the course of a refusal."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        ours = (crypto, user_data, user_data_kinds)
        if event in ("call", "c_call") and inspect.getmodule(frame.f_code) in ours:
            calls.append(argument.__qualname__ if argument else frame.f_code.co_name)

    sys.setprofile(note)
    try:
        refused = is_refused(encrypted_data, iv, **changes)
    finally:
        sys.setprofile(None)
    assert refused
    return calls


def test_the_same_is_done_whether_the_padding_is_valid_or_not() -> None:
    keys = keys_by_padding()

    valid, invalid = (work_of(OFFICIAL_DATA, session_keys=[keys[is_valid]]) for is_valid in (True, False))

    assert len(valid) > 50
    assert valid == invalid


REFUSALS: dict[str, dict[str, Any]] = {
    "a broken key": {"encrypted_data": OFFICIAL_DATA, "session_keys": ["?"]},
    "another key": {"encrypted_data": OFFICIAL_DATA, "session_keys": [OTHER_KEY]},
    "padding": {"encrypted_data": encrypted(PADDED["zeros"])},
    "UTF-8": {"encrypted_data": data_of(b"\xff")},
    "JSON": {"encrypted_data": data_of(b"?")},
    "no watermark": {"encrypted_data": data_of({})},
    "schema": {"encrypted_data": data_of(stamped(USER_INFO | {"gender": "1"}))},
    "another kind's name": {"encrypted_data": data_of(stamped(USER_INFO | {"openGId": "x"}))},
    "first name": {"encrypted_data": data_of(stamped(dict(reversed(USER_INFO.items()))))},
    "appid": {"encrypted_data": OTHER_APPS_DATA},
    "age": {"encrypted_data": OFFICIAL_DATA, "max_age_seconds": 0, "now": STAMPED_AT + 1},
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_no_refusal_leaves_out_a_step(refusal: dict[str, Any]) -> None:
    everything = set(work_of(OFFICIAL_DATA, openid="o"))

    assert everything <= set(work_of(**refusal))


def test_every_key_has_its_turn() -> None:
    one = work_of(OFFICIAL_DATA, session_keys=[OTHER_KEY])
    three = work_of(OFFICIAL_DATA, session_keys=[OTHER_KEY] * 3)

    assert three.count("decipher") == 3 * one.count("decipher") == 3
