"""The imitation behind a real socket."""

import logging
import socket
import threading
from urllib.parse import urlencode

import pytest
import requests
from flask import Flask

from tests.sandbox.drivers import EXCHANGE, SECRET, Sandbox, exchange_query, serving
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import SandboxState


def url_of(port: int, path: str = EXCHANGE) -> str:
    return f"http://127.0.0.1:{port}{path}"


def test_the_server_serves_both_sides(app: Flask) -> None:
    with serving(app) as port:
        code = requests.post(url_of(port, "/_sandbox/codes"), timeout=10).json()["code"]
        answer = requests.get(url_of(port), exchange_query(code), timeout=10)

    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.json().keys() == {"session_key", "openid"}


def test_a_reset_reaches_the_client_as_one(app: Flask, sandbox: Sandbox) -> None:
    """On a bare socket: http.client calls the end of a connection a reset, too."""
    code = sandbox.code()
    sandbox.arm(reset=True)
    request = f"GET {EXCHANGE}?{urlencode(exchange_query(code))} HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with serving(app) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)

    assert sandbox.errcode(code) == 40163


def test_the_server_goes_on_after_a_reset(app: Flask, sandbox: Sandbox) -> None:
    sandbox.arm(reset=True)

    with serving(app) as port:
        with pytest.raises(requests.ConnectionError):
            requests.get(url_of(port), timeout=10)
        answer = requests.get(url_of(port), timeout=10)

    assert answer.json()["errcode"] == 41002


def test_a_call_that_waits_holds_no_other_one_up(state: SandboxState) -> None:
    waiting, over = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waiting.set()
        over.wait(10)

    app = create_sandbox(state, sleep=sleep)
    Sandbox(app.test_client()).arm("/slow", delay_seconds=60)

    with serving(app) as port:
        slow = threading.Thread(target=requests.get, args=[url_of(port, "/slow")], kwargs={"timeout": 10})
        slow.start()
        assert waiting.wait(10)
        answer = requests.get(url_of(port), timeout=10)
        over.set()
        slow.join()

    assert answer.json()["errcode"] == 41002


def test_a_chunked_body_that_is_too_long_is_refused(app: Flask) -> None:
    with serving(app) as port:
        answer = requests.post(url_of(port, "/_sandbox/codes"), data=iter([b" " * 70_000]), timeout=10)

    assert answer.status_code == 413


def test_the_server_says_nothing(
    app: Flask, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even of a request it cannot read, whose line would have the secret all the same."""
    caplog.set_level(logging.DEBUG, logger="werkzeug")
    caplog.set_level(logging.DEBUG, logger="wxlogin.sandbox")
    code = sandbox.code()
    sandbox.arm("/reset", reset=True)

    with serving(app) as port:
        requests.get(url_of(port), exchange_query(code), timeout=10)
        with pytest.raises(requests.ConnectionError):
            requests.get(url_of(port, "/reset"), timeout=10)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"GET /?secret={SECRET} is no request\r\n\r\n".encode())
            while connection.recv(4096):
                pass

    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
