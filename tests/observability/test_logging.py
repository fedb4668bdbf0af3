"""Log lines: one JSON object or one line of text each, whatever is in them."""

from __future__ import annotations

import json
import logging

import pytest

from wxlogin.observability import logging as logs

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.mark.parametrize("text", ["plain", "two\nlines", 'quote" status=200', "\x1b[31mred", "\u2028", "码"])
def test_each_record_is_one_json_object_on_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    logs.configure_logging(level="INFO", style="json")

    logging.getLogger("wxlogin").info("said %s", text, extra={"detail": text})

    written = capsys.readouterr().err
    line = json.loads(written)
    assert (line["level"], line["logger"], line["message"], line["detail"]) == (
        "INFO",
        "wxlogin",
        f"said {text}",
        text,
    )
    assert line["time"].endswith("+00:00")
    assert written.isascii()
    assert written.count("\n") == 1


def test_text_is_one_line_with_its_details(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging(level="INFO", style="text")

    logging.getLogger("wxlogin").info("two\nlines", extra={"status": 200, "nothing": None})

    assert capsys.readouterr().err.endswith("INFO    two\\nlines status=200\n")


def test_the_request_a_line_belongs_to_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging(level="INFO", style="json")
    token = logs.request_id.set("abc")

    logging.getLogger("wxlogin").info("hello")

    logs.request_id.reset(token)
    assert json.loads(capsys.readouterr().err)["request_id"] == "abc"


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging(level="WARNING", style="text")

    logging.getLogger("wxlogin").info("hello")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line",
    [
        "Invalid HTTP request line: 'GET /getOpenid?url=https://x?secret=canary'",
        "Invalid HTTP Header: 'sessionid canary'",
        "Invalid HTTP header name: 'sessionid=canary'",
        "Invalid Header sessionid: canary",
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_gunicorn_cannot_read_is_not_quoted(
    capsys: pytest.CaptureFixture[str], address: str, line: str
) -> None:
    logs.configure_logging(level="INFO", style="text")

    logging.getLogger("gunicorn.error").warning(f"Invalid request from ip={address}: {line}")

    written = capsys.readouterr().err
    assert f"Invalid request from ip={address}: Invalid" in written
    assert "canary" not in written


def test_gunicorns_request_lines_lose_their_queries(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging(level="INFO", style="text")

    logging.getLogger("gunicorn.error").error("Error handling request %s %s", "GET", "/getOpenid?code=canary")
    logging.getLogger("gunicorn.error").error("took %(ms)s", {"ms": 5})

    written = capsys.readouterr().err
    assert "request GET /getOpenid" in written
    assert "canary" not in written
