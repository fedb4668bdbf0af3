"""Whatever a mini-program stored and sent back is understood, and nothing else is."""

from __future__ import annotations

import io
import json
import urllib.parse
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import create_environ

from wxlogin.sessions.session_id import SessionId
from wxlogin.web.session_id_extractor import find_session_id

ID = SessionId("F6o6712g3mCqnWDS", "x-_0123456789abcdefghijklmnopqrstuvwxyzABCD")
OTHER = SessionId("F6o6712g3mCqnWDS", "y-_0123456789abcdefghijklmnopqrstuvwxyzABCD")

Carry = Callable[[str], dict[str, str]]
T = TypeVar("T")

CARRIERS: dict[str, Carry] = {
    "Cookie": lambda value: {"HTTP_COOKIE": value},
    "sessionid": lambda value: {"HTTP_SESSIONID": value},
    "Bearer": lambda value: {"HTTP_AUTHORIZATION": f"Bearer {value}"},
    "bearer": lambda value: {"HTTP_AUTHORIZATION": f"bearer   {value}"},
    "BEARER": lambda value: {"HTTP_AUTHORIZATION": f"BEARER {value}"},
}
in_any_carrier = pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS.keys())

EXPIRES = "Expires=Wed, 21 Oct 2026 07:28:00 GMT"
ARRAY = ["csrftoken=abc; Path=/", f"sessionid={ID.text}; HttpOnly; Path=/; {EXPIRES}"]


@in_any_carrier
@pytest.mark.parametrize(
    "sent",
    [
        # the id alone, or as a pair
        ID.text,
        f"  {ID.text}\t",
        f"sessionid={ID.text}",
        f"sessionid={ID.text};",
        f"sessionid={ID.text},",
        f";; sessionid={ID.text} ;;",
        # the whole Set-Cookie
        f"sessionid={ID.text}; Secure; HttpOnly; Path=/; SameSite=Lax; Max-Age=2592000",
        f"sessionid={ID.text}; max-age=2592000; path=/; httponly; secure; samesite=lax",
        f"sessionid={ID.text};MAX-AGE=2592000;PATH=/;HTTPONLY",
        f"sessionid={ID.text};  Max-Age=2592000 ;\tPath=/ ;  HttpOnly",
        f"Path=/; HttpOnly; sessionid={ID.text}",
        f"HttpOnly;sessionid={ID.text};Domain=wx.example;Priority=High;Partitioned",
        f"{ID.text}; Path=/; HttpOnly",
        # with the comma of an Expires
        f"sessionid={ID.text}; {EXPIRES}; HttpOnly; Path=/",
        f"sessionid={ID.text}; Path=/; {EXPIRES}",
        f"{EXPIRES}; sessionid={ID.text}; Path=/",
        f"{EXPIRES.lower()};sessionid={ID.text}",
        # several, joined as iOS does and as Android does
        f"csrftoken=abc; Path=/,sessionid={ID.text}; Path=/; HttpOnly,lang=zh_CN; HttpOnly",
        f"csrftoken=abc; {EXPIRES}, sessionid={ID.text}; {EXPIRES}, lang=zh_CN; {EXPIRES}",
        f"csrftoken=abc;sessionid={ID.text};lang=zh_CN",
        f"csrftoken=abc; lang=zh_CN; sessionid={ID.text}",
        f"sessionid={ID.text}; csrftoken=abc; lang=zh_CN",
        f"csrftoken=abc;Path=/;sessionid={ID.text};Path=/;HttpOnly;lang=zh_CN;Path=/",
        # a name before what had one already
        f"sessionid=sessionid={ID.text}",
        f"sessionid=sessionid={ID.text}; Path=/; HttpOnly",
        f"sessionid=sessionid=sessionid={ID.text}; {EXPIRES}",
        # quoted, and as JavaScript and JSON write arrays
        f'"{ID.text}"',
        f"'{ID.text}'",
        f'sessionid="{ID.text}"; Path=/',
        f'"sessionid={ID.text}; Path=/; HttpOnly"',
        f'sessionid="sessionid={ID.text}"',
        ",".join(ARRAY),
        json.dumps(ARRAY),
        json.dumps(ARRAY, separators=(",", ":")),
        json.dumps(ARRAY, indent=1).replace("\n", ""),
        json.dumps(ARRAY[1:]),
        json.dumps([ID.text]),
        "sessionid=" + json.dumps(ARRAY[1:]),
        "sessionid=" + ",".join(ARRAY[1:]),
        json.dumps(json.dumps(ARRAY)),
        json.dumps(f'sessionid="{ID.text}"; Path=/'),
        # old ones beside it that can't be meant
        f"sessionid=; sessionid={ID.text}",
        f"sessionid=undefined; sessionid={ID.text}",
        f"sessionid=; Max-Age=0; Path=/,sessionid={ID.text}; Path=/",
        # the same one twice
        f"sessionid={ID.text}; sessionid={ID.text}",
        f"{ID.text},sessionid={ID.text}; Path=/",
    ],
)
def test_what_a_mini_program_stored_and_sent_back_is_understood(sent: str, carry: Carry) -> None:
    assert find_session_id(carry(sent)) == ID


@in_any_carrier
@pytest.mark.parametrize(
    "sent",
    [
        f"sessionid={ID.text}; sessionid={OTHER.text}",
        f"sessionid={ID.text}, sessionid={OTHER.text}",
        f"sessionid={ID.text}; Path=/; HttpOnly,sessionid={OTHER.text}; Path=/; HttpOnly",
        f"{ID.text}; sessionid={OTHER.text}",
        json.dumps([ID.text, OTHER.text]),
        f"sessionid={ID.text}; sessionid={OTHER.text}; sessionid={ID.text}",
    ],
)
def test_two_different_ids_in_one_carrier_are_none(sent: str, carry: Carry) -> None:
    assert find_session_id(carry(sent)) is None


JUNK = [
    "",
    " ",
    ";",
    ",,;;,",
    "sessionid",
    "sessionid=",
    "sessionid=;",
    'sessionid=""',
    "sessionid=sessionid=",
    "=",
    "undefined",
    "null",
    "NaN",
    "[object Object]",
    "[object Undefined]",
    "[]",
    "{}",
    '""',
    '[""]',
    "sessionid=undefined",
    "sessionid=null; Path=/",
    "Secure; HttpOnly; Path=/; SameSite=Lax; Max-Age=2592000",
    EXPIRES,
    # the wrong length, the wrong characters
    ID.text[:-1],
    ID.text + "A",
    ID.text * 2,
    "sessionid=" + ID.text[:-1],
    *(ID.text[:-1] + character for character in "+/=.~"),
    *(ID.text[:30] + character + ID.text[31:] for character in " \t\r\n\0*?:\\%"),
    ID.text + "\n",
    ID.text + "\r\nSet-Cookie: a=b",
    ID.text + " " + ID.text,
    "A" * 8192,
    "sessionid=" * 800,
    "[" * 8192,
    # Redis's patterns, hash tags, other keys
    "*",
    "?",
    "[a-z]*",
    "{tag}",
    "../x",
    "session:abc",
    "wx:admin",
    "wxlogin:user:F6o6712g3mCqnWDS",
    "wxlogin:health",
    # other alphabets, as text and as WSGI spells UTF-8
    ID.text[:-1] + "А",
    ID.text[:-1] + "１",
    ID.text[:-1] + "é",
    ID.text[:-2] + "é".encode().decode("latin-1"),
    ID.text + "\u200b",
    "\ufeff" + ID.text,
    ID.text.translate({ord("x"): "х"}),
    "会话",
    "\ud800",
    # for other languages' ears
    '{"$gt":""}',
    "' or 1=1",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>alert(1)</script>",
    "test",
    "0" * 43,
    "A" * 43,
    # other names
    f"SessionID={ID.text}",
    f"SESSIONID={ID.text}",
    f"Sessionid={ID.text}",
    f"__Host-sessionid={ID.text}",
    f"__Secure-sessionid={ID.text}",
    f"xsessionid={ID.text}",
    f"sessionid2={ID.text}",
    f"session={ID.text}",
    f"csrftoken={ID.text}",
    f"={ID.text}",
    f"sessionid:{ID.text}",
    f"sessionid=csrftoken={ID.text}",
    f"csrftoken=sessionid={ID.text}",
    urllib.parse.quote(f"sessionid={ID.text}; Path=/"),
]


@in_any_carrier
@pytest.mark.parametrize("sent", JUNK)
def test_junk_is_none(sent: str, carry: Carry) -> None:
    assert find_session_id(carry(sent)) is None


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        f"Bearer{ID.text}",
        f"Basic {ID.text}",
        f"Token {ID.text}",
        ID.text,
        f"sessionid={ID.text}",
    ],
)
def test_only_a_bearers_authorization_carries_an_id(authorization: str) -> None:
    assert find_session_id({"HTTP_AUTHORIZATION": authorization}) is None


def test_a_request_without_a_carrier_has_none() -> None:
    assert find_session_id({}) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_SESSIONID": ID.text, "HTTP_COOKIE": OTHER.text}, ID),
        ({"HTTP_SESSIONID": ID.text, "HTTP_AUTHORIZATION": f"Bearer {OTHER.text}"}, ID),
        ({"HTTP_AUTHORIZATION": f"Bearer {ID.text}", "HTTP_COOKIE": OTHER.text}, ID),
    ],
)
def test_an_explicit_header_wins_over_a_cookie(environ: dict[str, str], expected: SessionId) -> None:
    assert find_session_id(environ) == expected


@pytest.mark.parametrize("junk", ["", "undefined", "sessionid=", "A" * 60])
def test_junk_in_the_headers_does_not_hide_the_cookie(junk: str) -> None:
    environ = {"HTTP_SESSIONID": junk, "HTTP_AUTHORIZATION": f"Bearer {junk}", "HTTP_COOKIE": ID.text}

    assert find_session_id(environ) == ID


@pytest.mark.parametrize("carrier", ["HTTP_AUTHORIZATION", "HTTP_COOKIE"])
def test_two_ids_in_the_header_are_not_decided_by_what_else_there_is(carrier: str) -> None:
    environ = {"HTTP_SESSIONID": f"{ID.text},{OTHER.text}", carrier: f"Bearer {ID.text}", "HTTP_COOKIE": ID.text}

    assert find_session_id(environ) is None


@pytest.mark.parametrize(
    "name", ["X-Session-Id", "X-Sessionid", "Session-Id", "Session", "Token", "Set-Cookie", "X-WX-Skey", "Cookie2"]
)
def test_no_other_header_is_looked_at(name: str) -> None:
    environ = create_environ(headers={name: f"sessionid={ID.text}"})

    assert find_session_id(environ) is None


def test_neither_query_nor_body_is_looked_at() -> None:
    form = f"sessionid={ID.text}"
    environ = create_environ(path=f"/{ID.text}", query_string=form, method="POST", data=form)

    assert find_session_id(environ) is None
    assert isinstance(body := environ["wsgi.input"], io.BytesIO)
    assert body.tell() == 0


@pytest.mark.parametrize("header", ["Cookie", "cookie", "sessionid", "SessionId", "SESSIONID"])
def test_a_headers_case_does_not_matter(header: str) -> None:
    environ = create_environ(headers={header: f"sessionid={ID.text}"})

    assert find_session_id(environ) == ID


@in_any_carrier
def test_ours_is_found_behind_200_others(carry: Carry) -> None:
    others = "; ".join(f"cookie{number}=value{number}" for number in range(200))

    assert find_session_id(carry(f"{others}; sessionid={ID.text}")) == ID


def anything_like_an_id() -> st.SearchStrategy[str]:
    pieces = st.sampled_from(
        [ID.text, OTHER.text, "sessionid=", "Path=/", *",;=\"'[]\\ \t\0", "ü", "😀", "\ud800"]
    )
    return st.text() | st.lists(pieces | st.text(max_size=3), max_size=12).map("".join)


@given(
    st.dictionaries(
        st.sampled_from(["HTTP_SESSIONID", "HTTP_AUTHORIZATION", "HTTP_COOKIE"]), anything_like_an_id()
    )
)
def test_nothing_that_a_request_may_carry_breaks_it(environ: dict[str, str]) -> None:
    session_id = find_session_id(environ)

    assert session_id is None or session_id.text in "".join(environ.values())


ATTRIBUTES = ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=2592000", "Domain=wx.example", EXPIRES]


@st.composite
def what_clients_send(draw: st.DrawFn, session_id: SessionId) -> str:
    """Do what a mini-program does with the ``Set-Cookie`` that it got: keep some of it, join it, wrap it."""
    text = session_id.text
    ours = with_attributes(draw, draw(st.sampled_from([text, f"sessionid={text}", f'sessionid="{text}"'])))
    others = [with_attributes(draw, cookie) for cookie in draw(a_few_of(["a=1", "csrftoken=abc", "lang=zh_CN"]))]
    joined = draw(st.sampled_from([",", ", ", ";", "; "])).join(draw(st.permutations([ours, *others])))
    wrapped = draw(st.sampled_from([joined, json.dumps(joined), json.dumps([joined])]))
    prefix = "sessionid=" if joined.startswith((text, "sessionid=")) else ""
    return f"{draw(st.sampled_from(['', prefix]))}{wrapped}"


def with_attributes(draw: st.DrawFn, cookie: str) -> str:
    attributes = "; ".join(draw(a_few_of(ATTRIBUTES)))
    respelt = draw(st.sampled_from([attributes, attributes.lower(), attributes.upper()]))
    return f"{cookie}; {respelt}".replace("; ", draw(st.sampled_from([";", "; ", " ; "])))


def url_safe(length: int) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[A-Za-z0-9_-]{{{length}}}", fullmatch=True)


def a_few_of(choices: list[T]) -> st.SearchStrategy[list[T]]:
    return st.lists(st.sampled_from(choices), unique=True)


@given(
    session_id=st.builds(SessionId, url_safe(16), url_safe(43)),
    carry=st.sampled_from(list(CARRIERS.values())),
    data=st.data(),
)
def test_whatever_clients_do_with_their_id_it_is_found(
    session_id: SessionId, carry: Carry, data: st.DataObject
) -> None:
    sent = data.draw(what_clients_send(session_id))

    assert find_session_id(carry(sent)) == session_id
