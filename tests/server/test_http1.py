"""Requests read without gunicorn's parser: what is taken for plain is what gunicorn would have made of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from hypothesis import given, settings
from hypothesis import strategies as st

from wxlogin.server import http1

PLAIN = b"GET /auth HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: sessionid=x\r\n\r\n"
THERE = ("127.0.0.1", 8000)

config = Config()
config.set("forwarded_allow_ips", "")


def as_gunicorn_reads_it(came: bytes) -> dict[str, Any]:
    """Return the environment of the one request that is all that came; raises what gunicorn does."""
    parser = get_parser(config, iter([came]), THERE)
    request = next(parser)
    assert request.body.read() == b""
    assert parser.unreader.take_buffered() == b""
    assert not request.should_close()
    _, environ = wsgi.create(request, None, THERE, THERE, config)
    return dict(environ)


def test_a_plain_request_is_read() -> None:
    came = (
        b"GET /auth?appid=wx1&appid=wx2 HTTP/1.1\r\nhost: a:80\r\nConnection: keep-alive\r\n"
        b"Cookie:  sessionid=x; other=1 \r\nSessionId: y\r\nAuthorization: Bearer z\r\nx-request-id: r\r\n"
        b"Content-Type: application/json\r\nUser-Agent: Mozilla/5.0 (iPhone)\r\nX-Empty:\r\n\r\n"
    )

    assert http1.parse_request(came) == {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/auth",
        "QUERY_STRING": "appid=wx1&appid=wx2",
        "HTTP_HOST": "a:80",
        "HTTP_CONNECTION": "keep-alive",
        "HTTP_COOKIE": "sessionid=x; other=1",
        "HTTP_SESSIONID": "y",
        "HTTP_AUTHORIZATION": "Bearer z",
        "HTTP_X_REQUEST_ID": "r",
    }


@pytest.mark.parametrize(
    ("what", "by"),
    [
        (b"GET", b"POST"),
        (b"GET", b"HEAD"),
        (b"GET", b"get"),
        (b"GET /", b" GET /"),
        (b"GET /", b"\r\nGET /"),
        (b"GET ", b"GET  "),
        (b"/auth", b"http://127.0.0.1/auth"),
        (b"/auth", b"/%61uth"),
        (b"/auth", b"/auth#fragment"),
        (b"/auth", b"/auth?a#b"),
        (b"/auth", b"/auth?\xc3\xa4"),
        (b"/auth", b"*"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"HTTP/2.0"),
        (b"\r\nHost: 127.0.0.1", b""),
        (b"\r\nHost: 127.0.0.1\r\nCookie: sessionid=x", b""),
        (b"Host: 127.0.0.1", b"Host: 127.0.0.1\r\nHost: 127.0.0.2"),
        (b"Cookie:", b"Cookie: a=b\r\ncookie:"),
        (b"Cookie:", b"Cookie :"),
        (b"Cookie:", b" Cookie:"),
        (b"Cookie:", b":"),
        (b"Cookie:", b"Cookie"),
        (b"Cookie:", b"Session_Id: y\r\nCookie:"),
        (b"Cookie: ", b"Cookie:\t"),
        (b"sessionid=x", b"sessionid=\r\n x"),
        (b"sessionid=x", b"sessionid=x\x00"),
        (b"sessionid=x", b"sessionid=\xe4"),
        (b"\r\n", b"\n"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\nG"),
        (b"\r\n\r\n", b"\r\n\r\n" + PLAIN),
        (b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        (b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\nhello"),
        (b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nConnection: keep-alive, Upgrade\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nX: %s\r\n\r\n" % (b"x" * http1.MAX_BYTES)),
        (b"\r\n\r\n", b"".join(b"\r\nX-%d: x" % number for number in range(64)) + b"\r\n\r\n"),
    ],
)
def test_what_is_not_plain_is_not_read(what: bytes, by: bytes) -> None:
    assert http1.parse_request(PLAIN)
    assert what in PLAIN

    assert http1.parse_request(PLAIN.replace(what, by)) is None


@pytest.mark.parametrize("length", range(len(PLAIN)))
def test_part_of_a_request_is_not_read(length: int) -> None:
    assert http1.parse_request(PLAIN[:length]) is None


NAMES = ["Host", "cookie", "SESSIONID", "Authorization", "X-Request-Id", "Connection", "Accept", "TE", "X-A_B"]
VALUES = ["", "x", " x ", "keep-alive", "Keep-Alive", "close", "a, b", "\t", "0", "sessionid=y;", "ä", "a\x00"]

fields = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.text("aZ-9_ :", min_size=1, max_size=6),
        st.sampled_from(VALUES) | st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=20),
    ),
    max_size=6,
)
paths = st.sampled_from(["/auth", "/auth?appid=wx1", "/", "/auth?", "/auth?a=%20+&b", "//", "/a_b-c/9", "?x"])


@settings(max_examples=1_000)
@given(paths, fields, st.sampled_from(["\r\n", "\r\n", "\n"]), st.booleans())
def test_gunicorn_makes_the_same_of_what_is_read(
    path: str, fields: list[tuple[str, str]], end: str, has_host: bool
) -> None:
    host = [("Host", "a")] if has_host else []
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*host, *fields]), "", ""]
    came = end.join(lines).encode("latin-1")

    read = http1.parse_request(came)

    if read is not None:
        made = as_gunicorn_reads_it(came)
        assert read == {name: made[name] for name in read}
        decides = {"HTTP_COOKIE", "HTTP_SESSIONID", "HTTP_AUTHORIZATION", "HTTP_X_REQUEST_ID", "QUERY_STRING"}
        assert {*made} & decides <= {*read}


@settings(max_examples=1_000)
@given(st.binary(max_size=8), st.integers(0, len(PLAIN)), st.integers(0, 8))
def test_gunicorn_makes_the_same_of_a_damaged_request_that_is_read(put: bytes, at: int, over: int) -> None:
    came = PLAIN[:at] + put + PLAIN[at + over :]

    read = http1.parse_request(came)

    if read is not None:
        made = as_gunicorn_reads_it(came)
        assert read == {name: made[name] for name in read}


def test_what_takes_long_to_refuse_is_no_way_to_keep_everybody_waiting() -> None:
    """Each byte is looked at a few times: with possessive quantifiers nothing is tried again."""
    source = http1._REQUEST.pattern + http1._FIELD.pattern

    assert not re.search(rb"[\])][*+}](?![+])", source)


def test_an_answer_has_what_gunicorns_have() -> None:
    headers = [("X-WX-OPENID", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"), ("Cache-Control", "no-store")]

    answer = http1.serialize_response("204 NO CONTENT", headers, server="gunicorn")

    assert answer is not None
    start, *lines, nothing, end = answer.decode().split("\r\n")
    told = dict(line.split(": ", 1) for line in lines)
    assert (start, nothing, end) == ("HTTP/1.1 204 NO CONTENT", "", "")
    assert abs((parsedate_to_datetime(told.pop("Date")) - datetime.now(UTC)).total_seconds()) < 60
    assert told == {"Server": "gunicorn", "Connection": "keep-alive", **dict(headers)}


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x00b", "ä", "微信", "a\x7f"])
def test_what_no_header_can_have_is_not_written(value: str) -> None:
    assert http1.serialize_response("204 NO CONTENT", [("X-WX-OPENID", value)], server="gunicorn") is None
