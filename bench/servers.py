"""What is measured, and against what: servers on one core, each with a redis-server, and the load on the other."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import requests
from redis import Redis, RedisError

from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.storage.encryption import RecordCipher

HERE = Path(__file__).parent
PROJECT = HERE.parent
SERVER_CORE, LOAD_CORE = "0", "1"
APPID, APP_SECRET = "wx4f4bc4dec97d474b", "sandbox-secret"
SECRET_KEY = "a-secret-key-of-measurements-0123456789"  # noqa: S105  # of nobody
DAYS_7, DAYS_30 = 7 * 86400, 30 * 86400
PIPELINED = 1_000
TIMEOUT_SECONDS = 30

Fill = Callable[[Redis, range], list[str]]
"""Makes sessions of users, and returns a `Cookie` for each."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server: how it is started, and how its sessions are made."""

    name: str
    command: Sequence[str]
    fill: Fill
    folder: Path = PROJECT
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Running:
    """A server that runs: its address, its processes that serve, and the sessions there are."""

    contender: Contender
    url: str
    process: subprocess.Popen[bytes]
    redis: Redis
    cookies: list[str]

    @property
    def name(self) -> str:
        return self.contender.name

    def workers(self) -> list[int]:
        """Return the ids of the processes that serve."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(each) for each in path.read_text().split()] or [self.process.pid]

    def cpu_seconds(self) -> float:
        """Return how much time of a processor they have taken so far."""
        ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in self.workers()]
        return sum(int(each) for pair in ticks for each in pair) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return the resident memory of the first worker."""
        status = Path(f"/proc/{self.workers()[0]}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def gunicorn(app: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "gunicorn", app, *options]


def wxlogin_settings(redis_url: str, **more: str) -> dict[str, str]:
    """Return what the service is told: all as it comes, but for the limits on logins."""
    limits = [f"WXLOGIN_LOGIN_LIMIT_PER_{whom}" for whom in ("ADDRESS", "USER")]
    return {
        "WXLOGIN_APPID": APPID,
        "WXLOGIN_APP_SECRET": APP_SECRET,
        "WXLOGIN_SECRET_KEYS": SECRET_KEY,
        "WXLOGIN_REDIS_URL": redis_url,
        "WXLOGIN_LOG_LEVEL": "WARNING",
        **dict.fromkeys(limits, "none"),
        **more,
    }


@contextlib.contextmanager
def redis_server() -> Iterator[Redis]:
    """Run a redis-server on the load's core that keeps nothing, and give a client."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, core=LOAD_CORE), Redis(port=port, protocol=2) as redis:
        wait_until(lambda: answers(redis))
        yield redis


@contextlib.contextmanager
def serving(
    contender: Contender, redis: Redis, *, cookies: list[str] | None = None, **more: str
) -> Iterator[Running]:
    """Run a server on its core until the context ends."""
    port, redis_url = free_port(), url_of(redis)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WXLOGIN_")},
        **wxlogin_settings(redis_url),
        "BENCH_REDIS_URL": redis_url,
        "BENCH_SECRET": SECRET_KEY,
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "PYTHONPATH": str(HERE / "contenders"),
        "NODE_ENV": "production",
        **contender.environment,
        **more,
    }
    command = [word.replace("{port}", str(port)) for word in contender.command]
    with running(command, core=SERVER_CORE, cwd=contender.folder, env=environment) as process:
        server = Running(contender, f"http://127.0.0.1:{port}", process, redis, cookies or [])
        wait_until(lambda: is_up(server.url))
        yield server


@contextlib.contextmanager
def running(command: Sequence[str], *, core: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    pinned = ["taskset", "-c", core, *command]
    process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)  # noqa: S603  # ours
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)


def answers(redis: Redis) -> bool:
    with contextlib.suppress(RedisError):
        return bool(redis.ping())
    return False


def is_up(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        requests.get(f"{url}/healthz", timeout=1)
        return True
    return False


def url_of(redis: Redis) -> str:
    return f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Sessions


class _Pipelined:
    """What a store takes for Redis: it has many sessions made in one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._pipeline = redis.pipeline(transaction=False)

    def call(self, work: Callable[[Any], Any], **_: Any) -> Any:
        if len(self._pipeline) >= PIPELINED:
            self._pipeline.execute()
        return work(self)

    def pipeline(self, **_: Any) -> Any:
        return self

    def eval(self, *script: Any) -> None:
        self._pipeline.eval(*script)

    def execute(self) -> list[Any]:
        return [(b"", 0)]

    def finish(self) -> None:
        self._pipeline.execute()


def store_on(redis: Any) -> SessionStore:
    return SessionStore(
        redis, RecordCipher([SECRET_KEY]), lifetimes=Lifetimes(idle=DAYS_7, absolute=DAYS_30), max_per_user=0
    )


def record_of(number: int, now: int) -> SessionRecord:
    key = base64.b64encode(hashlib.md5(str(number).encode(), usedforsecurity=False).digest()).decode()
    return SessionRecord(user=User(APPID, openid_of(number)), session_key=key, created_at=now, last_seen_at=now)


def openid_of(number: int) -> str:
    return f"o{base64.urlsafe_b64encode(hashlib.sha256(str(number).encode()).digest()).decode()[:27]}"


def fill_wxlogin(redis: Redis, users: range) -> list[str]:
    """Make sessions as logins do."""
    pipelined = _Pipelined(redis)
    store = store_on(pipelined)
    now = store.now()
    ids = [store.create(record_of(number, now)).session_id.text for number in users]
    pipelined.finish()
    return [f"sessionid={each}" for each in ids]


def fill_stock_flask(redis: Redis, users: range) -> list[str]:
    """Make sessions as Flask-Session's msgpack has them."""
    sids = [
        base64.urlsafe_b64encode(hashlib.sha256(f"flask {n}".encode()).digest()).decode().rstrip("=")
        for n in users
    ]
    keys = [f"session:{sid}" for sid in sids]
    values = [msgspec.msgpack.encode({"openid": openid_of(number), "session_key": "x" * 24}) for number in users]
    _set_all(redis, keys, values)
    return [f"session={sid}" for sid in sids]


def fill_express(redis: Redis, users: range) -> list[str]:
    """Make sessions as connect-redis has them, and cookies as express-session signs them."""
    sids = [hashlib.sha256(f"express {number}".encode()).hexdigest()[:32] for number in users]
    cookie = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}
    values = [
        json.dumps({"cookie": cookie, "openid": openid_of(n), "session_key": "x" * 24}).encode() for n in users
    ]
    _set_all(redis, [f"sess:{sid}" for sid in sids], values)
    return [f"connect.sid={quote(f's:{sid}.{_signature(sid)}', safe='')}" for sid in sids]


def _signature(text: str) -> str:
    digest = hmac.new(SECRET_KEY.encode(), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode().rstrip("=")


def _set_all(redis: Redis, keys: Sequence[str], values: Sequence[bytes]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for key, value in zip(keys, values, strict=True):
        pipeline.set(key, value, ex=DAYS_7)
        if len(pipeline) >= PIPELINED:
            pipeline.execute()
    pipeline.execute()


_BIND = ("--bind", "127.0.0.1:{port}")
_CONFIG = ("--config", str(HERE / "contenders/gunicorn.conf.py"))
WXLOGIN = Contender("wxlogin", gunicorn("wsgi:app", *_BIND), fill_wxlogin)
WITHOUT_CACHE = Contender(
    "wxlogin, near cache off",
    gunicorn("wsgi:app", *_BIND),
    fill_wxlogin,
    environment={"WXLOGIN_NEAR_CACHE_SECONDS": "0"},
)
STOCK_FLASK = Contender("Flask + Flask-Session", gunicorn("stock_flask:app", *_CONFIG, *_BIND), fill_stock_flask)
EXPRESS = Contender(
    "express + connect-redis", ["node", "server.js"], fill_express, folder=HERE / "contenders/express"
)
CEILING = Contender("empty WSGI callable", gunicorn("nothing:app", *_CONFIG, *_BIND), fill_wxlogin)
BARE = Contender("… without headers", gunicorn("nothing:bare", *_CONFIG, *_BIND), fill_wxlogin)
AT_ONCE = Contender("… answered without a thread", gunicorn("nothing:at_once", *_CONFIG, *_BIND), fill_wxlogin)
ALL = (WXLOGIN, WITHOUT_CACHE, STOCK_FLASK, EXPRESS, CEILING, BARE, AT_ONCE)

# Asks about each request, as in front of another back end, and answers it by itself.
_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream wxlogin_auth {{ server {server}; keepalive 32; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{
      auth_request /_auth; auth_request_set $openid $upstream_http_x_wx_openid;
      add_header X-Was $openid; empty_gif;
    }}
    location = /_auth {{
      internal; proxy_pass http://wxlogin_auth/auth; proxy_http_version 1.1; proxy_pass_request_body off;
      proxy_set_header Connection ""; proxy_set_header Content-Length "";
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"""


def nginx_program() -> str:
    """Return where nginx is: Debian puts it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"


@contextlib.contextmanager
def behind_nginx(server: Running) -> Iterator[Running]:
    """Run nginx on the load's core in front of a server, and give that server at nginx's address."""
    with tempfile.TemporaryDirectory() as folder:
        port, config = free_port(), Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, server=server.url.removeprefix("http://")))
        with running([nginx_program(), "-c", str(config)], core=LOAD_CORE):
            front = dataclasses.replace(server, url=f"http://127.0.0.1:{port}")
            wait_until(lambda: is_up(front.url))
            yield front


@contextlib.contextmanager
def wechat(*, seconds: float) -> Iterator[str]:
    """Run the sandbox on the load's core, have code2Session take ``seconds`` in all, and give its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = gunicorn("wechat:app", "--bind", f"127.0.0.1:{port}", "--config", "/dev/null", "--threads", "32")
    environment = {**os.environ, **wxlogin_settings(""), "PYTHONPATH": str(HERE / "contenders")}
    with running([*command, "--keep-alive", "75"], core=LOAD_CORE, cwd=PROJECT, env=environment):
        wait_until(lambda: is_up(url))
        delay_wechat(url, seconds)
        delay_wechat(url, 2 * seconds - time_of_wechat(url))
        yield url


def delay_wechat(url: str, seconds: float) -> None:
    """Have code2Session take so much longer than it does by itself."""
    requests.delete(f"{url}/_sandbox/faults", timeout=5).raise_for_status()
    fault = {"path": "/sns/jscode2session", "delay_seconds": seconds, "times": 1_000_000}
    requests.post(f"{url}/_sandbox/faults", json=fault, timeout=5).raise_for_status()


def time_of_wechat(url: str, *, times: int = 40) -> float:
    """Return how long the sandbox takes to answer over a connection that is kept, in seconds."""
    query = {"appid": APPID, "secret": APP_SECRET, "grant_type": "authorization_code"}
    spent = []
    with requests.Session() as session:
        for _ in range(times):
            code = session.post(f"{url}/_sandbox/codes", timeout=5).json()["code"]
            began = time.perf_counter()
            session.get(f"{url}/sns/jscode2session", params={**query, "js_code": code}, timeout=5)
            spent.append(time.perf_counter() - began)
    return statistics.median(spent)
