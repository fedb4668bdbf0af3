"""One code, one exchange: what a code has come to is told to whoever sends it again, and to nobody else."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fakeredis import FakeRedis
from redis import Redis

from tests.conftest import APPID, SECRET_KEY
from tests.servers import RedisServer, connected, gateway_of, keys_in, redis_server, wait_until
from wxlogin.login.code_exchange import CodeClaim, CodeExchangeStore, RedisClock, key_of
from wxlogin.resilience.deadline import Deadline
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.wechat.api.errors import (
    CallRejected,
    CodeUsed,
    ConnectionFailed,
    CredentialsRejected,
    InvalidCode,
    InvalidResponse,
    RateLimited,
    ResponseLost,
    SystemBusy,
    UserBlocked,
    WeChatAPIError,
    WeChatError,
)

CODE = "021ByuFs0fNXie1T5lJs0IwBFs0ByuF1"
SESSION_ID = "bjbujUGk2Zvn2a9J" + "r" * 43
RID = "66c69111-4157f271-729ca238"
FINAL: list[WeChatError] = [InvalidCode(40029, RID), CodeUsed(40163, RID), UserBlocked(40226, RID)]
PASSING: list[WeChatError] = [
    SystemBusy(-1, RID),
    RateLimited(45011, RID),
    CredentialsRejected(40125, RID),
    WeChatAPIError(12345, None),
    ConnectionFailed("NewConnectionError"),
    CallRejected("enough"),
    ResponseLost("ReadTimeout"),
    InvalidResponse("HTTP status 500"),
]

FAILURES: dict[str, type[WeChatError]] = {
    "NotReached": ConnectionFailed,
    "TurnedAway": CallRejected,
    "NoAnswer": ResponseLost,
    "UnusableAnswer": InvalidResponse,
}


def store_on(
    redis: Redis, *, replay_seconds: int = 10, lease_seconds: float = 6, secret_key: str = SECRET_KEY
) -> CodeExchangeStore:
    return CodeExchangeStore(
        redis=gateway_of(redis),
        cipher=RecordCipher([secret_key]),
        replay_seconds=replay_seconds,
        lease_seconds=lease_seconds,
        clock=RedisClock(),
    )


def claim(store: CodeExchangeStore, code: str = CODE) -> CodeClaim:
    return store.claim(code, appid=APPID)


def succeed(redis: Redis, exchange: CodeClaim) -> None:
    """Do what a login does: the script runs along with the one that makes the session."""
    redis.eval(*exchange.outcome_script(SESSION_ID))


def in_redis(redis: Redis) -> object:
    """Return the outcome that another process would read."""
    key, seal = key_of(CODE, appid=APPID), RecordCipher([SECRET_KEY])
    value: Any = redis.get(key)
    return msgspec.msgpack.decode(
        seal.decrypt(value[1:], context=f"{key} {CODE}".encode(), associated_data=b"outcome")
    )


def fail(exchange: CodeClaim, error: Exception) -> None:
    with pytest.raises(type(error)), exchange:
        raise error


def waiting(exchange: CodeClaim, seconds: float = 20) -> Callable[[], str | Exception]:
    """Wait on a thread of its own; the function that this returns joins it and gives what came of it."""
    outcome: list[str | Exception] = []

    def wait() -> None:
        try:
            exchange.wait(Deadline.after(seconds))
            outcome.append(exchange.session_id())
        except (WeChatError, StoreUnavailable) as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()

    def joined() -> str | Exception:
        thread.join()
        return outcome[0]

    return joined


def test_the_first_to_send_a_code_has_it(any_redis: Redis) -> None:
    assert claim(store_on(any_redis)).is_ours


def test_the_second_has_to_wait(any_redis: Redis) -> None:
    store = store_on(any_redis)
    claim(store)

    second = claim(store)

    assert (second.is_ours, second.is_done) == (False, False)


def test_who_waits_gets_the_session(any_redis: Redis) -> None:
    store = store_on(any_redis)
    first = claim(store)
    others = [waiting(claim(store)) for _ in range(3)]

    succeed(any_redis, first)

    assert [joined() for joined in others] == [SESSION_ID] * 3


def test_who_comes_later_gets_the_session_at_once(any_redis: Redis) -> None:
    store = store_on(any_redis)
    succeed(any_redis, claim(store))

    later = claim(store)

    assert (later.is_ours, later.is_done, later.session_id()) == (False, True, SESSION_ID)


def test_the_session_is_told_for_as_long_as_the_operator_says(real_redis: Redis) -> None:
    store = store_on(real_redis, replay_seconds=10)

    succeed(real_redis, claim(store))

    assert 9_000 < real_redis.pttl(key_of(CODE, appid=APPID)) <= 10_000


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_a_final_refusal_is_told_to_who_comes_later(one_redis: Redis, error: WeChatAPIError) -> None:
    store = store_on(one_redis)
    fail(claim(store), error)

    later = claim(store)

    assert not later.is_ours
    with pytest.raises(type(error)) as raised:
        later.session_id()
    assert (raised.value.errcode, raised.value.rid) == (error.errcode, RID)


@pytest.mark.parametrize("error", [*FINAL, *PASSING], ids=lambda error: type(error).__name__)
def test_who_waits_gets_every_failure(one_redis: Redis, error: WeChatError) -> None:
    store = store_on(one_redis)
    first = claim(store)
    joined = waiting(claim(store))

    fail(first, error)

    told = joined()
    assert type(told) is type(error)
    assert getattr(told, "errcode", None) == getattr(error, "errcode", None)


@pytest.mark.parametrize(("name", "kind"), FAILURES.items())
def test_a_failure_has_one_name_in_redis_for_all_versions(
    one_redis: Redis, name: str, kind: type[WeChatError]
) -> None:
    store = store_on(one_redis)

    fail(claim(store), kind("told"))

    assert in_redis(one_redis) == ["", 0, None, name]


@pytest.mark.parametrize(("name", "kind"), [*FAILURES.items(), ("WhatALaterVersionMayAdd", ResponseLost)])
def test_a_failure_that_another_version_wrote_is_understood(
    one_redis: Redis, name: str, kind: type[WeChatError]
) -> None:
    store = store_on(one_redis)
    first = claim(store)
    second = claim(store)
    fail(first, ResponseLost("told"))
    key, sealed = key_of(CODE, appid=APPID), RecordCipher([SECRET_KEY])
    place = f"{key} {CODE}".encode()
    value = sealed.encrypt(msgspec.msgpack.encode(["", 0, None, name]), context=place, associated_data=b"outcome")

    one_redis.set(key, b"f" + value)
    second.wait(Deadline.after(20))

    with pytest.raises(WeChatError) as raised:
        second.session_id()
    assert type(raised.value) is kind


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_after_a_failure_that_passes_the_code_can_be_tried_again(one_redis: Redis, error: WeChatError) -> None:
    store = store_on(one_redis)
    fail(claim(store), error)

    assert claim(store).is_ours


@pytest.mark.parametrize(
    "error", [StoreUnavailable("lost"), ZeroDivisionError()], ids=lambda error: type(error).__name__
)
def test_who_waits_is_told_of_any_other_failure_that_the_code_may_be_spent(
    one_redis: Redis, error: Exception
) -> None:
    store = store_on(one_redis)
    first = claim(store)
    joined = waiting(claim(store))

    fail(first, error)

    assert isinstance(joined(), ResponseLost)


def test_without_replay_who_waits_gets_the_session_all_the_same(any_redis: Redis) -> None:
    store = store_on(any_redis, replay_seconds=0)
    first = claim(store)
    joined = waiting(claim(store))

    succeed(any_redis, first)

    assert joined() == SESSION_ID


@pytest.mark.parametrize("error", [None, *FINAL], ids=str)
def test_without_replay_who_comes_later_asks_wechat(one_redis: Redis, error: WeChatError | None) -> None:
    store = store_on(one_redis, replay_seconds=0)
    first = claim(store)
    if error:
        fail(first, error)
    else:
        succeed(one_redis, first)

    assert claim(store).is_ours


def test_who_waits_in_vain_is_told_that_the_code_may_be_spent(one_redis: Redis) -> None:
    store = store_on(one_redis)
    claim(store)

    with pytest.raises(ResponseLost):
        claim(store).wait(Deadline.after(0.05))


def test_the_claim_of_a_process_that_died_ends(real_redis: Redis) -> None:
    store = store_on(real_redis, lease_seconds=0.2)
    claim(store)
    second = claim(store)

    second.wait(Deadline.after(20))

    with pytest.raises(ResponseLost):
        second.session_id()
    assert claim(store).is_ours


def test_an_exchange_that_took_too_long_settles_nothing(real_redis: Redis) -> None:
    store = store_on(real_redis)
    late = claim(store)
    real_redis.delete(key_of(CODE, appid=APPID))  # as when the lease runs out
    other = claim(store)

    succeed(real_redis, late)

    assert other.is_ours
    assert not claim(store).is_done


@pytest.mark.parametrize(("code", "appid"), [(CODE.lower(), APPID), (CODE, "wx0000000000000000")])
def test_another_code_or_app_is_another_exchange(one_redis: Redis, code: str, appid: str) -> None:
    store = store_on(one_redis)
    claim(store)

    assert store.claim(code, appid=appid).is_ours


def test_of_threads_that_send_a_code_at_once_one_has_it(real_redis: Redis) -> None:
    store = store_on(real_redis)
    all_there = threading.Barrier(20)
    ours: list[bool] = []

    def send() -> None:
        all_there.wait()
        ours.append(claim(store).is_ours)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ours) == [False] * 19 + [True]


def test_an_owner_recognises_its_claim_when_the_answer_to_it_was_lost(one_redis: Redis) -> None:
    """The gateway does it once more: the first time it was done already."""
    exchange = claim(store_on(one_redis))

    exchange.acquire()

    assert exchange.is_ours


def test_what_is_stored_opens_only_with_the_code(real_redis: Redis) -> None:
    store = store_on(real_redis)
    succeed(real_redis, claim(store))
    real_redis.rename(key_of(CODE, appid=APPID), key_of("another-code", appid=APPID))

    moved = claim(store, "another-code")

    with pytest.raises(ResponseLost):
        moved.session_id()


def test_what_is_stored_opens_only_with_our_keys(one_redis: Redis) -> None:
    succeed(one_redis, claim(store_on(one_redis)))

    stolen = claim(store_on(one_redis, secret_key="another-secret-key-0123456789abcdef"))

    with pytest.raises(ResponseLost):
        stolen.session_id()


@pytest.mark.parametrize("value", [b"", b"l", b"x", b"l" + b"\0" * 64, b"\xff" * 9])
def test_what_is_not_ours_is_no_session(one_redis: Redis, value: bytes) -> None:
    one_redis.set(key_of(CODE, appid=APPID), value)

    with pytest.raises(ResponseLost):
        claim(store_on(one_redis)).session_id()


def test_neither_the_code_nor_the_session_is_in_redis(real_redis: Redis) -> None:
    succeed(real_redis, claim(store_on(real_redis)))

    [key] = keys_in(real_redis)
    value = real_redis.get(key)
    assert isinstance(value, bytes)
    stored = key + value

    assert not [secret for secret in (CODE, SESSION_ID, SESSION_ID[16:]) if secret.encode() in stored]


def test_without_a_store_no_code_is_claimed() -> None:
    store = store_on(connected("redis://127.0.0.1:1/0", timeout_seconds=1))

    with pytest.raises(StoreUnavailable):
        claim(store)


def test_a_claim_that_redis_finds_late_comes_to_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It was sent while Redis was frozen, and whoever sent it has long told its client to try again."""
    with redis_server(tmp_path_factory.mktemp("frozen")) as server:
        store = store_on(connected(server.url, timeout_seconds=1))
        claim(store, "some-other-code")
        server.freeze()
        with pytest.raises(StoreUnavailable):
            claim(store)
        thaw_at = time.monotonic() + 1.2
        wait_until(lambda: time.monotonic() > thaw_at, what="time passes for Redis too")
        server.thaw()

        assert claim(store_on(connected(server.url, timeout_seconds=5))).is_ours


@pytest.mark.parametrize("milliseconds", [-3_600_000, 3_600_000])
def test_another_clock_of_redis_does_not_matter(one_redis: Redis, milliseconds: int) -> None:
    """After a failover another machine is asked."""
    store = store_on(one_redis)
    store.clock.set(int(time.time() * 1000) + milliseconds)

    assert claim(store).is_ours


class LongAgo(RedisClock):
    """A clock that no answer sets right: each claim comes late."""

    def now_ms(self) -> int:
        return 0


def test_a_redis_that_stays_late_is_unavailable() -> None:
    store = dataclasses.replace(store_on(FakeRedis()), clock=LongAgo())

    with pytest.raises(StoreUnavailable):
        claim(store)


def test_a_failure_that_cannot_be_told_is_raised_all_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    with redis_server(tmp_path_factory.mktemp("gone")) as server:
        exchange = claim(store_on(server.client()))
        server.stop()

        with pytest.raises(InvalidCode), exchange:
            raise InvalidCode(40029)


def test_who_waits_is_told_when_the_store_goes(tmp_path_factory: pytest.TempPathFactory) -> None:
    server: RedisServer
    with redis_server(tmp_path_factory.mktemp("gone")) as server:
        store = store_on(server.client())
        claim(store)
        joined = waiting(claim(store))
        server.stop()

        assert isinstance(joined(), StoreUnavailable)
