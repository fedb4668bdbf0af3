"""A service whose Redis, WeChat and log can be looked into."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re

import pytest
from redis import Redis

from tests.bad_days.bench import Bench, bench
from tests.drivers import Sandbox
from tests.servers import RedisServer
from tests.wechat.drivers import Certificates
from wxlogin.config.settings import Settings
from wxlogin.observability import logging as logs


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``pytest -k C-16`` find ``test_c_16_…`` as well."""
    if row := re.match(r"test_([cdf])_(\d\d)_", item.name):
        item.extra_keyword_matches.add(f"{row[1]}-{row[2]}".upper())


@pytest.fixture
def log(logging_as_it_was: None) -> io.StringIO:
    """All that is logged, as it is written in production; libraries are heard down to their debugging."""
    lines = io.StringIO()
    with contextlib.redirect_stderr(lines):
        logs.configure_logging(level="DEBUG", style="json")
    return lines


@pytest.fixture
def roomy(settings: Settings, the_redis_server: RedisServer, real_redis: Redis) -> Settings:
    """Settings with the real Redis, and more threads than a test has."""
    return dataclasses.replace(settings, redis_url=the_redis_server.url, threads=200, redis_max_connections=200)


@pytest.fixture
def day(roomy: Settings, sandbox: Sandbox, real_redis: Redis, log: io.StringIO) -> Bench:
    return bench(roomy, sandbox, real_redis, log)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
