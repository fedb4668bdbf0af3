"""What a session_key proves: checking it, replacing it, and the keys that it gets."""

import base64
import hmac
import re
from typing import Any

import pytest
from flask import Flask

from tests.sandbox.drivers import (
    APPID,
    CHECK,
    ENCRYPT_KEY,
    OTHER_APPID,
    RESET,
    Clock,
    Sandbox,
    in_twenty_threads,
    signed_query,
)
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import SandboxState

PATHS = pytest.mark.parametrize("path", [CHECK, RESET, ENCRYPT_KEY])


@pytest.fixture
def session(sandbox: Sandbox) -> Any:
    return sandbox.log_in(openid="o-1")


@pytest.fixture
def query(sandbox: Sandbox, session: Any) -> dict[str, str | None]:
    """A call that is signed with the live key."""
    return signed_query(session, sandbox.fetch_stable_token())


# Signatures


@PATHS
def test_a_call_signed_with_the_live_key_is_let_through(
    sandbox: Sandbox, query: dict[str, str | None], path: str
) -> None:
    answer = sandbox.get(path, query)

    assert list(answer)[:2] == ["errcode", "errmsg"]
    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")


@PATHS
def test_the_case_of_a_signature_does_not_matter(
    sandbox: Sandbox, query: dict[str, str | None], path: str
) -> None:
    answer = sandbox.get(path, query | {"signature": str(query["signature"]).upper()})

    assert answer["errcode"] == 0


@PATHS
@pytest.mark.parametrize(
    ("changes", "errcode", "errmsg"),
    [
        ({"openid": None}, 40003, "invalid openid"),
        ({"openid": ""}, 40003, "invalid openid"),
        ({"openid": "o-unknown"}, 40003, "invalid openid"),
        ({"openid": "O-1"}, 40003, "invalid openid"),
        ({"sig_method": None}, 87008, "invalid sig_method"),
        ({"sig_method": "HMAC_SHA256"}, 87008, "invalid sig_method"),
        ({"sig_method": "sha1"}, 87008, "invalid sig_method"),
        ({"signature": None}, 87009, "invalid signature"),
        ({"signature": ""}, 87009, "invalid signature"),
        ({"signature": 64 * "0"}, 87009, "invalid signature"),
        ({"signature": "sïgnature"}, 87009, "invalid signature"),
        ({"openid": None, "sig_method": None, "signature": None}, 40003, "invalid openid"),
        ({"sig_method": None, "signature": None}, 87008, "invalid sig_method"),
    ],
)
def test_a_call_that_is_not_signed_as_it_should_be_is_refused(
    sandbox: Sandbox,
    query: dict[str, str | None],
    path: str,
    changes: dict[str, str | None],
    errcode: int,
    errmsg: str,
) -> None:
    answer = sandbox.get(path, query | changes)

    assert answer["errcode"] == errcode
    assert re.fullmatch(f"{errmsg} rid: [0-9a-f-]{{26}}", answer["errmsg"])


@PATHS
@pytest.mark.parametrize("message", [b"o-1", b"{}"])
def test_what_a_get_signs_is_nothing(sandbox: Sandbox, session: Any, path: str, message: bytes) -> None:
    query = signed_query(session, sandbox.fetch_token(), message=message)

    assert sandbox.get(path, query)["errcode"] == 87009


@PATHS
def test_the_body_of_a_get_is_not_signed(sandbox: Sandbox, query: dict[str, str | None], path: str) -> None:
    response = sandbox.client.get(path, query_string=query, data=b"{}")

    assert response.get_json(force=True)["errcode"] == 0


@PATHS
def test_the_key_is_not_decoded_to_sign(
    sandbox: Sandbox, session: Any, query: dict[str, str | None], path: str
) -> None:
    key = base64.b64decode(session["session_key"])

    answer = sandbox.get(path, query | {"signature": hmac.new(key, b"", "sha256").hexdigest()})

    assert answer["errcode"] == 87009


@PATHS
def test_the_signature_has_to_be_in_hex(
    sandbox: Sandbox, session: Any, query: dict[str, str | None], path: str
) -> None:
    raw = bytes.fromhex(str(query["signature"]))

    answer = sandbox.get(path, query | {"signature": base64.b64encode(raw).decode()})

    assert answer["errcode"] == 87009


@PATHS
def test_a_key_that_a_new_code_replaced_signs_nothing(
    sandbox: Sandbox, query: dict[str, str | None], path: str
) -> None:
    sandbox.code(openid="o-1")

    assert sandbox.get(path, query)["errcode"] == 87009


@PATHS
def test_another_users_key_signs_nothing(sandbox: Sandbox, session: Any, path: str) -> None:
    other = sandbox.log_in(openid="o-2")
    query = signed_query(other | {"openid": session["openid"]}, sandbox.fetch_token())

    assert sandbox.get(path, query)["errcode"] == 87009


# Resetting


def test_a_reset_answers_with_the_new_key(sandbox: Sandbox, session: Any, query: dict[str, str | None]) -> None:
    answer = sandbox.get(RESET, query)

    assert list(answer) == ["errcode", "errmsg", "openid", "session_key"]
    assert answer["openid"] == "o-1"
    assert answer["session_key"] != session["session_key"]
    assert len(base64.b64decode(answer["session_key"], validate=True)) == 16


def test_the_new_key_is_live(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    fresh = sandbox.get(RESET, query)

    answer = sandbox.get(CHECK, signed_query(fresh, sandbox.fetch_token()))

    assert answer["errcode"] == 0


def test_the_old_key_is_void_at_once(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    sandbox.get(RESET, query)

    assert sandbox.get(CHECK, query)["errcode"] == 87009


def test_a_reset_leaves_the_keys_of_others_alone(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    other = sandbox.log_in(openid="o-2")

    sandbox.get(RESET, query)

    assert sandbox.get(CHECK, signed_query(other, sandbox.fetch_stable_token()))["errcode"] == 0


def test_a_refused_reset_changes_nothing(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    sandbox.get(RESET, query | {"signature": 64 * "0"})

    assert sandbox.get(CHECK, query)["errcode"] == 0


def test_the_new_key_counts_as_old_as_the_one_it_replaced(clock: Clock) -> None:
    sandbox = Sandbox(create_sandbox(SandboxState(session_key_min_age=60, clock=clock)).test_client())
    session = sandbox.log_in(openid="o-1")
    clock.advance(59)
    fresh = sandbox.get(RESET, signed_query(session, sandbox.fetch_token()))
    clock.advance(1)

    assert sandbox.log_in(openid="o-1")["session_key"] != fresh["session_key"]


@pytest.mark.usefixtures("restless_threads")
def test_of_twenty_threads_resetting_one_key_exactly_one_succeeds(
    app: Flask, query: dict[str, str | None]
) -> None:
    errcodes = in_twenty_threads(app, lambda sandbox: sandbox.get(RESET, query)["errcode"])

    assert sorted(errcodes) == [0] + 19 * [87009]


# Keys of a mini-program's own


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_first_call_makes_a_key(
    sandbox: Sandbox, clock: Clock, query: dict[str, str | None], method: str
) -> None:
    response = sandbox.client.open(ENCRYPT_KEY, method=method, query_string=query)

    (key,) = response.get_json(force=True)["key_info_list"]
    assert list(key) == ["encrypt_key", "version", "expire_in", "iv", "create_time"]
    assert len(base64.b64decode(key["encrypt_key"], validate=True)) == 16
    assert re.fullmatch("[0-9a-f]{16}", key["iv"])
    assert (key["version"], key["expire_in"], key["create_time"]) == (1, 3600, int(clock.now))


def test_a_key_is_kept_for_an_hour(sandbox: Sandbox, clock: Clock, query: dict[str, str | None]) -> None:
    (key,) = sandbox.get(ENCRYPT_KEY, query)["key_info_list"]
    clock.advance(3599)

    answer = sandbox.get(ENCRYPT_KEY, query)

    assert answer["key_info_list"] == [key | {"expire_in": 1}]


@pytest.mark.parametrize("age", [3600, 5000])
def test_after_an_hour_there_is_a_new_key_in_front(
    sandbox: Sandbox, clock: Clock, query: dict[str, str | None], age: float
) -> None:
    (key,) = sandbox.get(ENCRYPT_KEY, query)["key_info_list"]
    clock.advance(age)

    new, old = sandbox.get(ENCRYPT_KEY, query)["key_info_list"]

    assert old == key | {"expire_in": 0}
    assert (new["version"], new["expire_in"], new["create_time"]) == (2, 3600, int(clock.now))
    assert new["encrypt_key"] != old["encrypt_key"]


def test_three_keys_are_listed(sandbox: Sandbox, session: Any, clock: Clock) -> None:
    for _ in range(5):
        answer = sandbox.get(ENCRYPT_KEY, signed_query(session, sandbox.fetch_stable_token()))
        clock.advance(5000)

    assert [key["version"] for key in answer["key_info_list"]] == [5, 4, 3]


def test_each_user_has_keys_of_their_own(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    other = signed_query(sandbox.log_in(openid="o-2"), sandbox.fetch_stable_token())

    (mine,), (others,) = (sandbox.get(ENCRYPT_KEY, each)["key_info_list"] for each in (query, other))

    assert mine["encrypt_key"] != others["encrypt_key"]


def test_a_body_that_is_not_signed_is_refused(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    response = sandbox.client.post(ENCRYPT_KEY, query_string=query, data=b"{}")

    assert response.get_json(force=True)["errcode"] == 87009


def test_a_body_that_is_signed_is_let_through(sandbox: Sandbox, session: Any) -> None:
    query = signed_query(session, sandbox.fetch_token(), message=b"{}")

    response = sandbox.client.post(ENCRYPT_KEY, query_string=query, data=b"{}")

    assert response.get_json(force=True)["errcode"] == 0


def test_what_is_only_in_the_body_is_not_seen(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    in_query = {"access_token": query.pop("access_token")}

    response = sandbox.client.post(ENCRYPT_KEY, query_string=in_query, data=query)

    assert response.get_json(force=True)["errcode"] == 40003


def test_an_error_comes_with_an_empty_list(sandbox: Sandbox, query: dict[str, str | None]) -> None:
    answer = sandbox.get(ENCRYPT_KEY, query | {"signature": None})

    assert list(answer) == ["errcode", "errmsg", "key_info_list"]
    assert answer["key_info_list"] == []


def test_forgotten_keys_are_not_listed(sandbox: Sandbox, query: dict[str, str | None], clock: Clock) -> None:
    sandbox.get(ENCRYPT_KEY, query)
    clock.advance(3600)
    sandbox.client.delete("/_sandbox")
    session = sandbox.log_in(openid="o-1")

    answer = sandbox.get(ENCRYPT_KEY, signed_query(session, sandbox.fetch_token()))

    assert len(answer["key_info_list"]) == 1


@pytest.mark.parametrize("appid", [APPID, OTHER_APPID])
def test_a_user_is_only_known_to_an_app_that_they_used(sandbox: Sandbox, appid: str) -> None:
    sandbox.code(openid="o-3", appid=appid)
    query = {"access_token": sandbox.fetch_token(), "openid": "o-3"}

    assert sandbox.get(CHECK, query)["errcode"] == (87008 if appid == APPID else 40003)
