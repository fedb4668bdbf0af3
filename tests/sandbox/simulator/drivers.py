"""The simulator as its page sees it, and servers for it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
from flask import Flask
from werkzeug.serving import make_server

from tests.servers import TIMEOUT_SECONDS
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.server import SandboxServer
from wxlogin.sandbox.state import SandboxState

NO_PROXY = {"http": ""}

Arrow = tuple[str, str, str]
"""Who tells whom, and what the arrow says."""

LOGIN: list[Arrow] = [  # but for the answers of Redis
    ("miniprogram", "wechat", "wx.login()"),
    ("wechat", "miniprogram", "code"),
    ("miniprogram", "service", "POST /login"),
    ("service", "redis", "EVAL wxlogin:code:…"),
    ("service", "wechat", "GET /sns/jscode2session"),
    ("wechat", "service", "ok"),
    ("service", "redis", "EVAL wxlogin:user:…"),
    ("service", "redis", "EVAL wxlogin:code:…"),
    ("service", "miniprogram", "200 Set-Cookie"),
]


class Simulator:
    """What the page sees."""

    def __init__(self, url: str, service_url: str) -> None:
        self.url = url
        self.service_url = service_url

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=TIMEOUT_SECONDS, proxies=NO_PROXY, **more)

    def post(self, path: str, body: object, **more: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=TIMEOUT_SECONDS, proxies=NO_PROXY, **more)

    def request(self, method: str, path: str, *, session: str = "", **more: Any) -> Any:
        """Send something as the mini-program and return what it gets."""
        header = {"sessionid": session} if session else {}
        answer = self.post(
            "/simulator/request", {"method": method, "url": self.service_url + path, "header": header, **more}
        )
        answer.raise_for_status()
        return answer.json()

    def log_in(self, **who: str) -> str:
        """Log in and return the whole `Set-Cookie`."""
        code = self.post("/simulator/wx/login", who).json()["code"]
        answer = self.request(
            "POST", "/login", header={"content-type": "application/json"}, body=json.dumps({"code": code})
        )
        return str(dict(answer["headers"])["Set-Cookie"])

    @property
    def last(self) -> int:
        return int(self.get("/simulator/configuration").json()["last"])

    def messages(self, *, since: float, until: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Return the messages since that time, as soon as they are as wanted, in the order of their times.

        Since a time, because what the service tells of Redis arrives a little later, also of the test before.
        """
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self.get("/simulator/messages?after=0", stream=True) as stream:
            for line in stream.iter_lines(decode_unicode=True):
                if line.startswith("data: "):
                    found += [message for message in [json.loads(line[6:])] if message["at"] >= since]
                if until(found):
                    return sorted(found, key=lambda each: (each["at"], each["number"]))
                assert time.monotonic() < deadline, [each["title"] for each in found]  # heartbeats go on for ever
        raise AssertionError("the stream has ended")


@contextlib.contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def simulator_of(service_url: str) -> Iterator[Simulator]:
    """Run a sandbox whose simulator uses that service."""
    sandbox = create_sandbox(SandboxState(), service_url=service_url)
    with SandboxServer(sandbox, host="127.0.0.1", port=0) as server:
        yield Simulator(f"http://127.0.0.1:{server.port}", service_url)
