"""The sandbox as its users drive it: over HTTP, with a clock that stands still."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from wxlogin.sandbox.app import make_sandbox_server

APPID = "wx4f4bc4dec97d474b"
SECRET = "sandbox-secret"
OTHER_APPID = "wx00000000000000aa"
OTHER_SECRET = "other-secret"
EXCHANGE = "/sns/jscode2session"


class Clock:
    """Unix seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_681_378_415.75

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Sandbox:
    """A client of the sandbox's two sides."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def issue(self, **fields: Any) -> Any:
        return self.client.post("/_sandbox/codes", json=fields).json

    def code(self, **fields: Any) -> str:
        return str(self.issue(**fields)["code"])

    def exchange_response(self, js_code: str, /, **changes: str | None) -> TestResponse:
        """Exchange a code as the first app; a parameter changed to None is left out."""
        query = exchange_query(js_code) | changes
        return self.client.get(EXCHANGE, query_string={k: v for k, v in query.items() if v is not None})

    def exchange(self, js_code: str, /, **changes: str | None) -> Any:
        return self.exchange_response(js_code, **changes).get_json(force=True)

    def errcode(self, js_code: str, /, **changes: str | None) -> int:
        return int(self.exchange(js_code, **changes).get("errcode", 0))

    def arm(self, path: str = EXCHANGE, **fault: Any) -> TestResponse:
        return self.client.post("/_sandbox/faults", json={"path": path, **fault})

    def calls(self) -> Any:
        return self.client.get("/_sandbox/calls").json


def exchange_query(js_code: str) -> dict[str, str | None]:
    return {"appid": APPID, "secret": SECRET, "js_code": js_code, "grant_type": "authorization_code"}


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve `app` on the port this yields."""
    server = make_sandbox_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
