"""What an auditor finds in the log: a line for each event, and one for each request that says what came of it."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask

from tests.conftest import APPID, Clock
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.servers import PROJECT, RedisServer, redis_server
from wxlogin.config.settings import Settings
from wxlogin.observability import logging as logs
from wxlogin.observability.events import EVENTS
from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import hash_of
from wxlogin.web.app import create_app

ADMIN = {"Authorization": f"Bearer {'x' * 32}"}
USER_HASH = hash_of(User(APPID, "oGZUI0egBJY1zhBYw2KhdUfwVJJE"))

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, admin_token="x" * 32)


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Lines:
    """Return the events since the last look."""
    caplog.set_level(logging.INFO)

    def look() -> list[dict[str, Any]]:
        found = [vars(record) for record in caplog.records if hasattr(record, "event")]
        caplog.clear()
        return found

    return look


@pytest.fixture
def answered(caplog: pytest.LogCaptureFixture) -> Lines:
    """Return the requests' own lines since the last look."""
    caplog.set_level(logging.INFO)

    def look() -> list[dict[str, Any]]:
        found = [vars(record) for record in caplog.records if record.message == "answered"]
        caplog.clear()
        return found

    return look


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_the_page_for_operators_lists_each_event_with_its_level() -> None:
    text = (PROJECT / "docs/operations.md").read_text()
    section = text[text.index("### Events") : text.index("# Runbooks")]

    listed = dict(re.findall(r"^\| `(\w+)` \| ([A-Z]+) \|", section, re.MULTILINE))

    assert listed == {name: logging.getLevelName(level) for name, (level, _) in EVENTS.items()}


# sessions


def test_a_login_is_an_event_with_the_users_hash(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in()

    [event] = events()
    assert (event["event"], event["levelname"], event["user_hash"]) == ("login", "INFO", USER_HASH)


def test_a_login_that_fails_is_no_login(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in_with("unknown")

    assert events() == []


def test_a_code_that_comes_again_is_an_event_of_its_own(
    mini_program: MiniProgram, sandbox: Sandbox, events: Lines
) -> None:
    code = sandbox.issue_code(openid=mini_program.openid)

    mini_program.log_in_with(code)
    mini_program.log_in_with(code)

    assert names(events()) == ["login", "login_replayed"]


def test_logging_out_is_an_event_with_the_users_hash(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in()
    events()

    mini_program.log_out()
    mini_program.log_out()

    [event] = events()
    assert (event["event"], event["message"], event["sessions"]) == ("logout", "logged out: logout", 1)
    assert event["user_hash"] == USER_HASH


def test_logging_out_everywhere_is_one_event(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in()
    mini_program.log_in()
    events()

    mini_program.send("DELETE", "/sessions", headers={"sessionid": mini_program.stored})

    [event] = events()
    assert (event["message"], event["sessions"]) == ("logged out: everywhere", 2)


# refusals


def test_data_that_does_not_decrypt_is_an_event(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in()
    events()

    mini_program.post("/user-data/decrypt", json={"encryptedData": "A" * 22 + "==", "iv": "A" * 22 + "=="})

    assert names(events()) == ["user_data_decryption_failed"]


def test_who_is_over_a_limit_is_an_event(
    settings: Settings, clock: Clock, sandbox: Sandbox, events: Lines
) -> None:
    limited = dataclasses.replace(settings, login_limit_per_address="1/hour")
    user = MiniProgram(in_process(create_app(Services.build(limited, clock=clock))), sandbox)
    user.log_in()
    events()

    user.log_in()

    assert names(events()) == ["rate_limit_exceeded"]


def test_another_sites_page_that_logs_in_is_an_event(send: Send, events: Lines) -> None:
    send("POST", "/login", json={"code": "x"}, headers={"Sec-Fetch-Site": "cross-site"})

    assert names(events()) == ["cross_site_request_blocked"]


def test_a_secret_that_an_old_client_sends_is_an_event(mini_program: MiniProgram, events: Lines) -> None:
    mini_program.log_in_the_old_way()

    assert names(events()) == ["app_secret_exposed_by_client", "login"]


@pytest.mark.parametrize(
    ("errcode", "event"),
    [(40226, "user_blocked"), (40125, "credentials_rejected"), (40164, "credentials_rejected")],
)
def test_what_wechat_says_about_the_user_or_about_us_is_an_event(
    mini_program: MiniProgram, sandbox: Sandbox, events: Lines, errcode: int, event: str
) -> None:
    sandbox.arm(errcode=errcode)

    mini_program.log_in()

    [found] = events()
    assert (found["event"], found["errcode"]) == (event, errcode)
    assert found["rid"]


# operators


def test_what_an_operator_does_is_an_event(send: Send, mini_program: MiniProgram, events: Lines) -> None:
    send("GET", f"/admin/users/{mini_program.openid}/sessions", headers=ADMIN)

    [event] = events()
    assert (event["event"], event["levelname"], event["user_hash"]) == ("admin_action", "WARNING", USER_HASH)


def test_a_wrong_token_is_an_event_and_so_is_one_too_many(send: Send, events: Lines) -> None:
    for _ in range(11):
        send("GET", "/admin/users/oX/sessions", headers={"Authorization": "Bearer wrong"})

    assert names(events()) == [*["admin_auth_failed"] * 10, "admin_auth_throttled"]


# tampering


def test_a_record_and_a_token_that_are_not_ours_are_events(
    settings: Settings, sandbox: Sandbox, events: Lines, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as store:
        user = MiniProgram(in_process(_app_on(store, settings)), sandbox)
        user.log_in()
        user.post("/phone-number", json={"code": sandbox.phone_code(openid=user.openid)})
        client = store.client()
        client.hset(f"wxlogin:token:{APPID}", "token", b"x" * 60)
        events()

        user.post("/phone-number", json={"code": sandbox.phone_code(openid=user.openid)})
        [field] = client.hkeys(f"wxlogin:user:{USER_HASH}")
        client.hset(f"wxlogin:user:{USER_HASH}", field, b"\xff" * 60)
        user.whoami()

    assert names(events()) == ["access_token_record_invalid", "session_record_invalid"]


def _app_on(store: RedisServer, settings: Settings) -> Flask:
    return create_app(Services.build(dataclasses.replace(settings, redis_url=store.url)))


# requests


def test_a_request_has_one_line_with_what_came_of_it(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    send("GET", "/session")

    [line] = [vars(record) for record in caplog.records]
    assert (line["message"], line["outcome"], line["status"]) == ("answered", "not_logged_in", 401)
    assert line["milliseconds"] >= 0


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        ({}, "INFO"),
        ({"errcode": 40029}, "INFO"),
        ({"body": "<html>"}, "ERROR"),
        ({"reset": True}, "WARNING"),
        ({"errcode": 40125}, "ERROR"),
    ],
)
def test_the_level_of_a_requests_line_says_whether_something_has_to_be_repaired(
    mini_program: MiniProgram, sandbox: Sandbox, answered: Lines, fault: dict[str, Any], level: str
) -> None:
    if fault:
        sandbox.arm(**fault)

    mini_program.log_in()

    assert [line["levelname"] for line in answered()] == [level]


def test_what_else_was_wrong_with_wechat_is_in_the_requests_line(
    mini_program: MiniProgram, sandbox: Sandbox, answered: Lines
) -> None:
    sandbox.arm(body="<html>")

    mini_program.log_in()

    [line] = answered()
    assert (line["outcome"], line["wechat"]) == ("wechat_error", "the answer is not WeChat's JSON")


def test_a_fault_of_ours_is_told_by_where_it_is_and_not_by_its_text(settings: Settings, answered: Lines) -> None:
    app = create_app(Services.build(settings))

    @app.get("/fails")
    def fail() -> NoReturn:
        raise RuntimeError("canary")

    in_process(app)("GET", "/fails")

    [line] = answered()
    assert (line["outcome"], line["exception"], line["levelname"]) == ("internal_error", "RuntimeError", "ERROR")
    assert "test_events.py" in line["where"]
    assert "canary" not in repr(line)


def test_every_line_of_a_request_says_whose_it_is_once_that_is_known(
    mini_program: MiniProgram, capsys: pytest.CaptureFixture[str], logging_as_it_was: None
) -> None:
    mini_program.log_in()
    logs.configure_logging(level="INFO", style="text")

    mini_program.whoami()
    mini_program.send("GET", "/session")

    known, unknown = capsys.readouterr().err.splitlines()
    assert known.endswith(f"user_hash={USER_HASH}")
    assert "outcome=not_logged_in" in unknown
    assert "user_hash" not in unknown
