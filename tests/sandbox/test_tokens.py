"""access_tokens: fetching them, what they are good for, and how they end."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.sandbox.drivers import (
    APPID,
    CHECK,
    CREDENTIALS,
    ENCRYPT_KEY,
    OTHER_APPID,
    OTHER_CREDENTIALS,
    OTHER_SECRET,
    PHONE_NUMBER,
    RESET,
    STABLE_TOKEN,
    TOKEN,
    Clock,
    Sandbox,
    in_twenty_threads,
)
from wxlogin.sandbox.state import SandboxState

Ask = Callable[[dict[str, Any]], Any]

NOT_LATEST = (
    "invalid credential, access_token is invalid or not latest, could get access_token by "
    "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
)


@pytest.fixture(params=["token", "stable_token"])
def ask(request: pytest.FixtureRequest, sandbox: Sandbox) -> Ask:
    """Either way to fetch a token."""
    if request.param == "token":
        return lambda fields: sandbox.get(TOKEN, fields)
    return lambda fields: sandbox.post(STABLE_TOKEN, fields)


# Either way


def test_a_token_comes_with_its_lifetime_and_no_errcode(ask: Ask) -> None:
    answer = ask(CREDENTIALS)

    assert list(answer) == ["access_token", "expires_in"]
    assert re.fullmatch("61_[A-Za-z0-9_-]{128}", answer["access_token"])
    assert answer["expires_in"] == 7200


def test_a_token_lets_its_app_in(ask: Ask, sandbox: Sandbox) -> None:
    assert sandbox.token_errcode(ask(CREDENTIALS)["access_token"]) == 0


def test_a_token_is_no_use_for_another_apps_users(ask: Ask, sandbox: Sandbox) -> None:
    assert sandbox.token_errcode(ask(OTHER_CREDENTIALS)["access_token"]) == 40003


@pytest.mark.parametrize(
    ("changes", "errcode", "errmsg"),
    [
        ({"appid": None}, 41002, "appid missing"),
        ({"appid": ""}, 41002, "appid missing"),
        ({"secret": None}, 41004, "appsecret missing"),
        ({"secret": ""}, 41004, "appsecret missing"),
        ({"grant_type": None}, 40002, "invalid grant_type"),
        ({"grant_type": "authorization_code"}, 40002, "invalid grant_type"),
        ({"appid": "wx0000000000000000"}, 40013, "invalid appid"),
        ({"secret": "wröng"}, 40125, "invalid appsecret"),
        ({"secret": OTHER_SECRET}, 40125, "invalid appsecret"),
        ({"appid": None, "secret": None, "grant_type": None}, 41002, "appid missing"),
        ({"secret": None, "grant_type": None, "appid": "unknown"}, 40013, "invalid appid"),
        ({"secret": None, "grant_type": None}, 41004, "appsecret missing"),
        ({"grant_type": None, "secret": "wrong"}, 40002, "invalid grant_type"),
    ],
)
def test_a_request_for_a_token_that_is_wrong_is_refused(
    ask: Ask, changes: dict[str, Any], errcode: int, errmsg: str
) -> None:
    answer = ask({**CREDENTIALS, **changes})

    assert answer["errcode"] == errcode
    assert re.fullmatch(f"{errmsg} rid: [0-9a-f-]{{26}}", answer["errmsg"])


@pytest.mark.parametrize(("age", "errcode"), [(7199.9, 0), (7200, 42001), (100_000, 42001)])
def test_a_token_lives_two_hours(ask: Ask, sandbox: Sandbox, clock: Clock, age: float, errcode: int) -> None:
    token = ask(CREDENTIALS)["access_token"]
    clock.advance(age)

    assert sandbox.token_errcode(token) == errcode


def test_a_token_that_has_ended_is_followed_by_a_new_one(ask: Ask, sandbox: Sandbox, clock: Clock) -> None:
    ask(CREDENTIALS)
    clock.advance(7200)

    answer = ask(CREDENTIALS)

    assert answer["expires_in"] == 7200
    assert sandbox.token_errcode(answer["access_token"]) == 0


def test_a_token_that_expired_stays_expired_when_a_new_one_is_fetched(
    ask: Ask, sandbox: Sandbox, clock: Clock
) -> None:
    token = ask(CREDENTIALS)["access_token"]
    clock.advance(7200)
    ask(CREDENTIALS)
    clock.advance(1000)

    assert sandbox.token_errcode(token) == 42001


# /cgi-bin/token


def test_every_fetch_gives_a_new_token(sandbox: Sandbox) -> None:
    assert sandbox.fetch_token() != sandbox.fetch_token()


@pytest.mark.parametrize(("age", "errcode"), [(0, 0), (299.9, 0), (300, 40001), (100_000, 40001)])
def test_a_token_works_for_five_minutes_after_the_next_was_fetched(
    sandbox: Sandbox, clock: Clock, age: float, errcode: int
) -> None:
    token = sandbox.fetch_token()
    sandbox.fetch_token()
    clock.advance(age)

    assert sandbox.token_errcode(token) == errcode


@pytest.mark.parametrize("seconds_left", [100, 300])
def test_a_token_about_to_expire_does_not_gain_time_from_the_next_one(
    sandbox: Sandbox, clock: Clock, seconds_left: float
) -> None:
    token = sandbox.fetch_token()
    clock.advance(7200 - seconds_left)
    sandbox.fetch_token()
    clock.advance(seconds_left)

    assert sandbox.token_errcode(token) == 42001


def test_a_token_replaced_twice_does_not_gain_time(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_token()
    sandbox.fetch_token()
    clock.advance(200)
    sandbox.fetch_token()
    clock.advance(100)

    assert sandbox.token_errcode(token) == 40001


def test_a_fetch_leaves_another_apps_token_alone(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_token()
    sandbox.fetch_token(appid=OTHER_APPID, secret=OTHER_SECRET)
    clock.advance(300)

    assert sandbox.token_errcode(token) == 0


# /cgi-bin/stable_token


@pytest.mark.parametrize("force_refresh", [None, False])
def test_normal_calls_give_the_same_token_with_the_seconds_it_has_left(
    sandbox: Sandbox, clock: Clock, force_refresh: bool | None
) -> None:
    token = sandbox.fetch_stable_token()
    clock.advance(6900)

    answer = sandbox.post(STABLE_TOKEN, CREDENTIALS | {"force_refresh": force_refresh})

    assert answer == {"access_token": token, "expires_in": 300}


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("attempt", range(5))
def test_twenty_threads_are_given_the_same_token(app: Flask, state: SandboxState, attempt: int) -> None:
    """Past HTTP, which would have them come one after the other."""
    tokens = in_twenty_threads(app, lambda _: state.fetch_stable_token(APPID, force_refresh=True).text)

    assert len(set(tokens)) == 1


@pytest.mark.parametrize("age", [6900.1, 7199])
def test_a_token_is_renewed_in_its_last_five_minutes(sandbox: Sandbox, clock: Clock, age: float) -> None:
    token = sandbox.fetch_stable_token()
    clock.advance(age)

    answer = sandbox.post(STABLE_TOKEN, CREDENTIALS)

    assert answer["access_token"] != token
    assert answer["expires_in"] == 7200


def test_a_renewed_token_works_until_it_expires(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_stable_token()
    clock.advance(7000)
    sandbox.fetch_stable_token()

    errcodes = [sandbox.token_errcode(token)]
    clock.advance(200)
    errcodes.append(sandbox.token_errcode(token))

    assert errcodes == [0, 42001]


def test_a_renewed_token_is_not_given_again(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.fetch_stable_token()
    clock.advance(7000)

    assert sandbox.fetch_stable_token() == sandbox.fetch_stable_token()


def test_a_forced_refresh_voids_the_token_at_once(sandbox: Sandbox) -> None:
    token = sandbox.fetch_stable_token()

    forced = sandbox.fetch_stable_token(force_refresh=True)

    assert [sandbox.token_errcode(token), sandbox.token_errcode(forced)] == [40001, 0]


def test_a_forced_refresh_voids_the_token_that_was_being_replaced(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_stable_token()
    clock.advance(7000)
    sandbox.fetch_stable_token()

    sandbox.fetch_stable_token(force_refresh=True)

    assert sandbox.token_errcode(token) == 40001


def test_normal_calls_give_the_forced_token(sandbox: Sandbox) -> None:
    forced = sandbox.fetch_stable_token(force_refresh=True)

    assert sandbox.fetch_stable_token() == forced


@pytest.mark.parametrize(("age", "refreshed"), [(0, False), (29.9, False), (30, True)])
def test_forced_refreshes_are_half_a_minute_apart(
    sandbox: Sandbox, clock: Clock, age: float, refreshed: bool
) -> None:
    token = sandbox.fetch_stable_token(force_refresh=True)
    clock.advance(age)

    assert (sandbox.fetch_stable_token(force_refresh=True) != token) is refreshed


def test_a_forced_call_that_came_too_soon_does_not_put_off_the_next(sandbox: Sandbox, clock: Clock) -> None:
    token = sandbox.fetch_stable_token(force_refresh=True)
    clock.advance(20)
    sandbox.fetch_stable_token(force_refresh=True)
    clock.advance(10)

    assert sandbox.fetch_stable_token(force_refresh=True) != token


def test_a_forced_call_that_came_too_soon_still_renews(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.fetch_stable_token()
    clock.advance(6999)
    token = sandbox.fetch_stable_token(force_refresh=True)
    sandbox.end_tokens(void=True)

    renewed = sandbox.fetch_stable_token(force_refresh=True)

    assert renewed != token
    assert sandbox.token_errcode(renewed) == 0


def test_twenty_forced_refreshes_are_all_in_24_hours(sandbox: Sandbox, clock: Clock) -> None:
    tokens = []
    for _ in range(22):
        tokens.append(sandbox.fetch_stable_token(force_refresh=True))
        clock.advance(30)

    assert len(set(tokens)) == 20
    assert tokens[19] == tokens[20] == tokens[21]


@pytest.mark.parametrize(("seconds_before", "refreshed"), [(0.1, False), (0, True)])
def test_a_forced_refresh_counts_for_24_hours(
    sandbox: Sandbox, clock: Clock, seconds_before: float, refreshed: bool
) -> None:
    for _ in range(20):
        sandbox.fetch_stable_token(force_refresh=True)
        clock.advance(30)
    clock.advance(86_400 - 20 * 30 - 60)
    token = sandbox.fetch_stable_token()
    clock.advance(60 - seconds_before)

    assert (sandbox.fetch_stable_token(force_refresh=True) != token) is refreshed


def test_each_app_has_forced_refreshes_of_its_own(sandbox: Sandbox) -> None:
    token = sandbox.fetch_stable_token()
    sandbox.fetch_stable_token(force_refresh=True, appid=OTHER_APPID, secret=OTHER_SECRET)

    assert sandbox.token_errcode(token) == 0
    assert sandbox.fetch_stable_token(force_refresh=True) != token


def test_the_two_kinds_of_token_do_not_end_each_other(sandbox: Sandbox, clock: Clock) -> None:
    stable = sandbox.fetch_stable_token()
    fetched = sandbox.fetch_token()
    clock.advance(300)

    assert sandbox.fetch_stable_token() == stable != fetched
    sandbox.fetch_token()
    assert sandbox.token_errcode(stable) == 0
    sandbox.fetch_stable_token(force_refresh=True)
    assert sandbox.token_errcode(fetched) == 0


def test_what_is_in_the_query_is_not_seen(sandbox: Sandbox) -> None:
    response = sandbox.client.post(STABLE_TOKEN, query_string=CREDENTIALS)

    assert response.get_json(force=True)["errcode"] == 41002


@pytest.mark.parametrize(
    "body",
    [
        b'{"appid":',
        b"appid=wx4f4bc4dec97d474b",
        b"[]",
        b"null",
        b"\xff",
        b" ",
        b"[" * 60_000,
        b'{"appid":1}',
        b'{"appid":["wx4f4bc4dec97d474b"]}',
        b'{"secret":true}',
        b'{"secret":"\\ud800"}',
        b'{"grant_type":{}}',
        b'{"force_refresh":1}',
        b'{"force_refresh":"true"}',
        b'{"unknown":NaN}',
    ],
)
def test_a_body_that_is_not_right_is_refused(sandbox: Sandbox, body: bytes) -> None:
    response = sandbox.client.post(STABLE_TOKEN, data=body, content_type="application/json")

    assert response.get_json(force=True)["errcode"] == 47001
    assert "data format error rid: " in response.text


def test_the_content_type_of_a_json_body_does_not_matter(sandbox: Sandbox) -> None:
    body = b'{"grant_type":"client_credential","appid":"%s","secret":"sandbox-secret"}' % APPID.encode()

    response = sandbox.client.post(STABLE_TOKEN, data=body, content_type="text/plain")

    assert "access_token" in response.text


@pytest.mark.parametrize("fields", [{"force_refresh": None}, {"unknown": [1]}])
def test_fields_that_are_null_or_unknown_are_ignored(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    response = sandbox.client.post(STABLE_TOKEN, json=CREDENTIALS | fields)

    assert "access_token" in response.text


# Calls with a token


@pytest.mark.parametrize(
    ("path", "method"),
    [(CHECK, "GET"), (RESET, "GET"), (PHONE_NUMBER, "POST"), (ENCRYPT_KEY, "POST"), (ENCRYPT_KEY, "GET")],
)
@pytest.mark.parametrize(
    ("access_token", "errcode", "errmsg"),
    [
        (None, 41001, "access_token missing"),
        ("", 41001, "access_token missing"),
        *((made_up, 40001, NOT_LATEST) for made_up in ("junk", "61_" + 128 * "a", "61_" + 127 * "a" + "é")),
    ],
)
def test_a_call_without_a_good_token_is_refused(
    sandbox: Sandbox, path: str, method: str, access_token: str | None, errcode: int, errmsg: str
) -> None:
    query = {} if access_token is None else {"access_token": access_token}

    answer = sandbox.client.open(path, method=method, query_string=query).get_json(force=True)

    assert answer["errcode"] == errcode
    assert re.fullmatch(f"{re.escape(errmsg)} rid: [0-9a-f-]{{26}}", answer["errmsg"])


def test_a_token_in_the_body_is_not_seen(sandbox: Sandbox) -> None:
    answer = sandbox.post(PHONE_NUMBER, {"access_token": sandbox.fetch_token(), "code": "any"})

    assert answer["errcode"] == 41001


def test_a_token_is_masked_among_the_calls(sandbox: Sandbox) -> None:
    sandbox.client.get(CHECK, query_string={"access_token": sandbox.fetch_stable_token()})

    assert sandbox.calls()[-1]["query"] == {"access_token": "***"}


# Ending tokens


@pytest.mark.parametrize(("way", "errcode"), [("expire", 42001), ("void", 40001)])
def test_tokens_of_both_kinds_can_be_ended(sandbox: Sandbox, way: str, errcode: int) -> None:
    tokens = [sandbox.fetch_token(), sandbox.fetch_stable_token()]

    response = sandbox.end_tokens(**{way: True})

    assert (response.status_code, response.json) == (200, {"ended": 2})
    assert [sandbox.token_errcode(token) for token in tokens] == [errcode, errcode]


def test_a_token_that_has_ended_cannot_be_ended_again(sandbox: Sandbox) -> None:
    token = sandbox.fetch_token()
    sandbox.end_tokens(expire=True)

    response = sandbox.end_tokens(void=True)

    assert response.json == {"ended": 0}
    assert sandbox.token_errcode(token) == 42001


def test_a_stable_token_that_was_ended_is_not_given_again(sandbox: Sandbox) -> None:
    token = sandbox.fetch_stable_token()
    sandbox.end_tokens(expire=True)

    assert sandbox.fetch_stable_token() != token


@pytest.mark.parametrize(("appid", "errcode"), [(APPID, 42001), (OTHER_APPID, 0)])
def test_the_tokens_that_end_are_one_apps(sandbox: Sandbox, appid: str, errcode: int) -> None:
    token = sandbox.fetch_token()

    sandbox.end_tokens(appid=appid, expire=True)

    assert sandbox.token_errcode(token) == errcode


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"appid": APPID},
        {"appid": "wx0000000000000000", "void": True},
        {"appid": 1, "void": True},
        {"expire": True, "void": True},
        {"expire": False},
        {"void": 1},
        {"void": None},
        {"void": True, "unknown": 1},
    ],
)
def test_ending_tokens_in_a_way_that_makes_no_sense_is_refused(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    token = sandbox.fetch_token()

    response = sandbox.end_tokens(**fields)

    assert response.status_code == 400
    assert response.get_json()["error"]["code"] == "invalid_request"
    assert sandbox.token_errcode(token) == 0


def test_forgotten_tokens_are_unknown(sandbox: Sandbox) -> None:
    token = sandbox.fetch_token()

    sandbox.client.delete("/_sandbox")

    assert sandbox.token_errcode(token) == 40001


def test_a_token_does_not_show_itself(state: SandboxState) -> None:
    token = state.fetch_token(APPID)

    assert token.text not in repr(token)
