"""The whole service as it runs in production: redis-server, the sandbox, gunicorn with two workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, Send, over_http
from tests.servers import ROOMY, RedisServer, Service, gunicorn, redis_server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def service(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = environment(redis_url=store.url, wechat_api_url=the_sandbox.url) | ROOMY
    with gunicorn(tmp_path_factory.mktemp("service"), settings) as running:
        yield running


@pytest.fixture
def send(service: Service) -> Send:
    return over_http(service.url)


@pytest.fixture
def mini_program(send: Send, sandbox: Sandbox) -> MiniProgram:
    return MiniProgram(send, sandbox)
