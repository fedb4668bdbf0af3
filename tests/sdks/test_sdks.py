"""SDKs that others wrote for WeChat, unmodified, get from the sandbox what they expect of WeChat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.conftest import APPID
from tests.drivers import Sandbox
from tests.sdks.backend import SDKS, Backend, Refused, Sdk, Start

OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
UNIONID = "ocMvos6NjeKLIBqg5Mr9QjxrP1FA"
LOGIN, TOKEN, STABLE_TOKEN = "/sns/jscode2session", "/cgi-bin/token", "/cgi-bin/stable_token"
PHONE_NUMBER = "/wxa/business/getuserphonenumber"

PUBLIC: Final[Mapping[str, dict[str, Any]]] = {
    "user_info": {"openId": OPENID, "nickName": "微信用户", "gender": 0, "unionId": UNIONID},
    "phone_number": {"phoneNumber": "13580006666", "purePhoneNumber": "13580006666"},
    "share": {"openGId": "tG" + 28 * "0"},
}
OF_TODAY: Final[Mapping[str, dict[str, Any]]] = {
    "profile": {"nickName": "微信用户", "is_demote": True},
    "group": {"opengid": "tG" + 27 * "0", "chat_type": 3},
    "chat_tool": {"open_single_roomid": "sG" + 27 * "0", "chat_type": 1},
    "private_message": {"activityId": "1014_" + 16 * "0"},
}
ENDINGS = [pytest.param({"void": True}, 40001, id="void"), pytest.param({"expire": True}, 42001, id="expired")]


def with_those_that(do: Callable[[Sdk], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sdk", [sdk for sdk in SDKS if do(sdk)], indirect=True, ids=str)


@pytest.fixture
def session_key(backend: Backend, sandbox: Sandbox) -> str:
    """The key of a user who has logged in."""
    return str(backend.log_in(sandbox.issue_code(openid=OPENID, unionid=UNIONID))["session_key"])


# Logging in


def test_a_code_logs_its_user_in(backend: Backend, sandbox: Sandbox) -> None:
    session = backend.log_in(sandbox.issue_code(openid=OPENID, unionid=UNIONID))

    assert (session["openid"], session["unionid"]) == (OPENID, UNIONID)


def test_the_session_key_is_the_one_that_wechat_signs_with(session_key: str, sandbox: Sandbox) -> None:
    signed = sandbox.user_data(openid=OPENID)

    digest = hashlib.sha1((signed["rawData"] + session_key).encode(), usedforsecurity=False)
    assert signed["signature"] == digest.hexdigest()


def test_a_used_code_is_refused(backend: Backend, sandbox: Sandbox) -> None:
    code = sandbox.issue_code()
    backend.log_in(code)

    with pytest.raises(Refused) as refusal:
        backend.log_in(code)

    assert refusal.value.errcode == 40163


def test_a_code_that_wechat_never_gave_is_refused(backend: Backend) -> None:
    with pytest.raises(Refused) as refusal:
        backend.log_in("021ByuFs0fNXie1T5lJs0IwBFs0ByuF1")

    assert refusal.value.errcode == 40029


def test_a_wrong_secret_is_refused(start: Start, sandbox: Sandbox) -> None:
    backend = start(secret="wrong-secret")

    with pytest.raises(Refused) as refusal:
        backend.log_in(sandbox.issue_code())

    assert refusal.value.errcode == 40125


def test_a_login_is_one_call_but_for_the_sdk_that_sends_a_token_too(
    sdk: Sdk, backend: Backend, sandbox: Sandbox
) -> None:
    backend.log_in(sandbox.issue_code())

    paths = [call["path"] for call in sandbox.calls()]

    assert paths == ([TOKEN, LOGIN] if sdk.sends_token_to_log_in else [LOGIN])


# Access tokens


def test_an_access_token_is_kept_and_used_again(backend: Backend, sandbox: Sandbox) -> None:
    first = backend.access_token()
    backend.phone_number(sandbox.phone_code())

    assert backend.access_token() == first
    assert sandbox.answers(TOKEN) == [0]


@with_those_that(lambda sdk: sdk.has_stable_tokens)
def test_a_stable_token_is_kept_and_used_again(start: Start, sandbox: Sandbox) -> None:
    backend = start(tokens="stable_token")
    first = backend.access_token()
    backend.phone_number(sandbox.phone_code())

    assert backend.access_token() == first
    assert (sandbox.answers(STABLE_TOKEN), sandbox.answers(TOKEN)) == ([0], [])


@with_those_that(lambda sdk: sdk.renews_tokens)
@pytest.mark.parametrize(("ending", "errcode"), ENDINGS)
def test_a_token_that_has_ended_is_renewed(
    backend: Backend, sandbox: Sandbox, ending: Mapping[str, bool], errcode: int
) -> None:
    ended = backend.access_token()
    sandbox.end_tokens(**ending)

    backend.phone_number(sandbox.phone_code())

    assert sandbox.answers(PHONE_NUMBER) == [errcode, 0]
    assert sandbox.answers(TOKEN) == [0, 0]
    assert backend.access_token() != ended


# These two look at the clock only: what WeChat says of a token, they hand to their caller.
@with_those_that(lambda sdk: not sdk.renews_tokens)
@pytest.mark.parametrize(("ending", "errcode"), ENDINGS)
def test_a_token_that_has_ended_is_sent_until_somebody_renews_it(
    backend: Backend, sandbox: Sandbox, ending: Mapping[str, bool], errcode: int
) -> None:
    backend.access_token()
    sandbox.end_tokens(**ending)
    code = sandbox.phone_code()

    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            backend.phone_number(code)
        assert refusal.value.errcode == errcode
    backend.renew_token()
    backend.phone_number(code)

    assert sandbox.answers(PHONE_NUMBER) == [errcode, errcode, 0]
    assert sandbox.answers(TOKEN) == [0, 0]


# Users' data


def test_a_code_gives_a_phone_number(backend: Backend, sandbox: Sandbox) -> None:
    phone = backend.phone_number(sandbox.phone_code(phoneNumber="13912345678"))

    assert (phone["phoneNumber"], phone["purePhoneNumber"]) == ("13912345678", "13912345678")
    assert str(phone["countryCode"]) == "86"


def test_a_used_code_gives_no_phone_number(backend: Backend, sandbox: Sandbox) -> None:
    code = sandbox.phone_code()
    backend.phone_number(code)

    with pytest.raises(Refused) as refusal:
        backend.phone_number(code)

    assert refusal.value.errcode == 40029


@pytest.mark.parametrize("kind", PUBLIC)
def test_encrypted_data_is_opened(backend: Backend, sandbox: Sandbox, session_key: str, kind: str) -> None:
    opened = backend.decrypt(sandbox.user_data(openid=OPENID, kind=kind), session_key=session_key)

    assert opened | PUBLIC[kind] == opened


@pytest.mark.parametrize("kind", OF_TODAY)
@with_those_that(lambda sdk: sdk.gives_all_fields)
def test_encrypted_data_of_today_is_opened(
    backend: Backend, sandbox: Sandbox, session_key: str, kind: str
) -> None:
    opened = backend.decrypt(sandbox.user_data(openid=OPENID, kind=kind), session_key=session_key)

    assert opened | OF_TODAY[kind] == opened


# It gives a struct, which has none of their fields.
@pytest.mark.parametrize("kind", OF_TODAY)
@with_those_that(lambda sdk: not sdk.gives_all_fields)
def test_encrypted_data_of_today_is_this_mini_programs(
    backend: Backend, sandbox: Sandbox, session_key: str, kind: str
) -> None:
    opened = backend.decrypt(sandbox.user_data(openid=OPENID, kind=kind), session_key=session_key)

    assert opened["watermark"]["appid"] == APPID


def test_the_key_of_an_earlier_login_opens_nothing(backend: Backend, sandbox: Sandbox, session_key: str) -> None:
    backend.log_in(sandbox.issue_code(openid=OPENID))

    with pytest.raises(Refused):
        backend.decrypt(sandbox.user_data(openid=OPENID), session_key=session_key)


ANOTHERS = {"watermark": {"appid": "wx00000000000000aa", "timestamp": 1_477_314_187}}


@with_those_that(lambda sdk: sdk.checks_watermark)
def test_data_of_another_mini_program_is_refused(backend: Backend, sandbox: Sandbox, session_key: str) -> None:
    anothers = sandbox.user_data(openid=OPENID, data=ANOTHERS)

    with pytest.raises(Refused, match=r"(?i)app ?id"):
        backend.decrypt(anothers, session_key=session_key)


# Its `decryptSession` gives what it has decrypted: whose it is, the caller has to look.
@with_those_that(lambda sdk: not sdk.checks_watermark)
def test_data_of_another_mini_program_is_opened(backend: Backend, sandbox: Sandbox, session_key: str) -> None:
    anothers = sandbox.user_data(openid=OPENID, data=ANOTHERS)

    assert backend.decrypt(anothers, session_key=session_key)["watermark"] == ANOTHERS["watermark"]


# TLS


def test_an_sdk_that_does_not_trust_the_authority_says_nothing(
    start: Start, sandbox: Sandbox, way_to_wechat: Mapping[str, str]
) -> None:
    backend = start(environment={"HTTPS_PROXY": way_to_wechat["HTTPS_PROXY"]})

    with pytest.raises(Refused, match=r"(?i)certificate"):
        backend.log_in(sandbox.issue_code())

    assert sandbox.calls() == []
