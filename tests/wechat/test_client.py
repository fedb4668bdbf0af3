from __future__ import annotations

import contextlib
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wechat.conftest import ClientOf
from tests.wechat.drivers import (
    APPID,
    BAD_DAYS,
    CODE,
    LEAKS,
    MAX_SECONDS,
    NO_ANSWERS,
    NOT_REACHED,
    OPENID,
    PATIENT,
    RID,
    SECRET,
    SESSION_KEY,
    TIMEOUTS,
    TLS_FAILURES,
    UNIONID,
    UNUSABLE_ANSWERS,
    BadDay,
    Certificates,
    Outcome,
    debug_log,
    in_turn,
    leaks_in,
    refusal,
    success,
)
from tests.wechat.upstream import Peer, Upstream, answer, chunked, plays, plays_and_closes, upstream
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import (
    CallRejected,
    CodeUsed,
    ConnectionFailed,
    CredentialsRejected,
    InvalidCode,
    InvalidResponse,
    RateLimited,
    ResponseLost,
    SystemBusy,
    UserBlocked,
    WeChatAPIError,
    WeChatError,
)
from wxlogin.wechat.api.http import WeChatApi
from wxlogin.wechat.api.models import CodeSession

NO_CONNECTION_LEFT = NO_ANSWERS | TIMEOUTS | NOT_REACHED | TLS_FAILURES
TRIED_ONCE = {name: day for name, day in BAD_DAYS.items() if name != "errcode -1"}
CA_VARIABLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]
OutcomeOf = Callable[[BadDay], Outcome]
THE_SESSION = CodeSession(openid=OPENID, session_key=SESSION_KEY)


@pytest.fixture
def friendly() -> Iterator[Upstream]:
    """A WeChat that has a good day."""
    with upstream(plays(answer(success()))) as seen:
        yield seen


def query_of(request: bytes) -> list[tuple[str, str]]:
    target = request.split(b" ")[1].decode("ascii")
    return parse_qsl(target.partition("?")[2], keep_blank_values=True, strict_parsing=True)


# The request


def test_the_request_is_the_documented_one_and_nothing_more(client_of: ClientOf, friendly: Upstream) -> None:
    client_of(friendly.url).code2session("the-code")

    query = f"appid={APPID}&secret=the%2Fapp%2Bsecret+7b1e&js_code=the-code&grant_type=authorization_code"
    assert friendly.requests[0].decode().split("\r\n") == [
        f"GET /sns/jscode2session?{query} HTTP/1.1",
        f"Host: 127.0.0.1:{friendly.port}",
        "User-Agent: wxlogin",
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: keep-alive",
    ]


def test_the_address_of_the_api_may_end_with_a_slash_and_have_a_path(
    client_of: ClientOf, friendly: Upstream
) -> None:
    client_of(f"{friendly.url}/mirror/").code2session(CODE)

    assert friendly.requests[0].startswith(b"GET /mirror/sns/jscode2session?")


@pytest.mark.parametrize(
    "code", ["a&appid=x#y %", "a&secret=x", "a#", "a?b=c", "%26", "a+b", "a;b", "中", "\r\nX: y", ""]
)
def test_a_code_is_one_parameter_whatever_it_holds(code: str, client_of: ClientOf, friendly: Upstream) -> None:
    client_of(friendly.url).code2session(code)

    assert query_of(friendly.requests[0]) == [
        ("appid", APPID),
        ("secret", SECRET),
        ("js_code", code),
        ("grant_type", "authorization_code"),
    ]


def test_a_code_that_has_no_utf_8_is_wechats_to_refuse(client_of: ClientOf) -> None:
    with upstream(plays(answer(refusal(40029)))) as seen, pytest.raises(InvalidCode):
        client_of(seen.url).code2session("a\ud800b")

    assert query_of(seen.requests[0])[2] == ("js_code", "a?b")


def test_any_code_is_one_parameter(client_of: ClientOf, friendly: Upstream) -> None:
    client = client_of(friendly.url)

    @given(st.text(max_size=300))
    def check(code: str) -> None:
        client.code2session(code)

        assert friendly.requests[-1].count(b"&") == 3
        assert query_of(friendly.requests[-1])[2] == ("js_code", code)

    check()


def test_cookies_are_not_sent_back(client_of: ClientOf) -> None:
    headers = "Set-Cookie: a=b\r\nSet-Cookie: c=d; Path=/; Max-Age=3600"
    with upstream(plays(answer(success(), headers=headers))) as seen:
        client = client_of(seen.url)
        client.code2session(CODE)

        client.code2session(CODE)

    assert b"\ncookie" not in seen.requests[1].lower()


def test_the_environments_netrc_is_not_looked_at(
    client_of: ClientOf, friendly: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login user password pass\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    client_of(friendly.url).code2session(CODE)

    assert b"\nauthorization:" not in friendly.requests[0].lower()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("certificate", ["", "good"])
def test_the_environments_proxies_are_not_used(
    name: str,
    certificate: str,
    client_of: ClientOf,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = certificates.server(certificate) if certificate else None
    with upstream(plays(answer(success()))) as proxy, upstream(plays(answer(success())), tls=tls) as seen:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)

        client_of(seen.url).code2session(CODE)

    assert (seen.connections, proxy.connections) == (1, 0)


# Answers


@pytest.mark.parametrize(
    "body",
    [
        success(),
        success(unionid=""),
        success(unionid=None, expires_in=7200),
        success(errcode=0, errmsg="ok"),
        success(errcode="0", errmsg="ok"),
        success(errcode=None),
        success()[:-1] + b', "nickname": "\xff\xfe\x00\x01"}',
        success()[:-1] + b', "nickname": "a\nb\tc"}',
        success()[:-1] + b', "errcode": null}',
        b'{"openid": "the-first", ' + success()[1:],
        b"\n  " + success() + b"\n",
    ],
)
def test_a_success_gives_the_code_session(body: bytes, client_of: ClientOf) -> None:
    with upstream(plays(answer(body))) as seen:
        session = client_of(seen.url).code2session(CODE)

    assert session == THE_SESSION


def test_an_app_of_an_open_platform_account_gets_the_unionid(client_of: ClientOf) -> None:
    with upstream(plays(answer(success(unionid=UNIONID)))) as seen:
        session = client_of(seen.url).code2session(CODE)

    assert session.unionid == UNIONID


@pytest.mark.parametrize(
    "data",
    [
        answer(success(), headers="Content-Type: application/json; charset=UTF-8"),
        answer(success(), headers="Content-Type: text/html; charset=utf-16"),
        answer(success(), headers="X: y"),
        answer(success(), headers="no colon in this line"),
        answer(success() + b" " * (64 * 1024 - len(success()))),
        chunked(success(), b""),
        chunked(success()[:9], success()[9:], b""),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(success()),
    ],
    ids=["json", "html", "no type", "bad header", "64 KiB", "chunked", "two chunks", "100 Continue"],
)
def test_only_the_body_of_an_answer_counts(data: bytes, client_of: ClientOf) -> None:
    with upstream(plays(data)) as seen:
        session = client_of(seen.url).code2session(CODE)

    assert session == THE_SESSION


def test_an_answer_may_end_with_the_connection(client_of: ClientOf) -> None:
    with upstream(plays_and_closes(b"HTTP/1.0 200 OK\r\n\r\n" + success())) as seen:
        session = client_of(seen.url).code2session(CODE)

    assert session == THE_SESSION


@pytest.mark.parametrize(
    ("errcode", "kind"),
    [
        (-1, SystemBusy),
        (40029, InvalidCode),
        (42003, InvalidCode),
        (40163, CodeUsed),
        (40226, UserBlocked),
        (45009, RateLimited),
        (45011, RateLimited),
        (40013, CredentialsRejected),
        (40125, CredentialsRejected),
        (40164, CredentialsRejected),
        (41008, WeChatAPIError),
        (99999, WeChatAPIError),
    ],
)
@pytest.mark.parametrize("form", [int, str])
def test_a_no_has_its_class_its_errcode_and_its_rid(
    errcode: int, form: type[int] | type[str], kind: type[WeChatAPIError], client_of: ClientOf
) -> None:
    with upstream(plays(answer(refusal(form(errcode))))) as seen, pytest.raises(WeChatAPIError) as raised:
        client_of(seen.url).code2session(CODE)

    assert type(raised.value) is kind
    assert (raised.value.errcode, raised.value.rid) == (errcode, RID)


@pytest.mark.parametrize("errmsg", [b"null", b"1", b'["x"]', b'{"a": "b"}', b"[" * 500 + b"]" * 500, b'"\\ud800"'])
def test_a_no_needs_no_errmsg(errmsg: bytes, client_of: ClientOf) -> None:
    body = b'{"errcode": 40029, "errmsg": ' + errmsg + b"}"
    with upstream(plays(answer(body))) as seen, pytest.raises(InvalidCode) as raised:
        client_of(seen.url).code2session(CODE)

    assert raised.value.rid is None


def test_a_no_counts_even_beside_a_user(client_of: ClientOf) -> None:
    with upstream(plays(answer(success(errcode=40163)))) as seen, pytest.raises(CodeUsed):
        client_of(seen.url).code2session(CODE)


# Bad days


@pytest.mark.parametrize("day", UNUSABLE_ANSWERS.values(), ids=UNUSABLE_ANSWERS)
def test_an_answer_that_wechat_does_not_document_is_unusable(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert type(outcome.error) is InvalidResponse


@pytest.mark.parametrize("day", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_answer_that_does_not_arrive_whole_is_none(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert type(outcome.error) is ResponseLost


@pytest.mark.parametrize("day", TIMEOUTS.values(), ids=TIMEOUTS)
def test_an_answer_that_does_not_arrive_in_time_is_none(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert type(outcome.error) is ResponseLost


@pytest.mark.parametrize("day", NOT_REACHED.values(), ids=NOT_REACHED)
def test_a_server_that_is_not_there_is_not_reached(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert type(outcome.error) is ConnectionFailed
    assert outcome.upstream.requests == []


@pytest.mark.parametrize("day", TLS_FAILURES.values(), ids=TLS_FAILURES)
def test_a_server_that_is_not_wechat_is_unusable_and_gets_no_request(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert type(outcome.error) is InvalidResponse
    assert b"HTTP" not in outcome.upstream.received


@pytest.mark.parametrize("day", TRIED_ONCE.values(), ids=TRIED_ONCE)
def test_what_may_have_been_done_is_not_tried_twice(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert outcome.upstream.connections <= 1
    assert len(outcome.upstream.requests) <= 1


@pytest.mark.parametrize("day", BAD_DAYS.values(), ids=BAD_DAYS)
def test_every_call_ends_in_time(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert outcome.seconds < MAX_SECONDS


@pytest.mark.parametrize("day", NO_CONNECTION_LEFT.values(), ids=NO_CONNECTION_LEFT)
def test_a_call_without_an_answer_leaves_no_connection(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert outcome.open_connections == 0


@pytest.mark.parametrize("status", ["300 Oh", "301 Moved", "302 Found", "303 Oh", "307 Oh", "308 Oh"])
def test_a_redirect_is_not_followed(status: str, client_of: ClientOf, friendly: Upstream) -> None:
    headers = f"Location: {friendly.url}/x\r\nRefresh: 0; url={friendly.url}/x"
    with (
        upstream(plays(answer(success(), status=status, headers=headers))) as seen,
        pytest.raises(InvalidResponse, match=f"status {status[:3]}"),
    ):
        client_of(seen.url).code2session(CODE)

    assert (seen.connections, friendly.connections) == (1, 0)


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_the_environments_authorities_are_not_trusted(
    variable: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(certificates.authority))
    tls = certificates.server("good")
    with (
        upstream(plays(answer(success())), tls=tls) as seen,
        contextlib.closing(WeChatApi(seen.url, timeouts=PATIENT, max_connections=1)) as api,
        pytest.raises(WeChatError, match="TLS"),
    ):
        WeChatClient(APPID, SECRET, api=api).code2session(CODE)

    assert seen.received == b""


def test_any_body_gives_a_code_session_or_a_wechat_error(client_of: ClientOf) -> None:
    bodies = [b""]

    def plays_the_last(peer: Peer) -> None:
        while peer.read_request():
            peer.send(answer(bodies[-1]))

    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(OPENID))
    names = st.one_of(st.sampled_from(["openid", "session_key", "unionid", "errcode", "errmsg"]), st.text())
    answers = st.dictionaries(names, st.recursive(values, st.lists, max_leaves=4)).map(json.dumps).map(str.encode)

    with upstream(plays_the_last) as seen:
        client = client_of(seen.url, clock=in_turn())

        @settings(max_examples=200)
        @example(success())
        @given(st.one_of(st.binary(), answers))
        def check(body: bytes) -> None:
            bodies.append(body)

            assert is_code_session_or_error(client)

        check()


def test_any_bytes_for_an_answer_give_a_code_session_or_a_wechat_error(client_of: ClientOf) -> None:
    answers = [b""]

    def plays_the_last(peer: Peer) -> None:
        peer.read_request()
        peer.send(answers[-1])

    names = st.sampled_from(
        ["Content-Length", "Transfer-Encoding", "Content-Encoding", "Location", "Set-Cookie", "Connection", "X"]
    )
    values = st.one_of(
        st.sampled_from(["chunked", "-1", "0", "5", "9" * 5000, "gzip", "http://[x", "a=b; expires=x; domain=."]),
        st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20),
    )
    lines = st.lists(st.tuples(names, values).map(": ".join), max_size=4)
    statuses = st.sampled_from(["200 OK", "302 Found", "200", "999 X", "0 X", "-1 X", "1000 X", ""])
    heads = st.tuples(statuses, lines).map(lambda parts: "\r\n".join([f"HTTP/1.1 {parts[0]}", *parts[1], "", ""]))
    bodies = st.one_of(
        st.binary(max_size=50), st.sampled_from([success(), b"-5\r\nx", b"-1\r\nx", b"5;x\r\n12345\r\n0\r\n\r\n"])
    )

    with upstream(plays_the_last) as seen:
        client = client_of(seen.url, clock=in_turn())

        @settings(max_examples=200)
        @example("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"-5\r\nx")
        @given(heads, bodies)
        def check(head: str, body: bytes) -> None:
            answers.append(head.encode("latin-1") + body)

            assert is_code_session_or_error(client)

        check()


def is_code_session_or_error(client: WeChatClient) -> bool:
    """Make a call; anything but a `WeChatError` that it raises is the caller's to see."""
    try:
        session = client.code2session(CODE)
    except WeChatError as error:
        return not isinstance(error, CallRejected)
    ids = [session.openid, session.openid if session.unionid is None else session.unionid]
    return all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value) for value in ids) and bool(
        re.fullmatch(r"[!-~]{1,128}", session.session_key)
    )


# Secrets


def test_a_leak_would_be_seen() -> None:
    assert {SECRET, "the%2Fapp%2Bsecret%207b1e", "the%2Fapp%2Bsecret+7b1e", "the/app%2Bsecret%207b1e"} <= LEAKS


@pytest.mark.parametrize("day", BAD_DAYS.values(), ids=BAD_DAYS)
def test_no_error_has_a_secret(day: BadDay, outcome_of: OutcomeOf) -> None:
    error = outcome_of(day).error

    said = [str(error), repr(error), *traceback.format_exception(error), repr(error.args), repr(vars(error))]

    assert leaks_in("\n".join(said)) == set()


@pytest.mark.parametrize("day", BAD_DAYS.values(), ids=BAD_DAYS)
def test_no_error_brings_along_another_that_may_have_a_secret(day: BadDay, outcome_of: OutcomeOf) -> None:
    error = outcome_of(day).error

    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("day", BAD_DAYS.values(), ids=BAD_DAYS)
def test_no_log_line_has_a_secret(day: BadDay, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(day)

    assert leaks_in(outcome.log) == set()


def test_a_leak_into_the_log_would_be_seen() -> None:
    with debug_log() as log:
        logging.getLogger("urllib3.util").debug(SECRET)

    assert leaks_in(log.getvalue()) == {SECRET}


@pytest.mark.parametrize("headers", ["X: y", "no colon in this line"])
def test_a_success_leaves_no_secret_in_the_log(headers: str, client_of: ClientOf) -> None:
    with upstream(plays(answer(success(unionid=UNIONID), headers=headers))) as seen, debug_log() as log:
        session = client_of(seen.url).code2session(CODE)

    assert leaks_in(log.getvalue() + repr(session)) == set()


def test_a_client_shows_no_secret(client_of: ClientOf) -> None:
    assert SECRET not in repr(client_of("https://127.0.0.1"))


# Threads


def test_many_threads_may_share_a_client(client_of: ClientOf) -> None:
    def echoes_the_code(peer: Peer) -> None:
        while request := peer.read_request():
            peer.send(answer(success(openid=dict(query_of(request))["js_code"])))

    codes = [f"code-{number}" for number in range(100)]
    with upstream(echoes_the_code) as seen, ThreadPoolExecutor(20) as threads:
        client = client_of(seen.url, most=20)

        openids = [session.openid for session in threads.map(client.code2session, codes)]

    assert openids == codes
    assert seen.connections <= 20
