"""What most tests need: a service put together from real parts, and clients for it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import hypothesis
import pytest
from fakeredis import FakeRedis
from flask import Flask
from redis import Redis
from redis.cluster import RedisCluster

from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.redis_topologies import cluster, sentinel
from tests.servers import TIMEOUT_SECONDS, RedisServer, connected, redis_server, sandbox_server
from wxlogin.config.settings import Settings, load
from wxlogin.services import Services
from wxlogin.storage.client import Client, connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.url import parse_url
from wxlogin.web.app import create_app

pytest_plugins = ["tests.left_behind", "tests.order"]

# No time limit: a slow machine is no bug. No database: no run depends on what an earlier one found. What fails is
# printed with a line that reproduces it.
hypothesis.settings.register_profile(
    "wxlogin",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=False,
    print_blob=True,
    database=None,
)
hypothesis.settings.load_profile("wxlogin")

# A shell's background job ignores Ctrl-C, and so would all that the tests start, and stop with it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

APPID = "wx4f4bc4dec97d474b"
SECRET_KEY = "a-secret-key-of-tests-0123456789abcdef"
LIMITS = [
    f"WXLOGIN_{what}_LIMIT_PER_{whom}"
    for what in ("LOGIN", "USER_DATA", "PHONE_NUMBER")
    for whom in ("ADDRESS", "USER")
]


class Clock:
    """A clock that stands still until it is moved; it starts now, because Redis has a clock of its own."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in Unix seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock(float(int(time.time())))


@pytest.fixture(scope="session")
def the_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One redis-server for all tests that leave it running; `real_redis` empties it before each."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def real_redis(the_redis_server: RedisServer) -> Iterator[Redis]:
    with connected(the_redis_server.url, timeout_seconds=5) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def the_sentinels_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with sentinel(tmp_path_factory.mktemp("sentinel")) as group, closing(_patient(group.url)) as client:
        yield client


@pytest.fixture(scope="session")
def the_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with cluster(tmp_path_factory.mktemp("cluster")) as formed, closing(_patient(formed.url)) as client:
        yield client


def _patient(url: str) -> Client:
    return connect(parse_url(url), ConnectionOptions(connect_timeout_seconds=5, read_timeout_seconds=5))


@pytest.fixture
def sentinels_master(the_sentinels_master: Client) -> Client:
    the_sentinels_master.flushall()
    return the_sentinels_master


@pytest.fixture
def clusters_masters(the_cluster: Client) -> Client:
    the_cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
    return the_cluster


_STORES = {"redis-server": "real_redis", "sentinel": "sentinels_master", "cluster": "clusters_masters"}


@pytest.fixture(params=["fakeredis", "redis-server"])
def one_redis(request: pytest.FixtureRequest) -> Redis:
    """One server, the imitation and the real one: for what does not depend on where Redis is."""
    if request.param == "fakeredis":
        return FakeRedis()
    redis: Redis = request.getfixturevalue("real_redis")
    return redis


@pytest.fixture(params=["fakeredis", *_STORES])
def any_redis(request: pytest.FixtureRequest) -> Redis:
    """Each of the stores that a session may live in: tests with it hold for all of them.

    A Cluster's client is no `Redis`, but for what the tests ask of it.
    """
    if request.param == "fakeredis":
        return FakeRedis()
    redis: Redis = request.getfixturevalue(_STORES[request.param])
    return redis


@pytest.fixture(scope="session")
def the_sandbox() -> Iterator[Sandbox]:
    with sandbox_server() as url:
        yield Sandbox(url)


@pytest.fixture
def sandbox(the_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox, which knows nothing yet, and keeps nothing of a test for those that do not ask for this."""
    the_sandbox.reset()
    yield the_sandbox
    the_sandbox.reset()


def environment(*, redis_url: str, wechat_api_url: str) -> dict[str, str]:
    """Return what a service needs to be told; it logs all it can, and nobody asks too often.

    Redis and WeChat may be slow, as they are on a machine that is busy: tests of what is too late say so.
    """
    return {
        "WXLOGIN_APPID": APPID,
        "WXLOGIN_APP_SECRET": "sandbox-secret",
        "WXLOGIN_SECRET_KEYS": SECRET_KEY,
        "WXLOGIN_REDIS_URL": redis_url,
        "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS": "1",
        "WXLOGIN_REDIS_READ_TIMEOUT_SECONDS": "1",
        "WXLOGIN_WECHAT_API_URL": wechat_api_url,
        "WXLOGIN_WECHAT_CONNECT_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "WXLOGIN_WECHAT_READ_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "WXLOGIN_LOG_LEVEL": "DEBUG",
        "WXLOGIN_NEAR_CACHE_SECONDS": "0",  # tests of what workers remember say so
        **dict.fromkeys(LIMITS, "none"),
    }


@pytest.fixture
def settings(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    # Many threads of one process, on a machine that is busy, take their time for what Redis has answered long ago.
    monkeypatch.setattr("wxlogin.storage.gateway._MAX_CALL_SECONDS", TIMEOUT_SECONDS)
    with monkeypatch.context() as changed:
        for name, value in environment(redis_url="memory://", wechat_api_url=sandbox.url).items():
            changed.setenv(name, value)
        return load()


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Flask:
    return create_app(Services.build(settings, clock=clock))


@pytest.fixture
def send(app: Flask) -> Send:
    return in_process(app)


@pytest.fixture
def mini_program(send: Send, sandbox: Sandbox) -> MiniProgram:
    return MiniProgram(send, sandbox)


@pytest.fixture
def signals_as_they_were() -> Iterator[None]:
    """Let a test run a command, which stops at signals in its own way, and put the handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def logging_put_back() -> Iterator[None]:
    """Let the context configure the logging of the process, or have gunicorn do it, and put it back."""
    loggers = [logging.getLogger(name) for name in (None, "gunicorn.error", "gunicorn.access")]
    before = [(each.level, each.propagate, each.handlers[:], each.filters[:]) for each in loggers]
    logging.root.handlers.clear()
    yield
    for logger, (level, propagate, handlers, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.handlers[:], logger.filters[:] = propagate, handlers, filters


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Let a test configure the logging of the process, or have gunicorn do it, and put it back."""
    with logging_put_back():
        yield
