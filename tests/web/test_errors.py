"""One shape for every way of failing, and nothing in it that helps an attacker."""

from __future__ import annotations

import logging
from typing import NoReturn

import pytest
from flask import Flask
from werkzeug.exceptions import NotImplemented as NotImplemented_

from tests.drivers import MiniProgram, Send, in_process
from wxlogin.web import errors
from wxlogin.wechat.api import errors as wechat

EVERY_WAY = [
    ("GET", "/nothing", {}, 404, "not_found"),
    ("GET", "//session", {}, 404, "not_found"),
    ("GET", "//", {}, 404, "not_found"),
    ("GET", "", {}, 404, "not_found"),
    ("GET", "/session/", {}, 404, "not_found"),
    ("GET", "/static/x", {}, 404, "not_found"),
    ("GET", "/sessions%2f..%2fsession", {}, 404, "not_found"),
    ("GET", "/login", {}, 405, "method_not_allowed"),
    ("GET", "/login", {"json": {}}, 405, "method_not_allowed"),
    ("GET", "/nothing", {"json": {}}, 404, "not_found"),
    ("PUT", "/session", {}, 405, "method_not_allowed"),
    ("PROPFIND", "/auth", {}, 405, "method_not_allowed"),
    ("OPTIONS", "/login", {}, 405, "method_not_allowed"),
    ("POST", "/login", {"data": "x" * 65537}, 413, "content_too_large"),
    ("POST", "/nothing", {"data": "x" * 65537}, 413, "content_too_large"),
    ("POST", "/login", {"data": "x", "headers": {"Content-Type": "text/xml"}}, 415, "unsupported_media_type"),
    ("POST", "/login", {"data": "x", "headers": {"Content-Type": "application/json"}}, 400, "invalid_request"),
    ("GET", "/session", {"data": "x"}, 400, "invalid_request"),
    ("DELETE", "/session", {"data": '{"a": 1}'}, 400, "invalid_request"),
    ("GET", "/getOpenid", {}, 400, "invalid_request"),
    ("GET", "/session", {}, 401, "not_logged_in"),
    ("GET", "/crash", {}, 500, "internal_error"),
]


@pytest.fixture
def send(app: Flask) -> Send:
    def crash() -> NoReturn:
        raise RuntimeError("the secret is sandbox-secret")

    app.add_url_rule("/crash", view_func=crash)
    return in_process(app)


@pytest.mark.parametrize(("method", "path", "request_", "status", "code"), EVERY_WAY)
def test_every_error_has_the_one_shape(
    send: Send, method: str, path: str, request_: dict[str, object], status: int, code: str
) -> None:
    answer = send(method, path, **request_)

    assert answer.status == status
    assert set(answer.json) == {"error"}
    assert set(answer.error) == {"code", "message", "request_id", "retryable"}
    assert answer.error["code"] == code
    assert answer.error["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.set_cookie == ""


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/login", "POST"), ("/session", "DELETE, GET, HEAD"), ("/auth", "GET, HEAD"), ("/getOpenid", "GET")],
)
def test_a_wrong_method_is_told_the_right_ones(send: Send, path: str, allow: str) -> None:
    answer = send("PATCH", path)

    assert answer.headers["Allow"] == allow


def test_a_crash_is_logged_with_its_place_and_without_its_text(
    send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    answer = send("GET", "/crash")

    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert vars(record)["exception"] == "RuntimeError"
    assert vars(record)["where"].endswith(" crash")
    assert "sandbox-secret" not in answer.text + repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize("crash", [RecursionError, MemoryError, UnicodeEncodeError("ascii", "\ud800", 0, 1, "no")])
def test_no_exception_of_a_view_gets_past_the_last_resort(app: Flask, crash: Exception) -> None:
    def view() -> NoReturn:
        raise crash

    app.add_url_rule("/crash", view_func=view)

    assert in_process(app)("GET", "/crash").error["code"] == "internal_error"


def test_no_route_ends_with_a_slash_to_which_the_framework_would_redirect(app: Flask) -> None:
    assert [rule.rule for rule in app.url_map.iter_rules() if rule.rule.endswith("/")] == ["/"]
    assert not app.url_map.merge_slashes


def test_a_server_error_of_the_frameworks_is_ours(app: Flask) -> None:
    def view() -> NoReturn:
        raise NotImplemented_("a detail")

    app.add_url_rule("/missing", view_func=view)

    answer = in_process(app)("GET", "/missing")

    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "a detail" not in answer.text


def test_what_fails_after_the_view_has_the_shape_too(app: Flask) -> None:
    @app.after_request
    def fail(_response: object) -> None:
        app.after_request_funcs[None].clear()  # not once more for the error's own answer
        raise RuntimeError("late")

    assert in_process(app)("GET", "/healthz").error["code"] == "internal_error"


def test_wechats_rid_is_logged_for_asking_its_support(
    mini_program: MiniProgram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    mini_program.log_in_with("unknown")

    record = vars(caplog.records[-1])
    assert (record["outcome"], record["errcode"]) == ("invalid_code", 40029)
    assert len(record["rid"]) == len("61a7f2c3-0b1d2e3f-00000000")


def test_every_error_of_wechats_has_a_row_of_its_own_or_its_parents() -> None:
    kinds = [
        kind
        for kind in vars(wechat).values()
        if isinstance(kind, type) and issubclass(kind, wechat.WeChatAPIError)
    ]

    unforeseen = {kind for kind in kinds if errors.spec_of(kind) == errors._SPECS[wechat.WeChatAPIError]}
    assert unforeseen == {wechat.WeChatAPIError}
