"""Encrypted data as a mini-program gets it, opened here with a decryption of the tests' own."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from tests.sandbox.drivers import APPID, CHECK, OTHER_APPID, Clock, Sandbox, signed_query
from wxlogin.sandbox.crypto import encrypt

KINDS = ["user_info", "profile", "phone_number", "share", "group", "chat_tool", "private_message", "werun"]
PROFILE = (
    '"nickName":"微信用户","gender":0,"language":"","city":"","province":"","country":"",'
    '"avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4'
    'BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"'
)


def decrypt(given: dict[str, str], session_key: str) -> str:
    decryptor = Cipher(AES128(base64.b64decode(session_key)), CBC(base64.b64decode(given["iv"]))).decryptor()
    padded = decryptor.update(base64.b64decode(given["encryptedData"], validate=True)) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return (unpadder.update(padded) + unpadder.finalize()).decode()


@pytest.fixture
def session(sandbox: Sandbox) -> Any:
    return sandbox.log_in(openid="o-1")


def payload_of(sandbox: Sandbox, session: Any, kind: str, **data: Any) -> Any:
    return json.loads(decrypt(sandbox.user_data(openid="o-1", kind=kind, data=data), session["session_key"]))


def test_user_data_is_answered_in_the_documented_order(sandbox: Sandbox, session: Any) -> None:
    assert list(sandbox.user_data(openid="o-1", kind="share")) == [
        "encryptedData",
        "iv",
        "rawData",
        "signature",
    ]


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [
        ("user_info", '{"openId":"o-1",' + PROFILE, ',"watermark":{"timestamp":1681378415,"appid":"%s"}}'),
        ("profile", "{" + PROFILE, ',"watermark":{"timestamp":1681378415,"appid":"%s"},"is_demote":true}'),
        (
            "group",
            '{"opengid":"tG000000000000000000000000000","open_single_roomid":"",'
            '"group_openid":"oG000000000000000000000000000","chat_type":3',
            ',"watermark":{"timestamp":1681378415,"appid":"%s"}}',
        ),
        (
            "chat_tool",
            '{"opengid":"","open_single_roomid":"sG000000000000000000000000000",'
            '"group_openid":"oG000000000000000000000000000","chat_type":1',
            ',"watermark":{"timestamp":1681378415,"appid":"%s"}}',
        ),
        (
            "private_message",
            '{"activityId":"1014_0000000000000000"',
            ',"watermark":{"timestamp":1681378415,"appid":"%s"}}',
        ),
        (
            "phone_number",
            '{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86"',
            ',"watermark":{"appid":"%s","timestamp":1681378415}}',
        ),
        (
            "share",
            '{"openGId":"tG0000000000000000000000000000"',
            ',"watermark":{"timestamp":1681378415,"appid":"%s"}}',
        ),
        (
            "werun",
            '{"stepInfoList":[{"timestamp":1678723200,"step":100},{"timestamp":1678809600,"step":200},',
            '{"timestamp":1681315200,"step":3100}],"watermark":{"timestamp":1681378415,"appid":"%s"}}',
        ),
    ],
)
def test_a_payload_has_the_shape_and_the_order_of_the_vectors(
    sandbox: Sandbox, session: Any, kind: str, start: str, end: str
) -> None:
    text = decrypt(sandbox.user_data(openid="o-1", kind=kind), session["session_key"])

    assert text.startswith(start)
    assert text.endswith(end % APPID)
    assert kind == "werun" or len(text) == len(start) + len(end % APPID)


@pytest.mark.parametrize(("now", "midnight"), [(1_681_315_199, 1_681_228_800), (1_681_315_200, 1_681_315_200)])
def test_steps_are_counted_in_31_days_of_chinas(
    sandbox: Sandbox, clock: Clock, session: Any, now: int, midnight: int
) -> None:
    clock.now = now

    steps = payload_of(sandbox, session, "werun")["stepInfoList"]

    assert [day["timestamp"] for day in steps] == [midnight - 86_400 * ago for ago in range(30, -1, -1)]


def test_the_unionid_of_a_user_who_has_one_comes_before_the_watermark(sandbox: Sandbox) -> None:
    session = sandbox.log_in(openid="o-1", unionid="u-1")

    payload = payload_of(sandbox, session, "user_info")

    assert list(payload.items())[-2] == ("unionId", "u-1")


@pytest.mark.parametrize("kind", KINDS)
def test_the_watermark_tells_when_and_whose(sandbox: Sandbox, session: Any, clock: Clock, kind: str) -> None:
    clock.advance(1000)

    watermark = payload_of(sandbox, session, kind)["watermark"]

    assert watermark == {"appid": APPID, "timestamp": int(clock.now)}


def test_another_apps_data_has_its_appid(sandbox: Sandbox, session: Any) -> None:
    sandbox.code(openid="o-1", appid=OTHER_APPID)

    given = sandbox.user_data(openid="o-1", kind="share", appid=OTHER_APPID)

    assert given["encryptedData"]
    with pytest.raises(ValueError):  # noqa: PT011 (which one is chance: padding, UTF-8 or JSON)
        json.loads(decrypt(given, session["session_key"]))


@pytest.mark.parametrize("kind", KINDS)
def test_data_replaces_fields_where_they_stand_and_adds_in_front_of_the_watermark(
    sandbox: Sandbox, session: Any, kind: str
) -> None:
    before = payload_of(sandbox, session, kind)
    *_, last = (name for name in before if name not in {"watermark", "is_demote"})

    payload = payload_of(sandbox, session, kind, **{last: "微信", "msgTicket": 1})

    names = list(payload)
    assert names[names.index(last) : names.index("watermark") + 1] == [last, "msgTicket", "watermark"]
    assert payload == before | {last: "微信", "msgTicket": 1}


def test_the_watermark_can_be_replaced(sandbox: Sandbox, session: Any) -> None:
    watermark = {"timestamp": 1, "appid": OTHER_APPID}

    assert payload_of(sandbox, session, "share", watermark=watermark)["watermark"] == watermark


def test_text_beyond_ascii_is_not_escaped(sandbox: Sandbox, session: Any) -> None:
    given = sandbox.user_data(openid="o-1", kind="user_info", data={"nickName": "微信用户😀"})

    assert '"nickName":"微信用户😀"' in decrypt(given, session["session_key"])
    assert '"nickName":"微信用户😀"' in given["rawData"]


def test_the_raw_data_is_the_profile_alone(sandbox: Sandbox) -> None:
    sandbox.log_in(openid="o-1", unionid="u-1")

    given = sandbox.user_data(openid="o-1", kind="user_info")

    assert given["rawData"] == f"{{{PROFILE}}}"


def test_the_signature_is_of_the_raw_data_and_the_key(sandbox: Sandbox, session: Any) -> None:
    given = sandbox.user_data(openid="o-1", kind="user_info", data={"nickName": "微信用户"})

    expected = hashlib.sha1((given["rawData"] + session["session_key"]).encode(), usedforsecurity=False)
    assert given["signature"] == expected.hexdigest()


def test_every_iv_is_a_new_one_of_16_bytes(sandbox: Sandbox, session: Any) -> None:
    ivs = {sandbox.user_data(openid="o-1", kind="share")["iv"] for _ in range(3)}

    assert [len(base64.b64decode(iv, validate=True)) for iv in ivs] == [16, 16, 16]


@pytest.mark.parametrize("change", ["code", "reset"])
def test_the_key_is_the_one_that_is_live(sandbox: Sandbox, session: Any, change: str) -> None:
    if change == "code":
        fresh = sandbox.log_in(openid="o-1")
    else:
        fresh = sandbox.get("/wxa/resetusersessionkey", signed_query(session, sandbox.fetch_token()))

    assert payload_of(sandbox, fresh, "user_info")["openId"] == "o-1"


def test_user_data_leaves_the_key_alone(sandbox: Sandbox, session: Any) -> None:
    sandbox.user_data(openid="o-1", kind="share")

    assert sandbox.get(CHECK, signed_query(session, sandbox.fetch_token()))["errcode"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"openid": "o-1"},
        {"kind": "share"},
        {"openid": "o-unknown", "kind": "share"},
        {"openid": "o-1", "kind": "share", "appid": OTHER_APPID},
        {"openid": "o-1", "kind": "share", "appid": "wx0000000000000000"},
        {"openid": "o-1", "kind": "nothing"},
        {"openid": "o-1", "kind": ["share"]},
        {"openid": "o-1", "kind": None},
        {"openid": 1, "kind": "share"},
        {"openid": "o-1", "kind": "share", "data": []},
        {"openid": "o-1", "kind": "share", "data": None},
        {"openid": "o-1", "kind": "share", "data": {"a": float("nan")}},
        {"openid": "o-1", "kind": "share", "data": {"\ud800": 1}},
        {"openid": "o-1", "kind": "share", "unknown": 1},
    ],
)
def test_asking_for_user_data_that_makes_no_sense_is_refused(
    sandbox: Sandbox, session: Any, fields: dict[str, Any]
) -> None:
    response = sandbox.client.post("/_sandbox/user-data", data=json.dumps(fields))

    assert response.status_code == 400
    assert response.get_json()["error"]["code"] == "invalid_request"


def test_data_can_be_long(sandbox: Sandbox, session: Any) -> None:
    payload = payload_of(sandbox, session, "share", msgTicket=60_000 * "x")

    assert payload["msgTicket"] == 60_000 * "x"


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17])
def test_text_of_any_length_is_padded(length: int) -> None:
    iv, session_key = bytes(16), base64.b64encode(bytes(16)).decode()

    encrypted = encrypt(length * "x", session_key=session_key, iv=iv)

    assert len(base64.b64decode(encrypted)) == (length // 16 + 1) * 16
    assert decrypt({"encryptedData": encrypted, "iv": base64.b64encode(iv).decode()}, session_key) == length * "x"


@pytest.mark.parametrize(
    ("number", "whole", "pure", "country"),
    [
        ("13580006666", "13580006666", "13580006666", "86"),
        ("+8613580006666", "13580006666", "13580006666", "86"),
        ("+85261234567", "+85261234567", "61234567", "852"),
        ("+12025550123", "+12025550123", "2025550123", "1"),
        ("+79161234567", "+79161234567", "9161234567", "7"),
        ("+447700900123", "+447700900123", "7700900123", "44"),
        ("+6581234567", "+6581234567", "81234567", "65"),
        ("+35312345678", "+35312345678", "12345678", "353"),
        ("+886912345678", "+886912345678", "912345678", "886"),
        ("+85366123456", "+85366123456", "66123456", "853"),
        ("+998901234567", "+998901234567", "901234567", "998"),
    ],
)
def test_a_phone_number_is_split_as_wechat_does(
    sandbox: Sandbox, session: Any, number: str, whole: str, pure: str, country: str
) -> None:
    expected = {"phoneNumber": whole, "purePhoneNumber": pure, "countryCode": country}

    by_code = sandbox.phone_number(code=sandbox.phone_code(phoneNumber=number))["phone_info"]
    encrypted = payload_of(sandbox, session, "phone_number", phoneNumber=number)

    assert by_code == {**expected, "watermark": by_code["watermark"]}
    assert encrypted == {**expected, "watermark": encrypted["watermark"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"phoneNumber": 85261234567},
        {"phoneNumber": "+8613580006666", "countryCode": "86"},
        {"phoneNumber": "+85261234567", "purePhoneNumber": "1"},
    ],
)
def test_what_is_said_of_a_number_otherwise_is_as_it_is_said(
    sandbox: Sandbox, session: Any, changes: dict[str, Any]
) -> None:
    assert payload_of(sandbox, session, "phone_number", **changes).items() >= changes.items()
