"""``/session-key``: whether WeChat accepts the user's key, and another one, which never leaves the service."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.servers import RedisServer, redis_server
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.sessions.session_id import SessionId
from wxlogin.web.app import create_app

CHECK, RESET = "/session-key/check", "/session-key/reset"
CHECKSESSION, RESETUSERSESSIONKEY = "/wxa/checksession", "/wxa/resetusersessionkey"
APPID = "wx4f4bc4dec97d474b"
BOTH = pytest.mark.parametrize(("path", "endpoint"), [(CHECK, CHECKSESSION), (RESET, RESETUSERSESSIONKEY)])


@pytest.fixture
def phone(mini_program: MiniProgram) -> MiniProgram:
    mini_program.log_in()
    return mini_program


@pytest.fixture
def tablet(send: Send, sandbox: Sandbox, phone: MiniProgram) -> MiniProgram:
    """Another device of the same user, not yet logged in."""
    return MiniProgram(send, sandbox)


def key_of(app: Flask, phone: MiniProgram) -> str:
    """Return the key in the session of a phone."""
    session_id = SessionId.parse(phone.stored.partition("=")[2].partition(";")[0])
    assert session_id
    return Services.of(app).sessions.get(session_id).record.session_key


def decrypts(phone: MiniProgram, data: dict[str, str]) -> bool:
    body = {name: data[name] for name in ("encryptedData", "iv")}
    return phone.post("/user-data/decrypt", json=body).status == 200


def replace_key_elsewhere(phone: MiniProgram) -> None:
    """Let WeChat give the user another key that we don't get to know."""
    phone.sandbox.issue_code(openid=phone.openid)


# check


def test_a_key_that_wechat_accepts_is_valid(phone: MiniProgram, sandbox: Sandbox) -> None:
    answer = phone.post(CHECK, json={})

    assert (answer.status, answer.json) == (200, {"valid": True})
    assert sandbox.answers(CHECKSESSION) == [0]


def test_a_key_that_wechat_has_replaced_is_not(phone: MiniProgram, sandbox: Sandbox) -> None:
    replace_key_elsewhere(phone)

    answer = phone.post(CHECK, json={})

    assert (answer.status, answer.json) == (200, {"valid": False})
    assert sandbox.answers(CHECKSESSION) == [87009]


def test_the_key_of_a_newer_login_on_another_device_counts(
    phone: MiniProgram, tablet: MiniProgram, sandbox: Sandbox
) -> None:
    tablet.log_in()

    assert phone.post(CHECK, json={}).json == {"valid": True}
    assert sandbox.answers(CHECKSESSION) == [87009, 0]


def test_the_sessions_own_key_is_tried_first(
    phone: MiniProgram, tablet: MiniProgram, sandbox: Sandbox, clock: Clock
) -> None:
    clock.advance(1)
    tablet.log_in()
    phone.post(RESET)

    assert phone.post(CHECK).json == {"valid": True}
    assert sandbox.answers(CHECKSESSION) == [0]


def test_no_more_than_two_keys_are_tried(phone: MiniProgram, tablet: MiniProgram, sandbox: Sandbox) -> None:
    for _ in range(3):
        MiniProgram(phone.send, sandbox).log_in()
    replace_key_elsewhere(phone)

    assert phone.post(CHECK, json={}).json == {"valid": False}
    assert sandbox.answers(CHECKSESSION) == [87009] * 2


def test_a_bad_token_costs_one_more_try_and_one_refresh(phone: MiniProgram, sandbox: Sandbox) -> None:
    phone.post(CHECK, json={})
    sandbox.end_tokens(expire=True)

    assert phone.post(CHECK, json={}).json == {"valid": True}
    assert sandbox.answers(CHECKSESSION) == [0, 42001, 0]
    assert sandbox.answers("/cgi-bin/stable_token") == [0, 0]


# reset


def test_a_reset_replaces_the_key_in_the_session(phone: MiniProgram, sandbox: Sandbox, app: Flask) -> None:
    before = key_of(app, phone)

    answer = phone.post(RESET, json={})

    assert (answer.status, answer.json) == (200, {"reset": True})
    assert key_of(app, phone) != before
    assert phone.post(CHECK, json={}).json == {"valid": True}


def test_after_a_reset_new_data_decrypts(phone: MiniProgram, sandbox: Sandbox) -> None:
    phone.post(RESET, json={})

    assert decrypts(phone, sandbox.user_data(openid=phone.openid))


def test_after_a_reset_the_session_goes_on_under_its_id(phone: MiniProgram) -> None:
    answer = phone.post(RESET, json={})

    assert answer.set_cookie == ""
    assert phone.whoami().status == 200


def test_a_reset_counts_as_a_use_of_the_session(phone: MiniProgram, clock: Clock) -> None:
    clock.advance(3600)

    phone.post(RESET, json={})

    assert phone.whoami().json["idle_expires_in"] == 7 * 86400


def test_a_reset_uses_the_key_that_wechat_accepts(
    phone: MiniProgram, tablet: MiniProgram, sandbox: Sandbox, app: Flask
) -> None:
    tablet.log_in()

    assert phone.post(RESET, json={}).status == 200
    assert sandbox.answers(RESETUSERSESSIONKEY) == [87009, 0]
    assert phone.post(CHECK, json={}).json == {"valid": True}


def test_without_a_key_that_wechat_accepts_there_is_no_reset(
    phone: MiniProgram, sandbox: Sandbox, app: Flask
) -> None:
    before = key_of(app, phone)
    replace_key_elsewhere(phone)

    answer = phone.post(RESET, json={})

    assert (answer.status, answer.error["code"], answer.error["errcode"]) == (409, "session_key_stale", 87009)
    assert "log in" in answer.error["message"]
    assert key_of(app, phone) == before


def test_a_key_for_somebody_else_is_not_kept(phone: MiniProgram, sandbox: Sandbox, app: Flask) -> None:
    before = key_of(app, phone)
    sandbox.arm(
        path=RESETUSERSESSIONKEY,
        body='{"errcode":0,"errmsg":"ok","openid":"oSomebody","session_key":"HyVFkGl5F5OQWJZZaNzBBg=="}',
    )

    assert phone.post(RESET, json={}).error["code"] == "wechat_error"
    assert key_of(app, phone) == before


def test_a_lost_answer_is_told_as_such(phone: MiniProgram, sandbox: Sandbox) -> None:
    sandbox.arm(path=RESETUSERSESSIONKEY, reset=True)

    answer = phone.post(RESET, json={})

    assert (answer.status, answer.error["code"]) == (504, "wechat_timeout")


# reset, and what happens to the session meanwhile


def while_resetting(app: Flask, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something else happen when WeChat has reset a key, before anybody else knows."""
    client = Services.of(app).login.client_for(APPID)
    reset = client.resetusersessionkey

    def reset_slowly(*arguments: Any, **more: Any) -> str:
        session_key = reset(*arguments, **more)
        work()
        return session_key

    monkeypatch.setattr(client, "resetusersessionkey", reset_slowly)


Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def meanwhile(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """``meanwhile(work)``: see `while_resetting`."""
    return lambda work: while_resetting(app, work, monkeypatch)


def test_a_session_that_is_used_meanwhile_gets_the_key_all_the_same(
    phone: MiniProgram, app: Flask, clock: Clock, meanwhile: Meanwhile
) -> None:
    before = key_of(app, phone)
    clock.advance(60)
    meanwhile(phone.whoami)

    assert phone.post(RESET, json={}).status == 200
    assert key_of(app, phone) != before


def test_a_session_that_ended_meanwhile_stays_ended(phone: MiniProgram, meanwhile: Meanwhile) -> None:
    meanwhile(phone.log_out)

    assert phone.post(RESET, json={}).error["code"] == "not_logged_in"
    assert phone.whoami().status == 401


def test_a_session_that_runs_out_meanwhile_stays_ended(
    phone: MiniProgram, clock: Clock, meanwhile: Meanwhile
) -> None:
    meanwhile(lambda: clock.advance(8 * 86400))

    assert phone.post(RESET, json={}).error["code"] == "session_expired"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def test_a_key_that_can_not_be_kept_is_told(
    settings: Settings, server: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, redis_url=server.url)))
    phone = MiniProgram(in_process(app), sandbox)
    phone.log_in()
    while_resetting(app, server.stop, monkeypatch)

    answer = phone.post(RESET, json={})

    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "store_unavailable", False)
    assert "log in again" in answer.error["message"]


def test_a_store_that_can_not_be_written_to_is_found_out_before_the_reset(
    settings: Settings, server: RedisServer, sandbox: Sandbox
) -> None:
    phone = MiniProgram(
        in_process(create_app(Services.build(dataclasses.replace(settings, redis_url=server.url)))), sandbox
    )
    phone.log_in()
    phone.post(CHECK)
    server.client().config_set("min-replicas-to-write", 1)

    answer = phone.post(RESET)

    assert (answer.error["code"], answer.error["retryable"]) == ("store_unavailable", True)
    assert sandbox.answers(RESETUSERSESSIONKEY) == []


def test_a_session_that_is_written_to_all_the_time_is_told(
    phone: MiniProgram, app: Flask, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def be_late(*_arguments: Any) -> bool:
        tries.append(1)
        return False

    meanwhile(lambda: monkeypatch.setattr(Services.of(app).sessions, "update_if_unchanged", be_late))

    assert phone.post(RESET, json={}).error["code"] == "store_unavailable"
    assert len(tries) == 2


# both


@BOTH
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"data": b""},
        {"data": b"", "content_type": "application/json"},
        {"data": b"", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"", "content_type": "text/plain"},
        {"json": {}},
        {"data": {}},
    ],
)
def test_no_body_and_an_empty_one_will_do(
    phone: MiniProgram, path: str, endpoint: str, request_: dict[str, Any]
) -> None:
    assert phone.post(path, **request_).status == 200


@BOTH
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": {"openid": "oSomebodyElse"}}, 400),
        ({"data": {"session_key": "a"}}, 400),
        ({"json": []}, 400),
        ({"data": b"null", "content_type": "application/json"}, 400),
        ({"data": b"junk", "content_type": "application/json"}, 400),
        ({"data": b"{}", "content_type": "text/plain"}, 415),
        ({"data": b"{}"}, 415),
        ({"query_string": "a=1"}, 400),
        ({"data": b" " * 65537, "content_type": "application/json"}, 413),
    ],
)
def test_anything_else_costs_no_call(
    phone: MiniProgram, sandbox: Sandbox, path: str, endpoint: str, request_: dict[str, Any], status: int
) -> None:
    answer = phone.post(path, **request_)

    assert answer.status == status
    assert sandbox.answers(endpoint) == []


def test_fields_are_refused_in_words(phone: MiniProgram) -> None:
    assert "takes no fields" in phone.post(CHECK, json={"a": 1}).error["message"]


@BOTH
@pytest.mark.parametrize("body", [{}, {"json": {"a": 1}}, {"data": b"junk"}])
def test_without_a_session_nothing_is_asked(
    send: Send, sandbox: Sandbox, path: str, endpoint: str, body: dict[str, Any]
) -> None:
    assert send("POST", path, **body).status == 401
    assert sandbox.calls() == []


@BOTH
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_no_other_method_does_it(
    phone: MiniProgram, sandbox: Sandbox, path: str, endpoint: str, method: str
) -> None:
    assert phone.send(method, path, headers={"sessionid": phone.stored}).status == 405
    assert sandbox.answers(endpoint) == []


@BOTH
def test_no_key_is_in_an_answer_or_a_log_line(
    phone: MiniProgram, app: Flask, path: str, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = [key_of(app, phone)]

    answer = phone.post(path)
    keys.append(key_of(app, phone))
    phone.sandbox.arm(path=endpoint, errcode=87008)
    refused = phone.post(path)

    lines = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    told = "\n".join([lines, answer.text, str(answer.headers), refused.text, str(refused.headers)])
    assert "answered" in told
    assert not any(secret in told for secret in [*keys, phone.openid, "61_", "hmac_sha256"])
