"""That what the measurements compare is what it says: no test looks at times."""

from __future__ import annotations

import subprocess
import sys

import requests
from redis import Redis

from bench.servers import AT_ONCE, CEILING, STOCK_FLASK, WITHOUT_CACHE, Contender, openid_of, serving
from tests.servers import PROJECT, RedisServer, program


def test_the_command_says_what_it_does() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bench.speed", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout

    assert "make bench" in said
    assert "checks,nginx,refused,logins,memory,start,growth,news" in said


def test_the_sessions_that_are_made_for_contenders_are_let_in(
    the_redis_server: RedisServer, real_redis: Redis
) -> None:
    program("taskset", package="util-linux")

    assert [answer_of(each, real_redis) for each in (WITHOUT_CACHE, STOCK_FLASK)] == [
        (204, openid_of(7), 401),
        (204, openid_of(7), 401),
    ]
    assert [answer_of(each, real_redis)[0] for each in (CEILING, AT_ONCE)] == [204, 204]


def answer_of(contender: Contender, redis: Redis) -> tuple[int, str, int]:
    """Return what a user gets, whom it names, and what a stranger gets."""
    (cookie,) = contender.fill(redis, range(7, 8))
    with serving(contender, redis) as server:
        user = requests.get(f"{server.url}/auth", headers={"Cookie": cookie}, timeout=20)
        stranger = requests.get(f"{server.url}/auth", timeout=20)
    return user.status_code, user.headers["X-WX-OPENID"], stranger.status_code
