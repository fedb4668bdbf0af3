"""What all requests and answers have in common."""

from __future__ import annotations

import json
import logging

import pytest

from tests.drivers import MiniProgram, Send

PATHS = ["/healthz", "/session", "/auth", "/nothing", "/getOpenid"]


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_is_stored_sniffed_or_referred_to(send: Send, path: str) -> None:
    headers = send("GET", path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_is_html_or_a_redirect(send: Send, path: str) -> None:
    answer = send("GET", path)

    assert "html" not in answer.headers.get("Content-Type", "")
    assert not 300 <= answer.status < 400


def test_the_request_id_of_a_proxy_is_kept(send: Send) -> None:
    assert send("GET", "/healthz", headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'x"y', "é", "a\tb"])
def test_a_request_id_that_does_not_belong_in_a_log_is_replaced(send: Send, given: str) -> None:
    made = send("GET", "/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert made != given
    assert len(made) == 32


def test_two_requests_have_two_ids(send: Send) -> None:
    assert len({send("GET", "/healthz").headers["X-Request-Id"] for _ in range(20)}) == 20


def test_a_body_of_exactly_64_kib_is_read(send: Send) -> None:
    body = json.dumps({"code": "x"}).ljust(65536)

    assert send("POST", "/login", data=body, headers={"Content-Type": "application/json"}).status == 400


def test_a_chunked_body_where_none_belongs_is_refused(send: Send) -> None:
    answer = send("GET", "/session", headers={"Transfer-Encoding": "chunked"})

    assert answer.error["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["/session", "/sessions", "/sessions/abc"])
@pytest.mark.parametrize("body", ["{}", "[]", "null", " { }\r\n", ""])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_a_delete_with_a_body_that_says_nothing_is_as_good_as_one_without(
    mini_program: MiniProgram, path: str, body: str, content_type: str
) -> None:
    mini_program.log_in()
    headers = {"sessionid": mini_program.stored, "Content-Type": content_type}

    assert mini_program.send("DELETE", path, headers=headers, data=body).status == 204
    assert mini_program.whoami().status == (200 if path == "/sessions/abc" else 401)


@pytest.mark.parametrize("body", ['{"a":1}', "[{}]", "{}{}", "0", "x=1", "{", "\ufeff{}", '""', "\x00"])
def test_a_delete_with_any_other_body_is_refused_and_does_nothing(mini_program: MiniProgram, body: str) -> None:
    mini_program.log_in()
    headers = {"sessionid": mini_program.stored, "Content-Type": "application/json"}

    answer = mini_program.send("DELETE", "/session", headers=headers, data=body.encode())

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert mini_program.whoami().status == 200


@pytest.mark.parametrize("body", ["{}", "[]", "null"])
def test_a_get_takes_no_body_whatever_it_says(send: Send, body: str) -> None:
    assert send("GET", "/session", data=body).error["code"] == "invalid_request"


@pytest.mark.parametrize("override", [{"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}])
def test_no_header_changes_the_method(mini_program: MiniProgram, send: Send, override: dict[str, str]) -> None:
    mini_program.log_in()

    send("GET", "/session", headers={"sessionid": mini_program.stored, **override})

    assert mini_program.whoami().status == 200


def test_every_answer_is_logged_without_its_query(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    send("GET", "/getOpenid?code=a%26b")

    record = vars(caplog.records[-1])
    assert (record["method"], record["route"], record["status"]) == ("GET", "/getOpenid", 400)
    assert "a&b" not in repr(record)
    assert "a%26b" not in repr(record)


@pytest.mark.parametrize(("path", "logged"), [("/healthz", False), ("/", False), ("/auth", True)])
def test_of_what_machines_ask_all_the_time_only_refusals_are_logged(
    send: Send, caplog: pytest.LogCaptureFixture, path: str, logged: bool
) -> None:
    caplog.set_level(logging.INFO)

    send("GET", path)

    assert bool(caplog.records) == logged


def test_an_unknown_path_is_not_quoted_in_the_log(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    send("GET", "/%0Aforged status=200")

    assert "forged" not in repr([vars(record) for record in caplog.records])
