"""No secret gets out: all that a service says, in a life with every route and every trouble, is searched."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.conftest import APPID, SECRET_KEY, environment
from tests.drivers import Answer, MiniProgram, Sandbox, over_http
from tests.servers import RedisServer, Service, gateway_of, gunicorn, keys_in, redis_server, wait_until
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import hash_of
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.storage.client import Client, connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.url import parse_url
from wxlogin.wechat.access_tokens import AccessTokens
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi

OPENID = "oCanary-openid-0123456789abc"
ADMIN_TOKEN = "canary-of-the-operators-0123456789abcdef"
PASSWORD = "canary-of-redis-0123456789"
PHONE_NUMBER = "13912345678"
GUESS = "canary-of-a-guess-0123456789abcdef"
LEAKED = "leaked-long-ago"  # the app secret that the old client sends along
FAULTS: list[dict[str, Any]] = [
    {"errcode": 40125},
    {"errcode": -1, "times": 2},
    {"errcode": 45011},
    {"errcode": 40226},
    {"status": 500},
    {"reset": True},
    {"body": "<html>"},
]


@dataclasses.dataclass
class Life:
    """What a user and an operator do with a service, what they were answered, and what only they should know."""

    user: MiniProgram
    service: Service
    store: RedisServer
    answers: list[Answer] = dataclasses.field(default_factory=list)
    secrets: set[str] = dataclasses.field(default_factory=set)

    def log_in(self) -> Answer:
        code = self.user.sandbox.issue_code(openid=OPENID)
        self.secrets.add(code)
        return self.keep(self.user.log_in_with(code))

    def post(self, path: str, **body: Any) -> Answer:
        return self.keep(self.user.post(path, json=body))

    def send(self, method: str, path: str, **request: Any) -> None:
        with contextlib.suppress(requests.ConnectionError):
            self.keep(self.user.send(method, path, **request))

    def keep(self, answer: Answer) -> Answer:
        if answer.session_id:
            self.secrets.add(answer.session_id)
        self.answers.append(answer)
        return answer

    def get_phone_number(self) -> Answer:
        code = self.user.sandbox.phone_code(openid=OPENID, phoneNumber=PHONE_NUMBER)
        self.secrets.add(code)
        return self.post("/phone-number", code=code)

    def ask_everything(self) -> None:
        """Use every route as one should."""
        self.log_in()
        self.keep(self.user.log_in_the_old_way())
        data = self.user.sandbox.user_data(openid=OPENID)
        for path in ("/session", "/sessions", "/auth", "/healthz", "/readyz", "/metrics", "/nothing"):
            self.keep(self.user.get(path))
        self.post("/user-data/decrypt", encryptedData=data["encryptedData"], iv=data["iv"])
        self.post("/user-data/verify", rawData=data["rawData"], signature=data["signature"])
        self.secrets.add(self.get_phone_number().json["phoneNumber"])
        self.post("/session-key/check")
        self.post("/session-key/reset")
        self.secrets |= {data["encryptedData"], data["signature"]}

    def operate(self) -> None:
        """Be an operator, and somebody who guesses at the token."""
        path = f"/admin/users/{OPENID}/sessions"
        for token in (ADMIN_TOKEN, GUESS):
            headers = {"Authorization": f"Bearer {token}"}
            for method, where in (("GET", path), ("DELETE", f"{path}/{'A' * 22}")):
                self.send(method, where, headers=headers)
        for _ in range(10):
            self.send("GET", path, headers={"Authorization": f"Bearer {GUESS}"})

    def meet_trouble(self) -> None:
        """Do what should not be done, and have WeChat out of order."""
        for fault in FAULTS:
            self.user.sandbox.arm(**fault)
            self.log_in()
            self.user.sandbox.arm(path="/wxa/business/getuserphonenumber", **fault)
            self.get_phone_number()
        self.user.sandbox.end_tokens(void=True)
        self.user.sandbox.arm(path="/cgi-bin/stable_token", errcode=40164)
        wait_until(lambda: self.get_phone_number().status == 500, what="the token is found to be void")
        code = self.user.sandbox.issue_code(openid=OPENID)
        self.secrets.add(code)
        self.send("GET", f"/getOpenid?code={code}&code={code}")
        self.send("POST", f"/login?code={code}", json={"code": code})
        self.send("POST", "/login", data=f'{{"code": "{code}')
        self.send(
            "GET", "/nothing", headers={"sessionid": code, "X-Request-Id": f"{code} {code}", "Referer": code}
        )
        self.send("BREW", f"/session?sessionid={self.user.stored}")
        self.post("/user-data/decrypt", encryptedData="A" * 22 + "==", iv="A" * 22 + "==")

    def collect(self) -> None:
        """Look into Redis for what should be known to nobody."""
        with closing(self._redis()) as client:
            sessions = SessionStore(
                gateway_of(client), RecordCipher([SECRET_KEY]), lifetimes=Lifetimes(idle=99999, absolute=99999)
            )
            self.secrets |= {*sessions.session_keys(hash_of(User(APPID, OPENID)))}
            self.secrets.add(self._access_token(client))

    def tamper(self) -> None:
        """Put one user's record into another's place."""
        with closing(self._redis()) as client:
            key = f"wxlogin:user:{hash_of(User(APPID, OPENID))}"
            for field in client.hgetall(key):
                client.hset(key, field, b"\xff" * 4 + self.user.stored.encode())
        self.keep(self.user.whoami())

    def lose_redis(self) -> None:
        """Have Redis ask for another password, then freeze, then be gone."""
        with closing(self._redis()) as client:
            client.config_set("requirepass", f"{PASSWORD}-2")
            client.client_kill_filter(_type="normal", skipme=True)
        self.keep(self.user.whoami())
        self.store.freeze()
        for _ in range(5):
            self.keep(self.user.whoami())
        self.store.stop()
        self.log_in()
        self.keep(self.user.log_out())

    def _access_token(self, client: Client) -> str:
        timeouts = Timeouts()
        with closing(WeChatApi(self.user.sandbox.url, timeouts=timeouts, max_connections=1)) as api:
            tokens = AccessTokens(
                gateway_of(client), RecordCipher([SECRET_KEY]), api="stable_token", total_seconds=4
            )
            return tokens.call(WeChatClient(APPID, "sandbox-secret", api=api), lambda _client, token: token)

    def _redis(self) -> Client:
        options = ConnectionOptions(connect_timeout_seconds=5, read_timeout_seconds=5)
        return connect(parse_url(_url_of(self.store)), options)

    def names_in_redis(self) -> str:
        """Return all keys, and the fields of those that have any."""
        with closing(self._redis()) as client:
            keys = keys_in(client)
            return repr([(key, [*client.hgetall(key)] if client.type(key) == b"hash" else []) for key in keys])


def _url_of(store: RedisServer) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{store.port}/0"


@pytest.fixture(scope="module")
def lived(the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, str]]:
    """A whole life, and the names that it left in Redis before that was gone."""
    folder = tmp_path_factory.mktemp("canaries")
    the_sandbox.reset()
    with redis_server(folder) as store:
        store.client().config_set("requirepass", PASSWORD)
        told = environment(redis_url=_url_of(store), wechat_api_url=the_sandbox.url)
        told |= {"WXLOGIN_ADMIN_TOKEN": ADMIN_TOKEN, "WXLOGIN_EXPOSE_OPENID": "false"}
        options = ("--log-level", "debug", "--access-logfile", "-")
        with gunicorn(folder, told, options=options) as service:
            life = Life(MiniProgram(over_http(service.url), the_sandbox, openid=OPENID), service, store)
            life.ask_everything()
            life.operate()
            life.collect()
            life.meet_trouble()
            wait_until(lambda: life.log_in().status == 200, what="WeChat is well")
            wait_until(lambda: life.get_phone_number().status == 200, what="there is a token")
            life.collect()
            names = life.names_in_redis()
            service.process.send_signal(signal.SIGHUP)
            life.tamper()
            life.lose_redis()
            life.send("GET", "/metrics")
        yield life, names


def spellings(secret: str) -> set[str]:
    """Return the ways in which a secret could be hidden in a text."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    escaped = json.dumps(secret)[1:-1]
    return {secret, quote(secret, safe=""), escaped, encoded[:-2], secret.encode().hex()}


def found(secrets: set[str], text: str) -> list[str]:
    return [secret for secret in secrets if any(each in text for each in spellings(secret))]


OURS = {"sandbox-secret", SECRET_KEY, LEAKED, ADMIN_TOKEN, GUESS, PASSWORD, PHONE_NUMBER}


def test_the_life_had_all_that_is_searched_for(lived: tuple[Life, str]) -> None:
    life, _ = lived

    statuses = {answer.status for answer in life.answers}
    assert {200, 400, 401, 403, 404, 405, 409, 429, 500, 502, 503, 504} <= statuses
    assert len(life.secrets) > 30
    assert PHONE_NUMBER in life.secrets
    assert "it does not decrypt" in life.service.log
    assert "AuthenticationError" in life.service.log


def test_no_secret_is_in_the_log(lived: tuple[Life, str]) -> None:
    life, _ = lived

    assert found(life.secrets | OURS, life.service.log) == []


def test_no_openid_is_in_the_log_of_the_service_itself(lived: tuple[Life, str]) -> None:
    life, _ = lived

    lines = [
        line for line in life.service.log.splitlines() if '" /admin' not in line and "/admin/users/o" not in line
    ]
    assert found({OPENID}, "\n".join(lines)) == []


def test_no_secret_is_in_an_answer_but_the_cookie_and_the_phone_number(lived: tuple[Life, str]) -> None:
    life, _ = lived

    seen = "".join(each.text + repr({**each.headers, "Set-Cookie": ""}) for each in life.answers)
    assert found(life.secrets | OURS, seen) == [PHONE_NUMBER]


def test_no_secret_or_user_is_in_the_metrics(lived: tuple[Life, str]) -> None:
    life, _ = lived

    metrics = [answer.text for answer in life.answers if "wxlogin_logins_total" in answer.text]
    assert len(metrics) == 2
    user_hash = hash_of(User(APPID, OPENID))
    assert found(life.secrets | OURS | {OPENID, user_hash, "127.0.0.1"}, "".join(metrics)) == []


def test_no_secret_or_openid_is_a_name_in_redis(lived: tuple[Life, str]) -> None:
    life, names = lived

    assert "wxlogin:user:" in names
    assert "wxlogin:token:" in names
    assert found(life.secrets | OURS | {OPENID}, names) == []


def test_every_line_of_the_service_is_one_json_object(lived: tuple[Life, str]) -> None:
    life, _ = lived

    lines = [json.loads(line) for line in life.service.log.splitlines() if line.startswith("{")]
    assert len(lines) > 100
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
