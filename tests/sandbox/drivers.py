"""The sandbox as its users drive it: over HTTP, with a clock that stands still."""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from wxlogin.sandbox.server import SandboxServer

APPID = "wx4f4bc4dec97d474b"
SECRET = "sandbox-secret"
OTHER_APPID = "wx00000000000000aa"
OTHER_SECRET = "other-secret"
EXCHANGE = "/sns/jscode2session"
TOKEN = "/cgi-bin/token"
STABLE_TOKEN = "/cgi-bin/stable_token"
CHECK = "/wxa/checksession"
RESET = "/wxa/resetusersessionkey"
PHONE_NUMBER = "/wxa/business/getuserphonenumber"
ENCRYPT_KEY = "/wxa/business/getuserencryptkey"
CREDENTIALS = {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}
OTHER_CREDENTIALS = CREDENTIALS | {"appid": OTHER_APPID, "secret": OTHER_SECRET}


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

    def log_in(self, **fields: Any) -> Any:
        """Return what the first app gets for a new code."""
        return self.exchange(self.code(**fields))

    def get(self, path: str, query: dict[str, Any]) -> Any:
        """Return the answer of WeChat's side; a parameter that is None is left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.client.get(path, query_string=given).get_json(force=True)

    def post(self, path: str, fields: dict[str, Any], **query: str) -> Any:
        """Return the answer of WeChat's side to a JSON object; a field that is None is left out."""
        given = {name: value for name, value in fields.items() if value is not None}
        return self.client.post(path, json=given, query_string=query).get_json(force=True)

    def fetch_token(self, **changes: str) -> str:
        return str(self.get(TOKEN, CREDENTIALS | changes)["access_token"])

    def fetch_stable_token(self, **changes: Any) -> str:
        return str(self.post(STABLE_TOKEN, CREDENTIALS | changes)["access_token"])

    def token_errcode(self, access_token: str) -> int:
        """Return what a call with this token of the first app's gets, 0 if it is let through."""
        return int(self.get(CHECK, signed_query(self.log_in(), access_token))["errcode"])

    def phone_code(self, **fields: str) -> str:
        return str(self.client.post("/_sandbox/phone-codes", json=fields).get_json()["code"])

    def phone_number(self, **fields: Any) -> Any:
        """Exchange a phone code as the first app."""
        return self.post(PHONE_NUMBER, fields, access_token=self.fetch_stable_token())

    def end_tokens(self, **fields: Any) -> TestResponse:
        return self.client.post("/_sandbox/tokens", json=fields)

    def user_data(self, **fields: Any) -> Any:
        return self.client.post("/_sandbox/user-data", json=fields).json

    def arm(self, path: str = EXCHANGE, **fault: Any) -> TestResponse:
        return self.client.post("/_sandbox/faults", json={"path": path, **fault})

    def calls(self) -> Any:
        return self.client.get("/_sandbox/calls").json


def exchange_query(js_code: str) -> dict[str, str | None]:
    return {"appid": APPID, "secret": SECRET, "js_code": js_code, "grant_type": "authorization_code"}


def signed_query(session: dict[str, str], access_token: str, *, message: bytes = b"") -> dict[str, str | None]:
    """Return the query of a call that `session`'s key signs."""
    signature = hmac.new(session["session_key"].encode(), message, hashlib.sha256).hexdigest()
    return {
        "access_token": access_token,
        "openid": session["openid"],
        "signature": signature,
        "sig_method": "hmac_sha256",
    }


def in_twenty_threads(app: Flask, act: Callable[[Sandbox], int | str]) -> list[int | str]:
    """Return what `act` gives when twenty threads do it at once."""
    start = threading.Barrier(20, timeout=20)  # seconds, for threads to begin

    def act_together(_: int) -> int | str:
        sandbox = Sandbox(app.test_client())
        start.wait()
        return act(sandbox)

    with ThreadPoolExecutor(20) as threads:
        return list(threads.map(act_together, range(20)))


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve `app` on the port this yields."""
    with SandboxServer(app, host="127.0.0.1", port=0) as server:
        yield server.port
