"""Mini-programs, an old one and a new one, against the real thing."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest

from tests.conftest import APPID
from tests.drivers import MiniProgram, Sandbox, Send
from tests.servers import Service


def replay(service: Service, request: bytes) -> http.client.HTTPResponse:
    """Send these very bytes and return the answer."""
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        return response


def tutorial_request(code: str) -> bytes:
    """Return what the old tutorial's ``wx.request`` puts on the wire."""
    url = (
        f"https://api.weixin.qq.com/sns/jscode2session?appid={APPID}&secret=0123456789abcdef0123456789abcdef"
        f"&js_code={code}&grant_type=authorization_code&code={code}"
    )
    return (
        f"GET /getOpenid?url={quote(url, safe='')} HTTP/1.1\r\n"
        "Host: login.example.com\r\n"
        "content-type: application/x-www-form-urlencoded\r\n"
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) MicroMessenger/8.0.50\r\n"
        f"Referer: https://servicewechat.com/{APPID}/0/page-frame.html\r\n"
        "\r\n"
    ).encode()


@pytest.mark.parametrize("carrier", ["Cookie", "sessionid"])
def test_the_tutorials_client_logs_in_and_comes_back_with_what_it_stored(
    service: Service, sandbox: Sandbox, carrier: str
) -> None:
    login = replay(service, tutorial_request(sandbox.issue_code()))
    stored = login.headers["Set-Cookie"]

    back = replay(service, f"GET /session HTTP/1.1\r\nHost: x\r\n{carrier}: {stored}\r\n\r\n".encode())

    assert (login.status, back.status) == (200, 200)
    assert stored.startswith("sessionid=")
    assert login.headers.get_all("Set-Cookie") == [stored]


def test_a_new_client_logs_in_is_recognised_and_logs_out(mini_program: MiniProgram) -> None:
    statuses = [
        mini_program.log_in().status,
        mini_program.whoami().status,
        mini_program.get("/auth").status,
        mini_program.log_out().status,
        mini_program.whoami().status,
    ]

    assert statuses == [200, 200, 204, 204, 401]


def test_every_worker_knows_every_session(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    assert {mini_program.get("/auth").status for _ in range(40)} == {204}


@pytest.mark.parametrize("length", ["Content-Length: 65537", "Content-Length: 10000000000"])
def test_a_body_that_is_declared_too_large_is_refused(service: Service, length: str) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n"

    assert replay(service, head.encode()).status == 413


def test_a_chunked_body_that_grows_too_large_is_refused(send: Send, sandbox: Sandbox) -> None:
    chunks = (b"x" * 1000 for _ in range(70))

    answer = send("POST", "/login", data=chunks, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.error["code"]) == (413, "content_too_large")


def test_a_chunked_body_is_read(send: Send, sandbox: Sandbox) -> None:
    chunks = iter([b'{"code": ', f'"{sandbox.issue_code()}"}}'.encode()])

    answer = send("POST", "/login", data=chunks, headers={"Content-Type": "application/json"})

    assert answer.status == 200


def test_a_badly_chunked_body_is_a_clear_error(service: Service) -> None:
    head = (
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    assert replay(service, head.encode() + b"zz\r\n{}\r\n0\r\n\r\n").status == 400


def test_a_refused_body_does_not_become_the_next_request(service: Service) -> None:
    address = urlsplit(service.url)
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)) as connection:
        connection.request("GET", "/session", body=smuggled)
        with connection.getresponse() as first:
            first.read()

        connection.request("GET", "/nothing")

        with connection.getresponse() as second:
            assert (first.status, second.status) == (400, 404)


@pytest.mark.parametrize("value", ["x" * 9000, "a\0b"])
def test_a_header_that_cannot_be_is_refused_by_the_server(service: Service, value: str) -> None:
    request = f"GET /auth HTTP/1.1\r\nHost: x\r\nsessionid: {value}\r\n\r\n"

    assert replay(service, request.encode()).status in {400, 431}
