"""What is too long, too large, too slow or too much is refused in JSON, and no secret is logged on the way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.drivers import MiniProgram, Sandbox
from tests.nginx.behind import Backend
from tests.nginx.front import NAME, Client, Front, get, hear, over_tls
from tests.servers import TIMEOUT_SECONDS

KIB = 1024
Write = Callable[[str, bytes], bytes]


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a request with a body of JSON."""
    kind = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return get(path, *kind, *headers).replace(b"GET", b"POST", 1) + body


def chunked(path: str, body: bytes, *headers: str) -> bytes:
    """Return a request whose length nobody says beforehand."""
    request = get(path, "Content-Type: application/json", "Transfer-Encoding: chunked", *headers)
    return request.replace(b"GET", b"POST", 1) + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("path", ["/login", "/session-key/check", "/user-data/decrypt"])
@pytest.mark.parametrize("write", [post, chunked])
def test_a_body_that_no_route_takes_is_refused(client: Client, path: str, write: Write) -> None:
    answer = client.ask(write(path, b'"' + b"a" * (64 * KIB) + b'"'))[0]

    assert (answer.status, answer.error["code"]) == (413, "content_too_large")


def test_a_body_that_is_said_to_be_huge_is_refused_before_it_comes(client: Client) -> None:
    request = get("/login", "Content-Length: 10000000000").replace(b"GET", b"POST", 1)

    answer = client.ask(request)[0]

    assert (answer.status, answer.error["code"]) == (413, "content_too_large")


@pytest.mark.parametrize("write", [post, chunked])
def test_the_largest_body_that_the_service_takes_reaches_it(client: Client, write: Write) -> None:
    body = b'{"code": "x"}'.ljust(64 * KIB)

    answer = client.ask(write("/login", body))[0]

    assert (answer.status, answer.error["code"]) == (400, "invalid_code")


@pytest.mark.parametrize("length", [5 * KIB, 9 * KIB, 40 * KIB])
def test_a_target_that_is_too_long_is_refused(client: Client, length: int) -> None:
    answer = client.get("/getOpenid?code=" + "a" * length)

    assert (answer.status, answer.error["code"]) == (414, "invalid_request")


def test_the_longest_target_that_nginx_takes_is_one_that_the_service_takes(client: Client) -> None:
    answers = [client.get("/session?" + "a" * length) for length in range(4060, 4090)]

    assert {answer.status for answer in answers} == {401, 414}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}


@pytest.mark.parametrize("headers", [["sessionid: " + "a" * 5 * KIB], [f"X-{n}: {'a' * KIB}" for n in range(30)]])
def test_headers_that_are_too_large_are_refused(client: Client, headers: list[str]) -> None:
    answer = client.get("/session", *headers)

    assert (answer.status, answer.error["code"]) == (431, "invalid_request")


def test_many_headers_do_not_reach_the_service(client: Client) -> None:
    answer = client.get("/session", *(f"X-{number}: a" for number in range(150)))

    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")


def test_plain_http_on_the_port_of_tls_is_refused_in_json(front: Front) -> None:
    client = Client(front)

    answer = client.ask_in_clear(get("/session"))[0]

    assert (answer.status, answer.error["code"]) == (400, "invalid_request")


def test_a_pipeline_is_answered_in_order_and_ends_with_what_is_bad(client: Client) -> None:
    kept = get("/session").replace(b"Connection: close", b"Connection: keep-alive")
    bad = b"GET /session\r\nHost : x\r\n\r\n"

    answers = client.ask(kept + kept + bad + kept)

    assert [answer.status for answer in answers[:2]] == [401, 401]
    assert len(answers) <= 3


def test_who_is_too_slow_is_cut_off_and_nobody_else_waits(front: Front) -> None:
    beginnings = [
        b"GET /session HT",
        f"GET /session HTTP/1.1\r\nHost: {NAME}\r\nX-A: ".encode(),
        get("/login", "Content-Length: 100").replace(b"GET", b"POST", 1) + b'{"c',
    ]
    with ThreadPoolExecutor(len(beginnings)) as slow:
        heard = [slow.submit(_begin, Client(front), beginning) for beginning in beginnings]
        meanwhile = [Client(front).get("/session").status for _ in range(10)]
        answers = [future.result() for future in heard]

    assert answers == [b"", b"", b""]
    assert meanwhile == [401] * 10


def _begin(client: Client, beginning: bytes) -> bytes:
    with client.connect(timeout_seconds=TIMEOUT_SECONDS) as connection:
        connection.sendall(beginning)
        return hear(connection)


def test_a_crowd_that_says_nothing_keeps_nobody_out(front: Front) -> None:
    silent = [Client(front) for _ in range(100)]
    connections = [client.connect() for client in silent]

    answer = Client(front).get("/session")

    for connection in connections:
        connection.close()
    assert answer.status == 401


CANARIES = {
    "secret": "0123456789abcdef0123456789canary",
    "session_id": "Canary_session_id_0123456789-Canary_session_id_0123456789-A",
    "bearer": "Canary-bearer-0123456789",
}


def test_no_secret_is_in_any_log_whatever_happens_to_its_request(
    front: Front, sandbox: Sandbox, backend: Backend
) -> None:
    client = Client(front)
    user = MiniProgram(over_tls(client), sandbox, openid="oCanary-of-nginx-0123456789ab")
    codes = [sandbox.issue_code(openid=user.openid) for _ in range(3)]
    ids = [user.log_in_with(codes[0]).session_id, user.log_in_the_old_way().session_id]
    user.get("/api/")
    user.get("/sessions")

    for message in _ways_to_tell(codes[1], CANARIES["session_id"]):
        client.say(message)
    kept = get(_old_url(codes[2])).replace(b"Connection: close", b"Connection: keep-alive")
    Client(front).ask(kept * 60 + get("/login"))

    logged = front.logs
    used = {call["query"]["js_code"] for call in sandbox.calls() if "js_code" in call["query"]}
    for secret in {*CANARIES.values(), *codes, *ids, *used, user.openid}:
        assert secret not in logged
    assert "429" in {line["status"] for line in front.access_log}


def _old_url(code: str) -> str:
    url = f"https://api.weixin.qq.com/sns/jscode2session?appid=wx1&secret={CANARIES['secret']}&js_code={code}"
    return f"/getOpenid?url={quote(url, safe='')}"


def _ways_to_tell(code: str, session_id: str) -> list[bytes]:
    """Return requests with secrets in all places where they do not belong, and some where they do."""
    old, bearer = _old_url(code), f"Authorization: Bearer {CANARIES['bearer']}"
    targets = [old, old.replace("?", "%3f"), f"/{old}", old + "/../x", old.lower(), f"/x{old}", f"/api/{old}"]
    targets += [f"/getOpenid/{session_id}?{code}", f"/sessions/{session_id}", f"/api/x?sessionid={session_id}"]
    targets += [f"/login?code={code}&secret={CANARIES['secret']}", old + "a" * 5 * KIB, f"/{session_id}"]
    asked = [get(target, bearer, f"sessionid: {session_id}") for target in targets]
    asked += [get(each).replace(b"GET", method, 1) for each in (old, "/x" + old) for method in (b"POST", b"get")]
    asked += [get(old, "X-A : b"), get(old, "Host: x"), get(old, host="another")]
    asked += [post(old, b"a" * 70000), chunked(old, b"a" * 70000), get(old).replace(b"HTTP/1.1", b"")]
    return asked


def test_every_line_of_the_access_log_is_json_whatever_is_asked(front: Front) -> None:
    client = Client(front)
    odd = ["/\"'\\", "/%22%5c", "/\x01", "/%1b[31m", "/%e2%80%a8", "/" + "a" * 3000, '/" status=200 user=admin']
    for target in odd:
        client.say(get(target, 'User-Agent: "\\', "X-Request-Id: a\x7f"))
    client.say(b"GET /\r\n")

    lines = front.access_log

    assert {"time", "request_id", "address", "method", "path", "status"} <= set.intersection(*map(set, lines))


def test_a_connection_is_good_for_many_requests(client: Client) -> None:
    kept = get("/session").replace(b"Connection: close", b"Connection: keep-alive")

    answers = client.ask(kept * 200 + get("/session"))

    assert [answer.status for answer in answers] == [401] * 201
