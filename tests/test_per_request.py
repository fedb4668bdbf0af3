"""What a request costs nothing for: all that can be imported, compiled and connected is, before the second one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import environment
from tests.drivers import Sandbox
from tests.servers import PROJECT, TIMEOUT_SECONDS, RedisServer, clean_environment
from tests.watched import REQUESTS


@pytest.fixture(scope="module")
def seen(the_redis_server: RedisServer, the_sandbox: Sandbox) -> dict[str, list[str]]:
    """What the second request of each kind did, in a process that coverage doesn't watch as well."""
    told = clean_environment(environment(redis_url=the_redis_server.url, wechat_api_url=the_sandbox.url))
    said = subprocess.run(
        [sys.executable, "-m", "tests.watched"],
        cwd=PROJECT,
        env={name: value for name, value in told.items() if not name.startswith("COVERAGE")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    ).stdout
    found: dict[str, list[str]] = json.loads(said)
    return found


@pytest.mark.parametrize("what", REQUESTS)
def test_nothing_is_imported_compiled_or_connected(what: str, seen: dict[str, list[str]]) -> None:
    assert seen[what] == []


def test_what_is_is_seen(seen: dict[str, list[str]]) -> None:
    assert {each.partition(" ")[0] for each in seen["all of it"]} == {"import", "compile", "pattern", "connected"}
