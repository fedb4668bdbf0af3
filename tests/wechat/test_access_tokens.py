"""The access_token in Redis: fetched by one for all, in time, again where it is bad, and no more often."""

from __future__ import annotations

import contextlib
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast
from urllib.parse import quote

import pytest
from fakeredis import FakeRedis
from redis import Redis

from tests.conftest import APPID, SECRET_KEY, Clock
from tests.drivers import Sandbox
from tests.fault_proxy import fault_proxy
from tests.servers import (
    RedisServer,
    connected,
    free_port,
    gateway_of,
    keys_in,
    monitored,
    redis_server,
    sandbox_server,
)
from wxlogin.resilience.deadline import Deadline
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.wechat.access_tokens import AccessTokens
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import (
    BadAccessToken,
    CallRejected,
    CredentialsRejected,
    RateLimited,
    WeChatAPIError,
)
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.api.models import AccessToken

KEY = f"wxlogin:token:{APPID}"
OTHER_APPID = "wx00000000000000aa"
STABLE, OLDER = "/cgi-bin/stable_token", "/cgi-bin/token"
PHONE_NUMBER = "/wxa/business/getuserphonenumber"
BAD = (40001, 40014, 42001)

LIFETIME_SECONDS = 7200
EARLY_SECONDS = 300  # from then on WeChat gives another token
LEASE_SECONDS = 11  # more than any lease here lasts


class Client(WeChatClient):
    """A client for which something else happens at the same time: as soon as WeChat has given it a token."""

    def __init__(self, url: str, *, appid: str = APPID, meanwhile: Callable[[], object] = lambda: None) -> None:
        api = WeChatApi(
            url,
            timeouts=Timeouts(connect=5, read=5, total=10),
            max_connections=20,
            pause_seconds=lambda: 0,
        )
        super().__init__(appid, "sandbox-secret", api=api)
        self._meanwhile = [meanwhile]

    def token(self) -> AccessToken:
        return self._then(super().token())

    def stable_token(self, *, force_refresh: bool = False) -> AccessToken:
        return self._then(super().stable_token(force_refresh=force_refresh))

    def _then(self, token: AccessToken) -> AccessToken:
        while self._meanwhile:
            self._meanwhile.pop()()
        return token


class Died(BaseException):
    """Stands for the end of a process in the middle of its work."""


def die() -> None:
    raise Died


def tokens_in(
    redis: Redis, *, api: str = "stable_token", total_seconds: float = 10, secret_key: str = SECRET_KEY
) -> AccessTokens:
    return AccessTokens(gateway_of(redis), RecordCipher([secret_key]), api=api, total_seconds=total_seconds)


@pytest.fixture
def tokens(any_redis: Redis) -> AccessTokens:
    return tokens_in(any_redis)


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox.url)


@pytest.fixture(scope="module")
def clock() -> Clock:
    """WeChat's clock, and by `let_pass` that of Redis; it goes on from test to test."""
    return Clock(1_800_000_000)


@pytest.fixture(scope="module")
def the_timed(clock: Clock) -> Iterator[Sandbox]:
    with sandbox_server(clock=clock) as url:
        yield Sandbox(url)


@pytest.fixture
def timed(the_timed: Sandbox) -> Sandbox:
    """A sandbox for which time passes by `let_pass` only."""
    the_timed.reset()
    return the_timed


def token_of(tokens: AccessTokens, client: WeChatClient) -> str:
    """Return the token that a call is made with."""
    return tokens.call(client, lambda _client, token: token)


def exchange(tokens: AccessTokens, client: WeChatClient, sandbox: Sandbox) -> str:
    """Exchange a phone code: a call that WeChat refuses with a bad token."""
    code = sandbox.phone_code()
    phone = tokens.call(client, lambda client, token: client.getuserphonenumber(token, code, openid="o"))
    return phone.phone_number


def stored_in(redis: Redis, *, key: str = KEY) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], redis.hgetall(key))


def alter(redis: Redis, **fields: str | bytes | int) -> None:
    redis.hset(KEY, mapping=fields)  # type: ignore[arg-type]  # invariant


def now_ms(redis: Redis) -> int:
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def let_pass(redis: Redis, seconds: float, *, clock: Clock | None = None) -> None:
    """Let time pass, as far as what is stored can tell."""
    for name, value in stored_in(redis).items():
        if name == b"forced" or name.endswith((b"_at", b"_until")):
            redis.hset(KEY, name, re.sub(rb"\d+", lambda at: b"%d" % (int(at[0]) - 1000 * seconds), value))
    if clock:
        clock.advance(seconds)


# one for all


def test_a_token_is_fetched_once_and_used_again(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    used = {token_of(tokens, client), token_of(tokens, client), token_of(tokens_in(any_redis), client)}

    assert len(used) == 1
    assert sandbox.answers(STABLE) == [0]


def test_wechat_accepts_it(tokens: AccessTokens, client: Client, sandbox: Sandbox) -> None:
    assert exchange(tokens, client, sandbox) == "13580006666"
    assert sandbox.answers(PHONE_NUMBER) == [0]


def test_two_apps_have_a_token_each(any_redis: Redis) -> None:
    apps = dict.fromkeys([APPID, OTHER_APPID], "sandbox-secret")
    tokens = tokens_in(any_redis)

    with sandbox_server(apps) as url:
        used = [token_of(tokens, Client(url, appid=appid)) for appid in (APPID, OTHER_APPID, APPID, OTHER_APPID)]

    assert used[:2] == used[2:]
    assert used[0] != used[1]
    assert keys_in(any_redis) == [f"wxlogin:token:{appid}".encode() for appid in sorted(apps)]


def test_many_threads_that_need_one_make_one_call(client: Client, sandbox: Sandbox, one_redis: Redis) -> None:
    sandbox.arm(path=STABLE, delay_seconds=0.3)

    with ThreadPoolExecutor(20) as threads:
        used = set(threads.map(lambda _: token_of(tokens_in(one_redis), client), range(20)))

    assert len(used) == 1
    assert sandbox.answers(STABLE) == [0]


def test_many_threads_that_find_it_bad_make_one_call(client: Client, sandbox: Sandbox, one_redis: Redis) -> None:
    tokens = tokens_in(one_redis)
    token_of(tokens, client)
    sandbox.end_tokens(void=True)
    sandbox.arm(path=STABLE, delay_seconds=0.3)

    with ThreadPoolExecutor(10) as threads:
        numbers = set(threads.map(lambda _: exchange(tokens, client, sandbox), range(10)))

    assert numbers == {"13580006666"}
    assert sandbox.answers(STABLE) == [0, 0]


def test_the_older_endpoint_is_used_where_that_is_wished(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis, api="token")

    assert token_of(tokens, client) == token_of(tokens, client)
    assert (sandbox.answers(OLDER), sandbox.answers(STABLE)) == ([0], [])


def test_what_is_kept_goes_when_it_is_not_used_for_a_day(
    tokens: AccessTokens, client: Client, any_redis: Redis
) -> None:
    token_of(tokens, client)

    assert 24 * 3600 < any_redis.ttl(KEY) <= 25 * 3600 + 1


# in time


def test_a_token_is_used_until_it_is_about_to_expire(timed: Sandbox, clock: Clock, any_redis: Redis) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    token = token_of(tokens, client)

    let_pass(any_redis, LIFETIME_SECONDS - EARLY_SECONDS - 5, clock=clock)

    assert token_of(tokens, client) == token
    assert timed.answers(STABLE) == [0]


def test_a_token_that_is_about_to_expire_is_replaced(timed: Sandbox, clock: Clock, any_redis: Redis) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    token = token_of(tokens, client)

    let_pass(any_redis, LIFETIME_SECONDS - EARLY_SECONDS / 2 + 5, clock=clock)

    assert token_of(tokens, client) != token
    assert timed.answers(STABLE) == [0, 0]


def test_a_token_that_lives_shortly_is_used_for_three_quarters_of_its_life(
    timed: Sandbox, clock: Clock, one_redis: Redis
) -> None:
    timed.arm(path=STABLE, body='{"access_token":"short","expires_in":100}')
    tokens, client = tokens_in(one_redis), Client(timed.url)
    token_of(tokens, client)

    let_pass(one_redis, 74)
    early = token_of(tokens, client)
    let_pass(one_redis, 15)
    late = token_of(tokens, client)

    assert early == "short"
    assert late != "short"


def test_those_who_fetched_together_do_not_refresh_together(client: Client, sandbox: Sandbox) -> None:
    moments = set()
    for _ in range(20):
        redis = FakeRedis()
        token_of(tokens_in(redis), client)
        found = [int(redis.hget(KEY, name) or 0) for name in ("expires_at", "refresh_at")]
        moments.add((found[0] - found[1]) // 1000)

    assert len(moments) > 5
    assert moments <= {*range(EARLY_SECONDS // 2, EARLY_SECONDS + 1)}


def test_while_one_replaces_it_the_others_go_on_with_the_old_one(
    timed: Sandbox, clock: Clock, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis)
    old = token_of(tokens, Client(timed.url))
    let_pass(any_redis, LIFETIME_SECONDS - 100, clock=clock)
    seen: list[str] = []

    new = token_of(tokens, Client(timed.url, meanwhile=lambda: seen.append(token_of(tokens, Client(timed.url)))))

    assert seen == [old]
    assert new != old
    assert timed.answers(STABLE) == [0, 0]


def test_while_one_replaces_it_the_others_do_not_wait(
    timed: Sandbox, clock: Clock, real_redis: Redis, the_redis_server: RedisServer
) -> None:
    tokens = tokens_in(real_redis)
    old = token_of(tokens, Client(timed.url))
    let_pass(real_redis, LIFETIME_SECONDS - 100, clock=clock)
    with pytest.raises(Died):
        token_of(tokens, Client(timed.url, meanwhile=die))

    with monitored(the_redis_server.client()) as commands:
        assert token_of(tokens, Client(timed.url)) == old

    assert [command.split()[0] for command in commands] == ["EVAL"]


@pytest.mark.parametrize("fault", [{"errcode": 45009}, {"status": 500}])
def test_if_it_can_not_be_replaced_the_old_one_serves_on(
    timed: Sandbox, clock: Clock, any_redis: Redis, caplog: pytest.LogCaptureFixture, fault: dict[str, int]
) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    old = token_of(tokens, client)
    let_pass(any_redis, LIFETIME_SECONDS - 100, clock=clock)
    timed.arm(path=STABLE, times=2, **fault)

    used = [token_of(tokens, client) for _ in range(3)]
    let_pass(any_redis, 5)
    used.append(token_of(tokens, client))
    calls_until_then = len(timed.answers(STABLE))
    let_pass(any_redis, 6)
    used.append(token_of(tokens, client))

    assert used == [old] * 5
    assert (calls_until_then, len(timed.answers(STABLE))) == (2, 3)
    assert len([record for record in caplog.records if "no new access_token" in record.message]) == 2


@pytest.mark.parametrize("fault", [{"errcode": 45009}, {"status": 500}])
def test_one_that_has_expired_does_not_serve_on(
    timed: Sandbox, clock: Clock, any_redis: Redis, fault: dict[str, int]
) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    token_of(tokens, client)
    let_pass(any_redis, LIFETIME_SECONDS + 1, clock=clock)
    timed.arm(path=STABLE, **fault)

    with pytest.raises((RateLimited, CallRejected)):
        token_of(tokens, client)


def test_a_failure_that_is_still_told_does_not_keep_one_that_works_from_use(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    token = token_of(tokens, client)
    alter(any_redis, refresh_at=0, failed="40164 ", failed_until=now_ms(any_redis) + 900)

    assert token_of(tokens, client) == token
    assert sandbox.answers(STABLE) == [0]


def test_who_has_little_time_does_not_try_to_replace_one_that_works(
    timed: Sandbox, clock: Clock, any_redis: Redis
) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    old = token_of(tokens, client)
    let_pass(any_redis, LIFETIME_SECONDS - 100, clock=clock)

    hurried = token_of(tokens, client.within(Deadline.after(1.2)))

    assert hurried == old
    assert token_of(tokens, client) != old


def test_a_slow_replacement_leaves_half_of_the_time_for_the_call(
    timed: Sandbox, clock: Clock, one_redis: Redis
) -> None:
    tokens, client = tokens_in(one_redis, total_seconds=2), Client(timed.url)
    old = token_of(tokens, client)
    let_pass(one_redis, LIFETIME_SECONDS - 100, clock=clock)
    timed.arm(path=STABLE, delay_seconds=1.9)

    assert exchange(tokens, client, timed)
    assert token_of(tokens, client) == old


# when it can't be fetched


def test_what_wechat_says_is_told_to_who_comes_within_a_second(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    sandbox.arm(path=STABLE, errcode=40164)
    said = []

    for _ in range(3):
        with pytest.raises(CredentialsRejected) as refusal:
            token_of(tokens, client)
        said.append((refusal.value.errcode, refusal.value.rid))

    assert said[0][0] == 40164
    assert said[0][1]
    assert said == [said[0]] * 3
    assert sandbox.answers(STABLE) == [40164]


@pytest.mark.parametrize("fault", [{"status": 500}, {"body": "<html>"}, {"reset": True}, {"body": "{}"}])
def test_other_failures_are_told_as_nothing_sent(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    sandbox.arm(path=STABLE, **fault)

    for _ in range(2):
        with pytest.raises(CallRejected):
            token_of(tokens, client)

    assert len(sandbox.answers(STABLE)) == 1


def test_after_a_second_somebody_tries_again(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    sandbox.arm(path=STABLE, errcode=40164)
    with pytest.raises(CredentialsRejected):
        token_of(tokens, client)

    let_pass(any_redis, 1.1)

    assert token_of(tokens, client)
    assert sandbox.answers(STABLE) == [40164, 0]


def test_a_success_ends_the_telling(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    sandbox.arm(path=STABLE, errcode=40164)
    with pytest.raises(CredentialsRejected):
        token_of(tokens, client)
    let_pass(any_redis, 1.1)
    token_of(tokens, client)

    assert {b"failed", b"failed_until", b"holder", b"held_until"}.isdisjoint(any_redis.hkeys(KEY))


def test_a_wrong_secret_is_not_taken_for_a_bad_token(client: Client, sandbox: Sandbox, any_redis: Redis) -> None:
    sandbox.arm(path=STABLE, errcode=40001, times=5)

    with pytest.raises(BadAccessToken):
        exchange(tokens_in(any_redis), client, sandbox)

    assert (sandbox.answers(STABLE), sandbox.answers(PHONE_NUMBER)) == ([40001], [])


def test_who_can_not_wait_long_enough_is_told_that_nothing_was_sent(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis)

    def wait_in_vain() -> None:
        with pytest.raises(CallRejected):
            token_of(tokens, client.within(Deadline.after(0.7)))

    token_of(tokens, Client(sandbox.url, meanwhile=wait_in_vain))

    assert sandbox.answers(STABLE) == [0]


# the lease


def test_when_a_lease_runs_out_another_takes_over(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    with pytest.raises(Died):
        token_of(tokens, Client(sandbox.url, meanwhile=die))

    with pytest.raises(CallRejected):
        token_of(tokens, client.within(Deadline.after(0.7)))
    let_pass(any_redis, LEASE_SECONDS)

    assert token_of(tokens, client)
    assert sandbox.answers(STABLE) == [0, 0]


def test_who_lost_the_lease_uses_its_own_token_and_stores_it_over_no_newer_one(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis, api="token")
    newer: list[str] = []

    def be_late() -> None:
        let_pass(any_redis, LEASE_SECONDS)
        newer.append(token_of(tokens, client))

    late = token_of(tokens, Client(sandbox.url, meanwhile=be_late))

    assert late != newer[0]
    assert token_of(tokens, client) == newer[0]


def test_who_lost_the_lease_does_not_end_that_of_another(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis)

    def lose_it() -> None:
        let_pass(any_redis, LEASE_SECONDS)
        with pytest.raises(Died):
            token_of(tokens, Client(sandbox.url, meanwhile=die))

    token_of(tokens, Client(sandbox.url, meanwhile=lose_it))

    with pytest.raises(CallRejected):
        token_of(tokens, client.within(Deadline.after(0.7)))


def test_who_lost_the_lease_tells_nobody_of_its_failure(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    tokens = tokens_in(any_redis)

    def lose_it() -> None:
        let_pass(any_redis, LEASE_SECONDS)
        token_of(tokens, client)
        raise CallRejected

    with pytest.raises(CallRejected):
        token_of(tokens, Client(sandbox.url, meanwhile=lose_it))

    assert token_of(tokens, client)


@pytest.mark.parametrize("name", ["held_until", "failed_until"])
def test_a_time_further_ahead_than_it_can_be_has_passed(
    tokens: AccessTokens, client: Client, any_redis: Redis, name: str
) -> None:
    """It was written before Redis's clock was set back, or is another's."""
    an_hour_ahead = now_ms(any_redis) + 3_600_000
    alter(any_redis, holder="somebody", failed="40164 ", **{name: an_hour_ahead})

    assert token_of(tokens, client)


# bad ones


def test_a_token_that_another_has_replaced_is_fetched_again(
    tokens: AccessTokens, client: Client, sandbox: Sandbox
) -> None:
    token_of(tokens, client)
    sandbox.end_tokens(void=True)

    assert exchange(tokens, client, sandbox)
    assert sandbox.answers(PHONE_NUMBER) == [40001, 0]
    assert sandbox.answers(STABLE) == [0, 0]


def test_a_token_that_expired_too_soon_is_fetched_again(
    tokens: AccessTokens, client: Client, sandbox: Sandbox
) -> None:
    token_of(tokens, client)
    sandbox.end_tokens(expire=True)

    assert exchange(tokens, client, sandbox)
    assert sandbox.answers(PHONE_NUMBER) == [42001, 0]
    assert sandbox.answers(STABLE) == [0, 0]


@pytest.mark.parametrize("errcode", BAD)
def test_a_token_that_wechat_finds_bad_and_gives_again_is_replaced_by_force(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, errcode: int
) -> None:
    bad = token_of(tokens, client)
    sandbox.arm(path=PHONE_NUMBER, errcode=errcode)

    assert exchange(tokens, client, sandbox)
    assert sandbox.answers(PHONE_NUMBER) == [errcode, 0]
    assert sandbox.answers(STABLE) == [0, 0, 0]
    assert token_of(tokens, client) != bad


@pytest.mark.parametrize("errcode", BAD)
def test_a_call_is_made_twice_and_no_more(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, errcode: int
) -> None:
    sandbox.arm(path=PHONE_NUMBER, errcode=errcode, times=100)

    with pytest.raises(BadAccessToken) as refusal:
        exchange(tokens, client, sandbox)

    assert refusal.value.errcode == errcode
    assert sandbox.answers(PHONE_NUMBER) == [errcode] * 2


@pytest.mark.parametrize("errcode", [-1, 40029, 41001, 45011, 48001])
def test_other_refusals_cost_no_token(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, errcode: int
) -> None:
    sandbox.arm(path=PHONE_NUMBER, errcode=errcode, times=2)

    with pytest.raises(WeChatAPIError) as refusal:
        exchange(tokens, client, sandbox)

    assert refusal.value.errcode == errcode
    assert not isinstance(refusal.value, BadAccessToken)
    assert sandbox.answers(STABLE) == [0]


def test_who_finds_an_old_one_bad_does_not_drop_the_newer_one(
    tokens: AccessTokens, client: Client, sandbox: Sandbox
) -> None:
    token_of(tokens, client)
    sandbox.end_tokens(void=True)
    requests = []

    def slow_request(_client: WeChatClient, token: str) -> str:
        requests.append(token)
        if len(requests) == 1:
            exchange(tokens, client, sandbox)
            raise BadAccessToken(40001)
        return token

    newer = tokens.call(client, slow_request)

    assert token_of(tokens, client) == newer
    assert sandbox.answers(STABLE) == [0, 0]


def test_a_token_found_bad_by_one_process_is_not_fetched_again_by_another(
    timed: Sandbox, clock: Clock, any_redis: Redis
) -> None:
    """The one that refreshes does not know yet what the other finds out meanwhile."""
    tokens, client = tokens_in(any_redis), Client(timed.url)
    bad = token_of(tokens, client)
    let_pass(any_redis, LIFETIME_SECONDS - 310)  # by Redis's clock alone: WeChat gives the same one once more
    alter(any_redis, refresh_at=0)

    def find_it_bad() -> None:
        timed.arm(path=PHONE_NUMBER, errcode=40001)
        with pytest.raises(CallRejected):
            exchange(tokens, client.within(Deadline.after(0.7)), timed)

    assert token_of(tokens, Client(timed.url, meanwhile=find_it_bad)) == bad
    assert token_of(tokens, client) != bad


def test_wechat_is_forced_no_more_often_than_it_allows(timed: Sandbox, clock: Clock, any_redis: Redis) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)
    timed.arm(path=PHONE_NUMBER, errcode=40014)
    exchange(tokens, client, timed)
    calls_before = len(timed.answers(STABLE))
    timed.arm(path=PHONE_NUMBER, errcode=40014)

    is_mended = [attempt(tokens, client, timed)]
    let_pass(any_redis, 30, clock=clock)
    is_mended.append(attempt(tokens, client, timed))
    calls_without_force = len(timed.answers(STABLE)) - calls_before
    let_pass(any_redis, 6, clock=clock)
    is_mended.append(attempt(tokens, client, timed))

    assert is_mended == [False, False, True]
    assert calls_without_force == 2


def test_wechat_is_forced_twenty_times_a_day(timed: Sandbox, clock: Clock, any_redis: Redis) -> None:
    tokens, client = tokens_in(any_redis), Client(timed.url)

    is_mended = []
    for _ in range(21):
        timed.arm(path=PHONE_NUMBER, errcode=40014)
        is_mended.append(attempt(tokens, client, timed))
        let_pass(any_redis, 40, clock=clock)
    let_pass(any_redis, 24 * 3600 - 21 * 40, clock=clock)
    timed.arm(path=PHONE_NUMBER, errcode=40014)
    is_mended.append(attempt(tokens, client, timed))

    assert is_mended == [True] * 20 + [False, True]


def test_that_it_may_not_be_forced_is_told_to_who_comes_within_a_second(
    tokens: AccessTokens, client: Client, sandbox: Sandbox
) -> None:
    sandbox.arm(path=PHONE_NUMBER, errcode=40014)
    attempt(tokens, client, sandbox)
    sandbox.arm(path=PHONE_NUMBER, errcode=40014)

    said = []
    for _ in range(3):
        with pytest.raises(BadAccessToken) as refusal:
            exchange(tokens, client, sandbox)
        said.append((refusal.value.errcode, refusal.value.rid))

    assert said == [said[0]] * 3
    assert said[0][0] == 40014
    assert said[0][1]
    assert sandbox.answers(PHONE_NUMBER) == [40014, 0, 40014]
    assert len(sandbox.answers(STABLE)) == 4


def test_if_force_brings_the_bad_one_again_that_is_told(
    client: Client, sandbox: Sandbox, one_redis: Redis
) -> None:
    sandbox.arm(path=STABLE, body='{"access_token":"61_the-same","expires_in":7200}', times=10)

    assert not attempt(tokens_in(one_redis), client, sandbox)
    assert len(sandbox.answers(PHONE_NUMBER)) == 1
    assert len(sandbox.answers(STABLE)) == 3


def test_after_a_minute_a_bad_one_is_tried_again(timed: Sandbox, clock: Clock, any_redis: Redis) -> None:
    """WeChat may have been wrong about it, and by then have used up what it allows in a day."""
    tokens, client = tokens_in(any_redis), Client(timed.url)
    bad = token_of(tokens, client)
    alter(any_redis, forced=b" ".join([b"%d" % now_ms(any_redis)] * 20))
    timed.arm(path=PHONE_NUMBER, errcode=40001)
    attempt(tokens, client, timed)

    let_pass(any_redis, 58)
    is_tried = [attempt(tokens, client, timed)]
    let_pass(any_redis, 3)
    is_tried.append(attempt(tokens, client, timed))

    assert is_tried == [False, True]
    assert token_of(tokens, client) == bad


def test_the_older_endpoint_is_asked_again_no_more_often_than_force_is_allowed(
    client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    """It gives another token each time, and voids the one before."""
    tokens = tokens_in(any_redis, api="token")
    token_of(tokens, client)
    sandbox.end_tokens(void=True)
    exchange(tokens, client, sandbox)
    sandbox.end_tokens(void=True)

    is_mended = [attempt(tokens, client, sandbox)]
    calls_without_force = len(sandbox.answers(OLDER))
    let_pass(any_redis, 36)
    is_mended.append(attempt(tokens, client, sandbox))

    assert is_mended == [False, True]
    assert (calls_without_force, len(sandbox.answers(OLDER))) == (2, 3)


def attempt(tokens: AccessTokens, client: WeChatClient, sandbox: Sandbox) -> bool:
    """Say whether an exchange succeeds or is refused for its token."""
    with contextlib.suppress(BadAccessToken):
        return bool(exchange(tokens, client, sandbox))
    return False


# what is not ours


def flipped(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


@pytest.mark.parametrize("spoil", [flipped, bytes.upper, lambda sealed: sealed[:5], lambda _: b"61_in-clear"])
def test_a_token_that_was_tampered_with_is_none(
    tokens: AccessTokens,
    client: Client,
    sandbox: Sandbox,
    any_redis: Redis,
    spoil: Callable[[bytes], bytes],
) -> None:
    token = token_of(tokens, client)
    alter(any_redis, token=spoil(stored_in(any_redis)[b"token"]))

    assert token_of(tokens, client) == token
    assert sandbox.answers(STABLE) == [0, 0]


def test_a_token_that_was_tampered_with_does_not_serve_on(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    token_of(tokens, client)
    alter(any_redis, token=b"61_in-clear", refresh_at=0)
    sandbox.arm(path=STABLE, errcode=45009)

    with pytest.raises(WeChatAPIError):
        token_of(tokens, client)


def test_a_token_sealed_with_a_foreign_key_is_none(client: Client, sandbox: Sandbox, any_redis: Redis) -> None:
    token_of(tokens_in(any_redis, secret_key="somebody-elses-secret-key-0123456789"), client)

    assert token_of(tokens_in(any_redis), client)
    assert sandbox.answers(STABLE) == [0, 0]


def test_the_token_of_another_app_is_none(one_redis: Redis) -> None:
    tokens = tokens_in(one_redis)

    with sandbox_server(dict.fromkeys([APPID, OTHER_APPID], "sandbox-secret")) as url:
        client, other = Client(url), Client(url, appid=OTHER_APPID)
        token = token_of(tokens, client)
        foreign = token_of(tokens, other)
        alter(one_redis, token=stored_in(one_redis, key=f"wxlogin:token:{OTHER_APPID}")[b"token"])

        assert token_of(tokens, client) == token != foreign


@pytest.mark.parametrize("names", ["expires_at", "refresh_at", "held_until failed_until bad_until"])
@pytest.mark.parametrize("value", ["", "junk", "-1", "1e999", "nan", b"\xff"])
def test_junk_for_a_time_does_no_harm(
    tokens: AccessTokens, client: Client, any_redis: Redis, names: str, value: str | bytes
) -> None:
    token_of(tokens, client)

    alter(any_redis, **dict.fromkeys(names.split(), value))

    assert token_of(tokens, client)


@pytest.mark.parametrize("failed", [b"", b"junk", b"0x10 ", b"40013", b"-1 rid\r\n", b"9" * 30, b"\xff"])
def test_junk_for_a_failure_is_told_as_nothing_sent(
    tokens: AccessTokens, client: Client, any_redis: Redis, failed: bytes
) -> None:
    alter(any_redis, failed=failed, failed_until=now_ms(any_redis) + 900)

    with pytest.raises(CallRejected):
        token_of(tokens, client)


@pytest.mark.parametrize("forced", ["junk", "1 2 3", "-5 x7"])
def test_junk_for_what_was_forced_does_no_harm(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis, forced: str
) -> None:
    token_of(tokens, client)
    alter(any_redis, forced=forced)
    sandbox.arm(path=PHONE_NUMBER, errcode=40014)

    assert exchange(tokens, client, sandbox)


def test_a_key_of_another_type_is_put_right(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis
) -> None:
    any_redis.set(KEY, "somebody's")

    assert token_of(tokens, client) == token_of(tokens, client)
    assert sandbox.answers(STABLE) == [0]


@pytest.mark.parametrize("turn", [lambda redis: redis.set(KEY, "somebody's"), lambda redis: redis.delete(KEY)])
def test_a_key_that_goes_in_the_middle_of_it_does_no_harm(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, any_redis: Redis, turn: Callable[[Redis], object]
) -> None:
    assert token_of(tokens, Client(sandbox.url, meanwhile=lambda: turn(any_redis)))

    assert token_of(tokens, client)


# Redis


def test_without_redis_no_token_is_fetched(client: Client, sandbox: Sandbox) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"

    with connected(nowhere, timeout_seconds=5) as redis, pytest.raises(StoreUnavailable):
        token_of(tokens_in(redis), client)

    assert sandbox.calls() == []


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_if_redis_goes_in_the_middle_of_it_the_token_serves_once(own_redis: RedisServer, sandbox: Sandbox) -> None:
    with connected(own_redis.url, timeout_seconds=5) as redis:
        client = Client(sandbox.url, meanwhile=own_redis.stop)

        assert exchange(tokens_in(redis), client, sandbox)


def test_if_redis_goes_in_the_middle_of_it_a_failure_is_told_all_the_same(
    own_redis: RedisServer, sandbox: Sandbox
) -> None:
    def go() -> None:
        own_redis.stop()
        raise CredentialsRejected(40164)

    with connected(own_redis.url, timeout_seconds=5) as redis, pytest.raises(CredentialsRejected):
        token_of(tokens_in(redis), Client(sandbox.url, meanwhile=go))


@pytest.mark.parametrize("text", ["'wait'", "'token', ARGV[2]", "'forced_by'", "'bad_as', ARGV[3]"])
def test_a_lost_answer_of_redis_changes_nothing(
    the_redis_server: RedisServer, real_redis: Redis, client: Client, sandbox: Sandbox, text: str
) -> None:
    tokens = tokens_in(real_redis)
    sandbox.arm(path=PHONE_NUMBER, errcode=40001)

    with fault_proxy(the_redis_server.port) as proxy, connected(proxy.url, timeout_seconds=5) as redis:
        proxy.drop_reply_of(text)
        assert exchange(tokens_in(redis), client, sandbox)
        assert proxy.dropped_replies == 1

    assert sandbox.answers(STABLE) == [0, 0, 0]
    assert token_of(tokens, client)
    assert sandbox.answers(STABLE) == [0, 0, 0]


def test_a_failure_whose_telling_is_lost_is_told(
    the_redis_server: RedisServer, real_redis: Redis, client: Client, sandbox: Sandbox
) -> None:
    sandbox.arm(path=STABLE, errcode=40164)

    with fault_proxy(the_redis_server.port) as proxy, connected(proxy.url, timeout_seconds=5) as redis:
        proxy.drop_reply_of("'failed', ARGV[2]")
        with pytest.raises(CredentialsRejected):
            token_of(tokens_in(redis), client)
        assert proxy.dropped_replies == 1

    with pytest.raises(CredentialsRejected):
        token_of(tokens_in(real_redis), client)


def test_a_call_costs_one_round_trip_to_redis(
    client: Client, real_redis: Redis, the_redis_server: RedisServer
) -> None:
    tokens = tokens_in(real_redis)
    token_of(tokens, client)

    with monitored(the_redis_server.client()) as commands:
        token_of(tokens, client)

    assert [command.split()[0] for command in commands] == ["EVAL"]


# secrets


def test_redis_is_not_told_the_token(
    tokens: AccessTokens, client: Client, any_redis: Redis, sandbox: Sandbox
) -> None:
    sandbox.arm(path=PHONE_NUMBER, errcode=40001)
    exchange(tokens, client, sandbox)
    token = token_of(tokens, client)

    content = b" ".join([KEY.encode(), *stored_in(any_redis), *stored_in(any_redis).values()])

    assert keys_in(any_redis) == [KEY.encode()]
    assert not any(form in content for form in forms_of(token))


def test_no_token_is_in_a_log_line_or_an_exception(
    tokens: AccessTokens, client: Client, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    used = [token_of(tokens, client)]
    sandbox.arm(path=PHONE_NUMBER, errcode=40001, times=3)
    with pytest.raises(BadAccessToken) as first:
        exchange(tokens, client, sandbox)
    used.append(token_of(tokens, client))
    with pytest.raises(BadAccessToken) as second:
        exchange(tokens, client, sandbox)

    told = "".join([caplog.text, *(repr(error.getrepr(showlocals=False)) for error in (first, second))]).encode()

    assert "does not accept" in caplog.text
    assert len(set(used)) == 2
    assert not any(form in told for token in used for form in forms_of(token))


def forms_of(token: str) -> list[bytes]:
    """Return what a token, or a good part of it, looks like in its usual forms."""
    part = token[3:43]
    return [form.encode() for form in (part, quote(part), b64encode(token.encode()).decode()[8:48])]
