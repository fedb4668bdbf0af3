"""Each endpoint of WeChat's: what is sent, what comes of each answer, and that no secret gets out."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests

from tests.drivers import Sandbox
from tests.wechat.conftest import ClientOf
from tests.wechat.drivers import (
    ACCESS_TOKEN,
    APPID,
    BAD_DAYS,
    ENDPOINTS,
    OK,
    OPENID,
    PHONE_CODE,
    PHONE_INFO,
    RID,
    SECRET,
    SESSION_KEY,
    SIGNATURE,
    BadDay,
    Certificates,
    Endpoint,
    Outcome,
    debug_log,
    leaks_in,
    live_through,
    refusal,
)
from tests.wechat.test_errors import KINDS
from tests.wechat.upstream import answer, plays, upstream
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import (
    BadAccessToken,
    CredentialsRejected,
    InvalidCode,
    InvalidResponse,
    InvalidSessionKey,
    WeChatAPIError,
)
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.api.models import PhoneNumber

all_endpoints = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)


# What is sent


@all_endpoints
def test_an_answer_becomes_a_value(endpoint: Endpoint, client_of: ClientOf) -> None:
    with upstream(plays(answer(endpoint.body))) as seen:
        value = endpoint.call(client_of(seen.url))

    assert value == endpoint.value


SIGNED = {"access_token": ACCESS_TOKEN, "openid": OPENID, "signature": SIGNATURE, "sig_method": "hmac_sha256"}
CREDENTIALS = {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("token", CREDENTIALS),
        ("checksession", SIGNED),
        ("resetusersessionkey", SIGNED),
    ],
)
def test_a_get_has_all_in_its_query(name: str, query: dict[str, str], client_of: ClientOf) -> None:
    endpoint = ENDPOINTS[name]
    with upstream(plays(answer(endpoint.body))) as seen:
        endpoint.call(client_of(seen.url))

    method, target, _ = seen.requests[0].decode().split(" ", 2)
    path, _, its_query = target.partition("?")
    assert (method, path, dict(parse_qsl(its_query, strict_parsing=True))) == ("GET", endpoint.path, query)
    assert b"\r\n\r\n" not in seen.requests[0]  # no body, which WeChat would expect the signature to cover
    assert b"Content-" not in seen.requests[0]


@pytest.mark.parametrize(
    ("name", "query", "body"),
    [
        ("stable_token", {}, CREDENTIALS | {"force_refresh": False}),
        ("checkencryptedmsg", {"access_token": ACCESS_TOKEN}, {"encrypted_msg_hash": "0" * 64}),
        ("getuserphonenumber", {"access_token": ACCESS_TOKEN}, {"code": PHONE_CODE, "openid": OPENID}),
    ],
)
def test_a_post_has_its_body_in_json(
    name: str, query: dict[str, str], body: dict[str, object], client_of: ClientOf
) -> None:
    endpoint = ENDPOINTS[name]
    with upstream(plays(answer(endpoint.body))) as seen:
        endpoint.call(client_of(seen.url))

    head, _, its_body = seen.requests[0].decode().partition("\r\n\r\n")
    method, target, _ = head.split(" ", 2)
    path, _, its_query = target.partition("?")
    assert (method, path, dict(parse_qsl(its_query))) == ("POST", endpoint.path, query)
    assert "\r\nContent-Type: application/json" in head
    assert json.loads(its_body) == body


def test_a_stable_token_may_be_asked_to_be_a_new_one(client_of: ClientOf) -> None:
    with upstream(plays(answer(ENDPOINTS["stable_token"].body))) as seen:
        client_of(seen.url).stable_token(force_refresh=True)

    assert json.loads(seen.requests[0].partition(b"\r\n\r\n")[2])["force_refresh"] is True


@pytest.mark.parametrize("code", ["\ud800", "中", "a&openid=x", '"', "\x00"])
def test_a_phone_code_is_one_field_whatever_it_holds(code: str, client_of: ClientOf) -> None:
    with upstream(plays(answer(ENDPOINTS["getuserphonenumber"].body))) as seen:
        client_of(seen.url).getuserphonenumber(ACCESS_TOKEN, code, openid=OPENID)

    body = json.loads(seen.requests[0].partition(b"\r\n\r\n")[2])
    assert body == {"code": code, "openid": OPENID}


# What comes of an answer


REFUSALS = [
    (name, errcode)
    for name in ENDPOINTS
    for errcode, kind in KINDS.items()
    if name != "checksession" or kind is not InvalidSessionKey  # that is no error there
]


@pytest.mark.parametrize(("name", "errcode"), REFUSALS)
def test_every_no_has_its_class(name: str, errcode: int, client_of: ClientOf) -> None:
    with upstream(plays(answer(refusal(errcode)))) as seen, pytest.raises(WeChatAPIError) as raised:
        ENDPOINTS[name].call(client_of(seen.url))

    assert type(raised.value) is KINDS[errcode]
    assert (raised.value.errcode, raised.value.rid) == (errcode, RID)


@pytest.mark.parametrize("errcode", [87007, 87009])
def test_a_session_key_that_wechat_does_not_accept_is_not_good(errcode: int, client_of: ClientOf) -> None:
    with upstream(plays(answer(refusal(errcode)))) as seen:
        is_good = ENDPOINTS["checksession"].call(client_of(seen.url))

    assert is_good is False


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (refusal(1), False),
        (b'{"errcode":0,"errmsg":"ok","vaild":false}', False),
        (b'{"errcode":0,"errmsg":"ok","valid":true}', True),
    ],
)
def test_wechat_says_whether_it_has_encrypted_a_text(body: bytes, expected: bool, client_of: ClientOf) -> None:
    with upstream(plays(answer(body))) as seen:
        is_wechats = ENDPOINTS["checkencryptedmsg"].call(client_of(seen.url))

    assert is_wechats is expected


def phone_answer(**changes: Any) -> dict[str, Any]:
    return OK | {"phone_info": PHONE_INFO | changes}


UNUSABLE = {
    **{f"{name}: nothing": (name, {}) for name in ENDPOINTS},
    "token: no lifetime": ("token", {"access_token": ACCESS_TOKEN}),
    "stable_token: no token": ("stable_token", {"expires_in": 7200}),
    "getuserphonenumber: no number": ("getuserphonenumber", OK),
    "getuserphonenumber: another app's": (
        "getuserphonenumber",
        phone_answer(watermark={"timestamp": 1637744274, "appid": "wx00000000000000aa"}),
    ),
    "getuserphonenumber: no watermark": ("getuserphonenumber", phone_answer(watermark=None)),
    "checkencryptedmsg: a number": ("checkencryptedmsg", OK | {"vaild": 1}),
    "checksession: another's errmsg": ("checksession", {"errmsg": "ok"}),
    "checksession: null": ("checksession", {"errcode": None}),
    "resetusersessionkey: no user": ("resetusersessionkey", OK | {"session_key": SESSION_KEY}),
    "resetusersessionkey: another user": (
        "resetusersessionkey",
        OK | {"session_key": SESSION_KEY, "openid": "oAnother"},
    ),
    "resetusersessionkey: no key": ("resetusersessionkey", OK | {"openid": OPENID}),
}


@pytest.mark.parametrize(("name", "its_answer"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_answer_without_what_was_asked_for_is_unusable(
    name: str, its_answer: dict[str, Any], client_of: ClientOf
) -> None:
    with (
        upstream(plays(answer(json.dumps(its_answer).encode()))) as seen,
        pytest.raises(InvalidResponse) as raised,
    ):
        ENDPOINTS[name].call(client_of(seen.url))

    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    assert leaks_in(str(raised.value)) == set()


# Secrets

DAYS = {
    name: BAD_DAYS[name]
    for name in (
        "body: HTML",
        "status 503 Oh",
        "a malformed header",
        "a reset after the request was read",
        "a truncated body",
        "a line of 1 MB",
        "no byte",
        "a body byte by byte",
        "connection refused",
        "a name that does not resolve",
        "expired",
        "no TLS",
        "errcode -1",
        "errcode 40029",
        "errcode 42001",
        "errcode 99999",
    )
}
OutcomeAt = Callable[[Endpoint, BadDay], Outcome]


@pytest.fixture(scope="module")
def outcome_at(certificates: Certificates) -> OutcomeAt:
    """``outcome_at(endpoint, day)``: lived through once, for all the tests that look at what came of it."""
    known: dict[tuple[str, BadDay], Outcome] = {}

    def outcome_at(endpoint: Endpoint, day: BadDay) -> Outcome:
        key = (endpoint.path, day)
        if key not in known:
            known[key] = live_through(day, certificates, endpoint)
        return known[key]

    return outcome_at


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
@all_endpoints
def test_no_error_has_a_secret_or_another_error(endpoint: Endpoint, day: BadDay, outcome_at: OutcomeAt) -> None:
    error = outcome_at(endpoint, day).error

    said = [str(error), repr(error), *traceback.format_exception(error), repr(error.args), repr(vars(error))]
    assert leaks_in("\n".join(said)) == set()
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
@all_endpoints
def test_no_log_line_has_a_secret(endpoint: Endpoint, day: BadDay, outcome_at: OutcomeAt) -> None:
    log = outcome_at(endpoint, day).log

    assert leaks_in(log) == set()


@pytest.mark.parametrize("headers", ["X: y", "no colon in this line"])
@all_endpoints
def test_a_success_shows_no_secret(endpoint: Endpoint, headers: str, client_of: ClientOf) -> None:
    with upstream(plays(answer(endpoint.body, headers=headers))) as seen, debug_log() as log:
        value = endpoint.call(client_of(seen.url))

    assert leaks_in(log.getvalue()) == set()
    assert isinstance(value, str) or leaks_in(repr(value)) == set()


# The sandbox's answers


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[WeChatClient]:
    """A client of the sandbox."""
    api = WeChatApi(sandbox.url, timeouts=Timeouts(connect=5, read=5, total=10), max_connections=4)
    with contextlib.closing(api):
        yield WeChatClient(APPID, "sandbox-secret", api=api)


def control(sandbox: Sandbox, what: str, **fields: Any) -> Any:
    response = requests.post(f"{sandbox.url}/_sandbox/{what}", json=fields, timeout=20)
    response.raise_for_status()
    return response.json()


def test_the_stable_token_stays_the_same(client: WeChatClient) -> None:
    first, second = client.stable_token(), client.stable_token()

    assert first.value == second.value
    assert 7000 < first.expires_in <= 7200


def test_the_stable_token_can_be_replaced(client: WeChatClient) -> None:
    first = client.stable_token()

    assert client.stable_token(force_refresh=True).value != first.value


def test_the_other_token_is_new_each_time(client: WeChatClient) -> None:
    assert client.token().value != client.token().value


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_a_wrong_secret_gets_no_token(secret: str, client: WeChatClient) -> None:
    stranger = WeChatClient(APPID, secret, api=client._api)

    for fetch in (stranger.token, stranger.stable_token):
        with pytest.raises(CredentialsRejected):
            fetch()


def test_a_user_gives_their_phone_number(client: WeChatClient, sandbox: Sandbox) -> None:
    code = control(sandbox, "phone-codes", phoneNumber="13900001111", openid=OPENID)["code"]

    phone = client.getuserphonenumber(client.stable_token().value, code, openid=OPENID)

    assert phone == PhoneNumber("13900001111", "13900001111", "86")


def test_another_users_phone_code_gives_nothing(client: WeChatClient, sandbox: Sandbox) -> None:
    code = control(sandbox, "phone-codes", openid="oAnother")["code"]

    with pytest.raises(InvalidCode):
        client.getuserphonenumber(client.stable_token().value, code, openid=OPENID)


def test_a_session_key_is_good_until_it_is_replaced(client: WeChatClient, sandbox: Sandbox) -> None:
    token = client.stable_token().value
    session = client.code2session(sandbox.issue_code(openid=OPENID))

    new_key = client.resetusersessionkey(token, openid=OPENID, session_key=session.session_key)

    keys = [session.session_key, new_key]
    assert [client.checksession(token, openid=OPENID, session_key=key) for key in keys] == [False, True]


def test_a_session_key_that_is_not_good_cannot_be_replaced(client: WeChatClient, sandbox: Sandbox) -> None:
    client.code2session(sandbox.issue_code(openid=OPENID))

    with pytest.raises(InvalidSessionKey):
        client.resetusersessionkey(client.stable_token().value, openid=OPENID, session_key=SESSION_KEY)


@pytest.mark.parametrize("ended", [{"void": True}, {"expire": True}])
def test_a_token_that_ended_is_bad(ended: dict[str, bool], client: WeChatClient, sandbox: Sandbox) -> None:
    token = client.stable_token().value
    control(sandbox, "tokens", **ended)

    with pytest.raises(BadAccessToken):
        client.checksession(token, openid=OPENID, session_key=SESSION_KEY)
