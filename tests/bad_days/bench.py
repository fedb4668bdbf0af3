"""One service on its worst days: what it is given, what it answers, and what must hold of every refusal."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from flask import Flask
from redis import Redis

from tests.drivers import Answer, MiniProgram, Sandbox, in_process
from tests.servers import keys_in
from tests.wechat.drivers import Certificates, forms_of
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.mini_programs import MiniPrograms

EXCHANGE = "/sns/jscode2session"

# Calls to the stand-in are to end soon where it never answers, and on a slow machine not before it does elsewhere.
HASTY = Timeouts(connect=1, read=0.3, total=1.3)  # a busy machine takes a while for a TLS handshake
PATIENT = Timeouts(connect=5, read=5, total=10)

Told = tuple[int, str]
"""Status and ``error.code``."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """A service in this process, on a real Redis that is empty at first, and all that can be seen of it."""

    settings: Settings
    app: Flask
    sandbox: Sandbox
    redis: Redis
    log: io.StringIO

    def user(self, openid: str = "oGZUI0egBJY1zhBYw2KhdUfwVJJE") -> MiniProgram:
        """Return somebody's phone."""
        return MiniProgram(in_process(self.app), self.sandbox, openid=openid)

    def exchanges(self) -> int:
        """Return how often WeChat was asked to exchange a code."""
        return len(self.sandbox.answers(EXCHANGE))

    def keys(self, prefix: str = "") -> list[bytes]:
        """Return the keys in Redis that begin so."""
        return [key for key in keys_in(self.redis) if key.startswith(prefix.encode())]

    def sessions(self) -> int:
        """Return how many sessions there are."""
        return sum(self.redis.hlen(key) for key in self.keys("wxlogin:user:"))

    def forget(self, prefix: str) -> None:
        """Let what is in Redis under keys that begin so be over."""
        for key in self.keys(prefix):
            self.redis.delete(key)

    def leaks(self, answers: list[Answer], *canaries: str) -> list[str]:
        """Return which of the canaries, in whatever form, are in an answer or in the log."""
        seen = self.log.getvalue() + "".join(f"{answer.headers} {answer.text}" for answer in answers)
        return [form for canary in canaries for form in forms_of(canary) if form in seen]


def bench(settings: Settings, sandbox: Sandbox, redis: Redis, log: io.StringIO) -> Bench:
    """Return the service that the settings describe."""
    return Bench(settings, create_app(Services.build(settings)), sandbox, redis, log)


@contextmanager
def asking(other: Bench, url: str, certificates: Certificates, *, timeouts: Timeouts = PATIENT) -> Iterator[Bench]:
    """Give the same service, but with WeChat at ``url``, and with our own authority for its TLS."""
    settings = dataclasses.replace(other.settings, wechat_api_url=url, wechat_total_timeout_seconds=timeouts.total)
    api = WeChatApi(url, timeouts=timeouts, max_connections=4, authorities_path=str(certificates.authority))
    apps = MiniPrograms(
        settings.read_credentials, make_client=lambda appid, secret: WeChatClient(appid, secret, api=api)
    )
    services = Services.build(settings)
    services = dataclasses.replace(services, login=dataclasses.replace(services.login, mini_programs=apps))
    with closing(api):
        yield dataclasses.replace(other, settings=settings, app=create_app(services))


def told(answer: Answer) -> Told:
    """Return what was told, if it was told as every refusal is: the one shape, kept by nobody, no cookie."""
    error: dict[str, Any] = json.loads(answer.text)["error"]
    assert {"code", "message", "request_id", "retryable"} == set(error) - {"errcode"}
    assert error["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    assert "Location" not in answer.headers
    return answer.status, str(error["code"])
