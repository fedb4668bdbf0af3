"""What users do, for tests that read like it: a mini-program, and the people at the sandbox's controls."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import requests
from flask import Flask
from werkzeug.datastructures import Headers

from wxlogin.resilience.instrumentation import NullInstrumentation


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer, wherever it came from."""

    status: int
    headers: Headers
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """What an error's body says."""
        return self.json["error"]

    @property
    def set_cookie(self) -> str:
        """The whole ``Set-Cookie``; empty if there is none."""
        return self.headers.get("Set-Cookie", "")

    @property
    def session_id(self) -> str:
        """The id in the ``Set-Cookie``."""
        return self.set_cookie.partition("=")[2].partition(";")[0]


Send = Callable[..., Answer]
"""``send(method, path, headers=…, json=…, data=…)``"""


def in_process(app: Flask) -> Send:
    """Send requests into the application without a server; it keeps no cookies, as a mini-program doesn't."""

    def send(method: str, path: str, **request: Any) -> Answer:
        if path.startswith("//"):  # which werkzeug takes for a host
            request["environ_overrides"] = {"PATH_INFO": path.partition("?")[0]}
        response = app.test_client(use_cookies=False).open(path, method=method, **request)
        return Answer(response.status_code, response.headers, response.get_data(as_text=True))

    return send


def instrumentation(**methods: Callable[..., object]) -> Any:
    """Return what ignores all that it is told, but for what these are told."""
    told = NullInstrumentation()
    vars(told).update(methods)
    return told


def over_http(url: str) -> Send:
    """Send requests to a server; no cookies are kept and nothing is followed."""

    def send(method: str, path: str, **request: Any) -> Answer:
        response = requests.request(method, url + path, timeout=20, allow_redirects=False, **request)
        return Answer(response.status_code, Headers(response.headers), response.text)

    return send


@dataclasses.dataclass
class Sandbox:
    """The control plane of the imitation of WeChat."""

    url: str

    def issue_code(self, **who: str) -> str:
        """Do what ``wx.login()`` does, for a new user or ``openid=…``."""
        code: str = self._control("POST", "codes", json=who).json()["code"]
        return code

    def user_data(self, *, openid: str, kind: str = "user_info", **more: Any) -> dict[str, str]:
        """Return what the phone of a user would get from WeChat."""
        data: dict[str, str] = self._control(
            "POST", "user-data", json={"openid": openid, "kind": kind, **more}
        ).json()
        return data

    def phone_code(self, **whose: str) -> str:
        """Do what the button for a phone number does."""
        code: str = self._control("POST", "phone-codes", json=whose).json()["code"]
        return code

    def end_tokens(self, **how: Any) -> None:
        """End the access_tokens there are: ``void=True``, or ``expire=True``."""
        self._control("POST", "tokens", json=how)

    def arm(self, **fault: Any) -> None:
        """Make the next exchange, or ``path=…``, fail as told."""
        self._control("POST", "faults", json={"path": "/sns/jscode2session", **fault})

    def calls(self) -> list[dict[str, Any]]:
        """Return what WeChat was asked so far."""
        calls: list[dict[str, Any]] = self._control("GET", "calls").json()
        return calls

    def answers(self, path: str) -> list[int | None]:
        """Return the errcodes of the calls of an endpoint so far."""
        return [call["errcode"] for call in self.calls() if call["path"] == path]

    def reset(self) -> None:
        """Forget everything."""
        requests.delete(f"{self.url}/_sandbox", timeout=20).raise_for_status()

    def _control(self, method: str, what: str, **request: Any) -> requests.Response:
        response = requests.request(method, f"{self.url}/_sandbox/{what}", timeout=20, **request)
        response.raise_for_status()
        return response


@dataclasses.dataclass
class MiniProgram:
    """A mini-program on somebody's phone: it stores the ``Set-Cookie`` it got and sends all of it back."""

    send: Send
    sandbox: Sandbox
    openid: str = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
    stored: str = ""
    appid: str | None = None
    """Which one it is, for a service of several."""

    def log_in(self) -> Answer:
        """Call ``wx.login()`` and post the code."""
        return self.log_in_with(self.sandbox.issue_code(openid=self.openid, **self._which()))

    def log_in_with(self, code: str) -> Answer:
        """Post ``code`` and keep what comes back."""
        return self._keep(self.send("POST", "/login", json={"code": code, **self._which()}))

    def log_in_the_old_way(self) -> Answer:
        """Do what the old tutorial's client does."""
        code = self.sandbox.issue_code(openid=self.openid)
        url = (
            "https://api.weixin.qq.com/sns/jscode2session?appid=wx4f4bc4dec97d474b&secret=leaked-long-ago"
            f"&js_code={code}&grant_type=authorization_code&code={code}"
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        path = requests.Request("GET", "http://x/getOpenid", params={"url": url}).prepare().path_url
        return self._keep(self.send("GET", path, headers=headers))

    def whoami(self) -> Answer:
        """Ask for the session, with what was stored as a ``sessionid`` header."""
        return self.get("/session")

    def log_out(self) -> Answer:
        """End the session; what was stored is sent, and kept."""
        return self.send("DELETE", "/session", headers=self._headers())

    def get(self, path: str) -> Answer:
        """Make a request as the logged-in user."""
        return self.send("GET", path, headers=self._headers())

    def post(self, path: str, **request: Any) -> Answer:
        """Send something as the logged-in user."""
        return self.send("POST", path, headers=self._headers(), **request)

    def _which(self) -> dict[str, str]:
        return {"appid": self.appid} if self.appid else {}

    def _headers(self) -> dict[str, str]:
        return {"sessionid": self.stored} if self.stored else {}

    def _keep(self, answer: Answer) -> Answer:
        self.stored = answer.set_cookie or self.stored
        return answer
