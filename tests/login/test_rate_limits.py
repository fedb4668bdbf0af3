"""Counting in Redis: exactly as many as allowed, for as long as the window lasts, and never in anybody's way."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.conftest import Clock
from tests.servers import RedisServer, connected, gateway_of, keys_in, wait_until
from wxlogin.login.rate_limits import Allowance, Counters, RateLimited, RateLimits
from wxlogin.storage.client import Client
from wxlogin.storage.gateway import RedisGateway
from wxlogin.wechat.api.user_data import StaleSessionKey

USER, SOMEBODY = "F6o6712g3mCqnWDS", "0123456789abcdef"
LOGINS_OF_USER = b"wxlogin:limit:user:F6o6712g3mCqnWDS/login/3/1/minute"
COMMANDS = ("+eval", "+incrby", "+pttl", "+expire", "+get")
FAILURES_OF_USER = "wxlogin:limit:user:F6o6712g3mCqnWDS/decryption/20/10/minute"


def limits_on(redis: Client, *, per_user: str = "3/minute") -> RateLimits:
    allowance = Allowance(per_address="none", per_user=per_user)
    return RateLimits(gateway_of(redis), {"login": allowance, "user_data": allowance})


def refusals(limits: RateLimits, *, count: int, user_hash: str = USER) -> int:
    """Return how many of so many logins are refused."""
    return sum(is_refused(limits, user_hash=user_hash) for _ in range(count))


def is_refused(limits: RateLimits, *, user_hash: str = USER) -> bool:
    try:
        limits.hit_user(user_hash, "login")
    except RateLimited:
        return True
    return False


def unreachable() -> Client:
    raise RedisConnectionError("planted")


# limits, wherever Redis is


def test_exactly_as_many_as_allowed_are_let_through(any_redis: Redis) -> None:
    limits = limits_on(any_redis)

    assert [is_refused(limits) for _ in range(5)] == [False, False, False, True, True]


def test_another_user_has_a_limit_of_their_own(any_redis: Redis) -> None:
    limits = limits_on(any_redis)
    refusals(limits, count=5)

    assert refusals(limits, count=3, user_hash=SOMEBODY) == 0


def test_another_scope_has_a_limit_of_its_own(any_redis: Redis) -> None:
    limits = limits_on(any_redis)
    refusals(limits, count=5)

    limits.hit_user(USER, "user_data")


def test_the_narrower_of_several_windows_refuses(any_redis: Redis) -> None:
    assert refusals(limits_on(any_redis, per_user="9/hour;2/minute"), count=5) == 3


@pytest.mark.parametrize("per_user", ["4/hour;2/minute", "2/minute;4/hour"])
def test_what_the_narrower_window_refuses_does_not_use_up_the_wider(any_redis: Redis, per_user: str) -> None:
    limits = limits_on(any_redis, per_user=per_user)
    refusals(limits, count=5)

    counts = [any_redis.get(f"wxlogin:limit:user:{USER}/login/{window}") for window in ("2/1/minute", "4/1/hour")]
    assert counts == [b"5", b"2"]


def test_the_wider_of_several_windows_refuses(any_redis: Redis) -> None:
    assert refusals(limits_on(any_redis, per_user="2/hour;9/minute"), count=5) == 3


def test_without_a_limit_nobody_is_refused_and_nothing_is_stored(any_redis: Redis) -> None:
    assert refusals(limits_on(any_redis, per_user="none"), count=5) == 0

    assert keys_in(any_redis) == []


def test_who_is_refused_is_told_when_the_window_is_over(any_redis: Redis) -> None:
    limits = limits_on(any_redis)
    refusals(limits, count=3)
    any_redis.pexpire(LOGINS_OF_USER, 41_500)

    with pytest.raises(RateLimited) as caught:
        limits.hit_user(USER, "login")

    assert caught.value.retry_after_seconds in {41, 42}


def test_all_is_in_one_key_that_expires_with_the_window(any_redis: Redis) -> None:
    refusals(limits_on(any_redis), count=5)

    assert keys_in(any_redis) == [LOGINS_OF_USER]
    assert 0 < any_redis.pttl(LOGINS_OF_USER) <= 60_000


def test_a_window_is_not_prolonged_by_what_is_counted_in_it(any_redis: Redis) -> None:
    limits = limits_on(any_redis)
    refusals(limits, count=1)
    any_redis.expire(LOGINS_OF_USER, 20)

    refusals(limits, count=5)

    assert any_redis.ttl(LOGINS_OF_USER) <= 20


def test_a_count_that_would_last_for_ever_gets_an_end(any_redis: Redis) -> None:
    any_redis.set(LOGINS_OF_USER, 1000)

    assert is_refused(limits_on(any_redis))

    assert 0 < any_redis.ttl(LOGINS_OF_USER) <= 60


def test_when_the_window_is_over_all_is_forgotten(any_redis: Redis) -> None:
    limits = limits_on(any_redis, per_user="1/second")
    refusals(limits, count=1)

    wait_until(lambda: not is_refused(limits), what="the second is over")


def test_many_at_the_same_time_are_counted_exactly(real_redis: Redis) -> None:
    limits = limits_on(real_redis, per_user="50/minute")
    with ThreadPoolExecutor(8) as pool:
        told = [*pool.map(lambda _: is_refused(limits), range(200))]

    assert told.count(False) == 50


def test_processes_share_their_counts(any_redis: Redis) -> None:
    one, other = limits_on(any_redis), limits_on(any_redis)

    assert refusals(one, count=2) + refusals(other, count=2) == 1


# decryptions that fail


def decrypt(limits: RateLimits, failure: Exception | None = None) -> str:
    """Return how it ended."""
    try:
        with limits.counting_failures_of(USER):
            if failure:
                raise failure
    except (RateLimited, StaleSessionKey, ArithmeticError) as told:
        return type(told).__name__
    return "decrypted"


def test_after_twenty_failures_nothing_is_decrypted(any_redis: Redis) -> None:
    limits = limits_on(any_redis)

    assert [decrypt(limits, StaleSessionKey()) for _ in range(20)] == ["StaleSessionKey"] * 20
    assert [decrypt(limits, StaleSessionKey()), decrypt(limits)] == ["RateLimited"] * 2


def test_who_is_refused_to_decrypt_is_told_when_that_is_over(any_redis: Redis) -> None:
    any_redis.set(FAILURES_OF_USER, 20, px=599_500)

    with pytest.raises(RateLimited) as caught, limits_on(any_redis).counting_failures_of(USER):
        pass

    assert caught.value.retry_after_seconds in {599, 600}


def test_decryptions_that_succeed_are_not_counted(any_redis: Redis) -> None:
    limits = limits_on(any_redis)

    assert {decrypt(limits) for _ in range(30)} == {"decrypted"}
    assert keys_in(any_redis) == []


def test_other_failures_than_of_the_data_are_not_counted(any_redis: Redis) -> None:
    limits = limits_on(any_redis)

    assert {decrypt(limits, ArithmeticError()) for _ in range(30)} == {"ArithmeticError"}
    assert keys_in(any_redis) == []


def test_the_outcome_of_a_failure_too_many_is_not_told(one_redis: Redis) -> None:
    def fail_while_others_do() -> NoReturn:
        one_redis.set(FAILURES_OF_USER, 20)
        raise StaleSessionKey

    with pytest.raises(RateLimited), limits_on(one_redis).counting_failures_of(USER):
        fail_while_others_do()


# what can't be counted


def test_while_redis_is_away_all_are_let_through() -> None:
    limits = RateLimits(RedisGateway(unreachable), {"login": Allowance(per_address="none", per_user="1/minute")})

    assert refusals(limits, count=5) == 0
    assert decrypt(limits) == "decrypted"
    assert decrypt(limits, StaleSessionKey()) == "StaleSessionKey"


def test_a_key_of_another_type_lets_through(any_redis: Redis) -> None:
    any_redis.hset(LOGINS_OF_USER.decode(), "planted", "by somebody else")

    assert refusals(limits_on(any_redis), count=5) == 0


def test_a_count_that_is_no_number_lets_through(any_redis: Redis) -> None:
    any_redis.set(FAILURES_OF_USER, "planted")

    assert decrypt(limits_on(any_redis)) == "decrypted"


def test_one_warning_a_minute_says_that_nothing_is_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters(RedisGateway(unreachable), clock=clock)
    warnings = []

    for seconds in (0, 59, 1, 59, 1):
        clock.advance(seconds)
        caplog.clear()
        counters.add("key", window_seconds=60)
        warnings.append("the limits are not counted: requests are let through" in caplog.messages)

    assert warnings == [True, False, True, False, True]


def test_a_refusal_is_logged_without_anything_secret(one_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        refusals(limits_on(one_redis), count=4)

    assert caplog.messages == [f"ratelimit 3 per 1 minute (user:{USER}) exceeded at endpoint: login"]


def test_a_window_of_which_nothing_is_known_is_over_in_a_second(one_redis: Redis) -> None:
    assert Counters(gateway_of(one_redis)).seconds_left("key") == 1


# an ACL user


def limits_of_user(server: RedisServer, commands: tuple[str, ...]) -> RateLimits:
    """Return limits that may give Redis these commands only, on their own keys only."""
    rules = " ".join(["reset", "on", ">planted-password", "~wxlogin:*", "-@all", *commands])
    with server.client() as operator:
        operator.execute_command(f"ACL SETUSER counter {rules}")
    url = f"redis://counter:planted-password@127.0.0.1:{server.port}/0"
    return limits_on(connected(url, timeout_seconds=5))


def tells_of_a_failure(limits: RateLimits, caplog: pytest.LogCaptureFixture) -> bool:
    refusals(limits, count=4)
    decrypt(limits)
    return "the limits are not counted: requests are let through" in caplog.messages


@pytest.mark.usefixtures("real_redis")
def test_a_user_with_a_few_commands_is_enough(
    the_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert not tells_of_a_failure(limits_of_user(the_redis_server, COMMANDS), caplog)


@pytest.mark.usefixtures("real_redis")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_user_with_fewer_is_not(
    the_redis_server: RedisServer, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    others = tuple(other for other in COMMANDS if other != command)

    assert tells_of_a_failure(limits_of_user(the_redis_server, others), caplog)
