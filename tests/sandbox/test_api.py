"""WeChat's side: what other people's SDKs see."""

import base64
import json
import re
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.drivers import (
    APPID,
    CHECK,
    CREDENTIALS,
    ENCRYPT_KEY,
    EXCHANGE,
    OTHER_APPID,
    OTHER_SECRET,
    PHONE_NUMBER,
    RESET,
    SECRET,
    STABLE_TOKEN,
    TOKEN,
    Clock,
    Sandbox,
    exchange_query,
    in_twenty_threads,
)
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState

RID = "[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"


def test_a_code_is_exchanged_for_the_user_it_was_issued_to(sandbox: Sandbox) -> None:
    issued = sandbox.issue()

    session = sandbox.exchange(issued["code"])

    assert session["openid"] == issued["openid"]


def test_a_success_is_compact_json_in_wechats_order_and_without_an_errcode(sandbox: Sandbox) -> None:
    code = sandbox.code(openid="o-1", unionid="u-1")

    response = sandbox.exchange_response(code)

    assert re.fullmatch(
        r'\{"session_key":"([A-Za-z0-9+]|\\/){22}==","openid":"o-1","unionid":"u-1"\}', response.text
    )


def test_the_unionid_is_absent_if_the_user_has_none(sandbox: Sandbox) -> None:
    code = sandbox.code()

    session = sandbox.exchange(code)

    assert list(session) == ["session_key", "openid"]


def test_the_session_key_is_base64_of_16_bytes(sandbox: Sandbox) -> None:
    code = sandbox.code()

    session = sandbox.exchange(code)

    assert len(base64.b64decode(session["session_key"], validate=True)) == 16


@pytest.mark.parametrize("refused", [False, True])
def test_every_answer_has_status_200_and_is_plain_text(sandbox: Sandbox, refused: bool) -> None:
    code = "unknown" if refused else sandbox.code()

    response = sandbox.exchange_response(code)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/plain")


def test_an_error_is_compact_json_whose_rid_begins_with_the_time(sandbox: Sandbox, clock: Clock) -> None:
    clock.now = 0x6437CC6F + 0.9

    response = sandbox.exchange_response("unknown")

    assert re.fullmatch(
        r'\{"errcode":40029,"errmsg":"invalid code, rid: 6437cc6f-[0-9a-f]{8}-[0-9a-f]{8}"\}', response.text
    )


def test_no_two_errors_have_the_same_rid(sandbox: Sandbox) -> None:
    first, second = sandbox.exchange("unknown"), sandbox.exchange("unknown")

    assert first["errmsg"] != second["errmsg"]


@pytest.mark.parametrize(
    ("changes", "errcode", "errmsg"),
    [
        ({"appid": None}, 41002, "appid missing"),
        ({"appid": ""}, 41002, "appid missing"),
        ({"secret": None}, 41004, "appsecret missing"),
        ({"secret": ""}, 41004, "appsecret missing"),
        ({"js_code": None}, 41008, "missing code"),
        ({"js_code": ""}, 41008, "missing code"),
        ({"grant_type": None}, 40002, "invalid grant_type"),
        ({"grant_type": "client_credential"}, 40002, "invalid grant_type"),
        ({"appid": "wx0000000000000000"}, 40013, "invalid appid"),
        ({"appid": f" {APPID}"}, 40013, "invalid appid"),
        ({"secret": "wrong"}, 40125, "invalid appsecret"),
        ({"secret": "wröng"}, 40125, "invalid appsecret"),
        ({"secret": OTHER_SECRET}, 40125, "invalid appsecret"),
        ({"js_code": "the code is a mock one"}, 40029, "invalid code"),
    ],
)
def test_a_call_that_is_wrong_is_refused(
    sandbox: Sandbox, changes: dict[str, str | None], errcode: int, errmsg: str
) -> None:
    code = sandbox.code()

    answer = sandbox.exchange(code, **changes)

    assert answer["errcode"] == errcode
    assert re.fullmatch(f"{errmsg}, rid: {RID}", answer["errmsg"])


@pytest.mark.parametrize(
    ("wrong", "errcode"),
    [
        (["appid_missing", "secret_missing", "js_code_missing", "grant_type"], 41002),
        (["secret_missing", "js_code_missing", "grant_type", "appid_unknown"], 41004),
        (["js_code_missing", "grant_type", "appid_unknown"], 41008),
        (["grant_type", "appid_unknown", "secret_wrong"], 40002),
        (["appid_unknown", "secret_wrong", "code_unknown"], 40013),
        (["secret_wrong", "code_unknown"], 40125),
        (["code_unknown"], 40029),
    ],
)
def test_of_several_things_wrong_the_first_in_wechats_order_is_told(
    sandbox: Sandbox, wrong: list[str], errcode: int
) -> None:
    ways: dict[str, dict[str, str | None]] = {
        "appid_missing": {"appid": None},
        "secret_missing": {"secret": None},
        "js_code_missing": {"js_code": None},
        "grant_type": {"grant_type": "wrong"},
        "appid_unknown": {"appid": "wx0000000000000000"},
        "secret_wrong": {"secret": "wrong"},
        "code_unknown": {"js_code": "unknown"},
    }
    changes = {name: value for way in wrong for name, value in ways[way].items()}

    answer = sandbox.exchange("some code", **changes)

    assert answer["errcode"] == errcode


def test_unknown_parameters_are_ignored(sandbox: Sandbox) -> None:
    code = sandbox.code()

    answer = sandbox.exchange(code, access_token="", code=code, url="x")

    assert "errcode" not in answer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("carrier", ["query_string", "data"])
def test_only_a_get_and_a_post_are_seen(sandbox: Sandbox, method: str, carrier: str) -> None:
    carried: dict[str, Any] = {carrier: exchange_query(sandbox.code())}

    response = sandbox.client.open(EXCHANGE, method=method, **carried)

    assert response.get_json(force=True)["errcode"] == 41002


@pytest.mark.parametrize("carrier", ["query_string", "data"])
def test_a_post_may_have_the_parameters_in_its_query_or_in_a_form(sandbox: Sandbox, carrier: str) -> None:
    issued = sandbox.issue()
    carried: dict[str, Any] = {carrier: exchange_query(issued["code"])}

    session = sandbox.client.post(EXCHANGE, **carried).get_json(force=True)

    assert session["openid"] == issued["openid"]


def test_a_post_of_json_is_short_of_everything(sandbox: Sandbox) -> None:
    code = sandbox.code()

    answer = sandbox.client.post(EXCHANGE, json=exchange_query(code)).get_json(force=True)

    assert answer["errcode"] == 41002
    assert sandbox.errcode(code) == 0


def test_a_form_in_a_get_is_not_seen(sandbox: Sandbox) -> None:
    answer = sandbox.client.get(EXCHANGE, data=exchange_query(sandbox.code())).get_json(force=True)

    assert answer["errcode"] == 41002


def test_a_slash_is_escaped_under_sns_and_nowhere_else(sandbox: Sandbox) -> None:
    sandbox.arm(EXCHANGE, changes={"session_key": "a/b"})
    sandbox.arm(STABLE_TOKEN, changes={"access_token": "a/b"})

    session = sandbox.exchange_response(sandbox.code()).text
    token = sandbox.client.post(STABLE_TOKEN, json=CREDENTIALS).text

    assert r'{"session_key":"a\/b",' in session
    assert '{"access_token":"a/b",' in token


def test_a_code_works_once(sandbox: Sandbox) -> None:
    code = sandbox.code()
    sandbox.exchange(code)

    answer = sandbox.exchange(code)

    assert answer["errcode"] == 40163
    assert re.fullmatch(f"code been used, rid: {RID}", answer["errmsg"])


@pytest.mark.parametrize(("age", "errcode"), [(0, 0), (299.9, 0), (300, 40029), (100_000, 40029)])
def test_a_code_lives_five_minutes(sandbox: Sandbox, clock: Clock, age: float, errcode: int) -> None:
    code = sandbox.code()
    clock.advance(age)

    assert sandbox.errcode(code) == errcode


def test_a_used_code_stays_used_when_it_has_expired(sandbox: Sandbox, clock: Clock) -> None:
    code = sandbox.code()
    sandbox.exchange(code)
    clock.advance(1000)

    assert sandbox.errcode(code) == 40163


def test_the_case_of_a_code_matters(sandbox: Sandbox) -> None:
    code = sandbox.code()

    assert sandbox.errcode(code.swapcase()) == 40029


def test_a_code_is_of_no_use_to_another_app(sandbox: Sandbox) -> None:
    code = sandbox.code(appid=APPID)

    assert sandbox.errcode(code, appid=OTHER_APPID, secret=OTHER_SECRET) == 40029


def test_an_exchange_by_another_app_spends_the_code(sandbox: Sandbox) -> None:
    code = sandbox.code(appid=APPID)
    sandbox.exchange(code, appid=OTHER_APPID, secret=OTHER_SECRET)

    assert sandbox.errcode(code, appid=APPID, secret=SECRET) == 40163


def test_an_exchange_that_came_too_late_spends_the_code(sandbox: Sandbox, clock: Clock) -> None:
    code = sandbox.code()
    clock.advance(1000)
    sandbox.exchange(code)

    assert sandbox.errcode(code) == 40163


def test_an_exchange_refused_before_the_code_was_looked_up_does_not_spend_it(sandbox: Sandbox) -> None:
    code = sandbox.code()
    sandbox.exchange(code, secret="wrong")

    assert sandbox.errcode(code) == 0


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("attempt", range(5))
def test_of_twenty_threads_exchanging_one_code_exactly_one_succeeds(app: Flask, attempt: int) -> None:
    code = Sandbox(app.test_client()).code()

    errcodes = in_twenty_threads(app, lambda sandbox: sandbox.errcode(code))

    assert sorted(errcodes) == [0] + 19 * [40163]


def test_each_of_a_users_codes_works(sandbox: Sandbox) -> None:
    codes = [sandbox.code(openid="o-1") for _ in range(3)]

    sessions = [sandbox.exchange(code) for code in codes]

    assert [session["openid"] for session in sessions] == ["o-1"] * 3


def test_an_exchange_gives_the_key_that_is_live(sandbox: Sandbox) -> None:
    codes = [sandbox.code(openid="o-1") for _ in range(2)]

    keys = {sandbox.exchange(code)["session_key"] for code in codes}

    assert len(keys) == 1


def test_a_new_code_replaces_the_session_key(sandbox: Sandbox) -> None:
    before = sandbox.exchange(sandbox.code(openid="o-1"))

    after = sandbox.exchange(sandbox.code(openid="o-1"))

    assert after["session_key"] != before["session_key"]


@pytest.mark.parametrize("other", [{"openid": "o-2"}, {"openid": "o-1", "appid": OTHER_APPID}])
def test_a_code_leaves_the_session_keys_of_others_alone(sandbox: Sandbox, other: dict[str, str]) -> None:
    mine = sandbox.code(openid="o-1"), sandbox.code(openid="o-1")
    before = sandbox.exchange(mine[0])

    sandbox.code(**other)

    assert sandbox.exchange(mine[1]) == before


@pytest.mark.parametrize(("age", "replaced"), [(0, False), (59.9, False), (60, True), (100, True)])
def test_a_session_key_younger_than_the_minimum_age_is_kept(clock: Clock, age: float, replaced: bool) -> None:
    sandbox = Sandbox(create_sandbox(SandboxState(session_key_min_age=60, clock=clock)).test_client())
    before = sandbox.exchange(sandbox.code(openid="o-1"))
    clock.advance(age)

    after = sandbox.exchange(sandbox.code(openid="o-1"))

    assert (after["session_key"] != before["session_key"]) is replaced


def test_the_default_app_can_log_in() -> None:
    sandbox = Sandbox(create_sandbox(SandboxState()).test_client())

    assert sandbox.errcode(sandbox.code()) == 0
    assert DEFAULT_APPS == {"wx4f4bc4dec97d474b": "sandbox-secret"}


for_unknown_paths = pytest.mark.parametrize("path", ["/cgi-bin/nothing", "/_sandboxed", "/a//b", "/wxa/x/"])


@for_unknown_paths
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_an_unknown_path_is_told_without_a_comma(sandbox: Sandbox, method: str, path: str) -> None:
    query = {"access_token": sandbox.fetch_token()}

    response = sandbox.client.open(path, method=method, query_string=query)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/plain")
    assert re.fullmatch(rf'\{{"errcode":40066,"errmsg":"invalid url rid: {RID}"\}}', response.text)


@for_unknown_paths
@pytest.mark.parametrize(("query", "errcode"), [({}, 41001), ({"access_token": "junk"}, 40001)])
def test_the_token_is_looked_at_before_the_path(
    sandbox: Sandbox, path: str, query: dict[str, str], errcode: int
) -> None:
    assert sandbox.get(path, query)["errcode"] == errcode


@pytest.mark.parametrize("path", [f"{EXCHANGE}/", "/sns//jscode2session", "/sns/nothing"])
def test_an_unknown_path_under_sns_is_told_with_a_comma(sandbox: Sandbox, path: str) -> None:
    answer = sandbox.client.get(path).get_json(force=True)

    assert re.fullmatch(f"invalid url, rid: {RID}", answer["errmsg"])


@pytest.mark.parametrize(
    ("path", "method", "errcode"),
    [
        (TOKEN, "POST", 43001),
        (CHECK, "POST", 43001),
        (RESET, "POST", 43001),
        (RESET, "OPTIONS", 43001),
        (STABLE_TOKEN, "GET", 43002),
        (STABLE_TOKEN, "PUT", 43002),
        (PHONE_NUMBER, "GET", 43002),
    ],
)
def test_a_call_with_another_method_is_refused(sandbox: Sandbox, path: str, method: str, errcode: int) -> None:
    answer = sandbox.client.open(path, method=method).get_json(force=True)

    assert answer["errcode"] == errcode
    assert re.fullmatch(f"require (GET|POST) method rid: {RID}", answer["errmsg"])


@pytest.mark.parametrize("path", [TOKEN, STABLE_TOKEN, CHECK, RESET, PHONE_NUMBER, ENCRYPT_KEY])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_under_sns_is_answered_with_200_and_json(sandbox: Sandbox, path: str, method: str) -> None:
    response = sandbox.client.open(path, method=method)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("path", [TOKEN, STABLE_TOKEN, CHECK, RESET, PHONE_NUMBER, ENCRYPT_KEY])
def test_every_endpoint_can_have_faults(sandbox: Sandbox, path: str) -> None:
    sandbox.arm(path, errcode=45011)

    answer = sandbox.client.post(path, json={}).get_json(force=True)

    assert answer["errcode"] == 45011


def test_a_reset_loses_the_answer_to_a_post_after_the_work_is_done(sandbox: Sandbox) -> None:
    code = sandbox.phone_code()
    sandbox.arm(PHONE_NUMBER, reset=True)

    with pytest.raises(ConnectionResetError):
        sandbox.phone_number(code=code)

    assert sandbox.phone_number(code=code)["errcode"] == 40029


names = st.one_of(
    st.sampled_from(["appid", "secret", "js_code", "grant_type", "access_token"]),
    st.sampled_from(["openid", "signature", "sig_method", "code", "force_refresh"]),
    st.text(),
)
likely = st.sampled_from([APPID, SECRET, "authorization_code", "client_credential", "o-1", "hmac_sha256"])
queries = st.one_of(
    st.dictionaries(names, likely | st.text()),
    st.text(st.characters(min_codepoint=33, max_codepoint=126)),
)
bodies = st.one_of(
    st.binary(),
    st.dictionaries(names, st.one_of(likely, st.text(), st.booleans(), st.integers(), st.none())).map(
        lambda fields: json.dumps(fields).encode()
    ),
    st.sampled_from([b"[]", b"null", b"NaN", b'{"appid":"\\ud800"}', b"[" * 60_000, b"9" * 5000]),
)
PATHS = [EXCHANGE, TOKEN, STABLE_TOKEN, CHECK, RESET, PHONE_NUMBER, ENCRYPT_KEY]


@given(path=st.sampled_from(PATHS), query=queries, body=bodies, method=st.sampled_from(["GET", "POST"]))
def test_junk_is_always_answered_with_200_and_an_errcode(
    path: str, query: dict[str, str] | str, body: bytes, method: str
) -> None:
    client = create_sandbox(SandboxState()).test_client()

    response = client.open(path, method=method, query_string=query, data=body)

    assert response.status_code == 200
    assert {"errcode", "access_token"} & json.loads(response.text).keys()


@given(path=st.sampled_from(PATHS), query=st.dictionaries(names, likely | st.text()), body=bodies)
def test_junk_behind_a_good_token_is_always_answered_with_200_and_an_errcode(
    path: str, query: dict[str, str], body: bytes
) -> None:
    sandbox = Sandbox(create_sandbox(SandboxState()).test_client())
    sandbox.code(openid="o-1")
    query = query | {"access_token": sandbox.fetch_token()}

    response = sandbox.client.post(path, query_string=query, data=body)

    assert response.status_code == 200
    assert {"errcode", "access_token"} & json.loads(response.text).keys()
