"""`SessionStore.session_keys`: every key that WeChat may have encrypted a user's data with, and no other."""

from __future__ import annotations

import dataclasses
from base64 import b64encode

import pytest
from redis import Redis

from tests.conftest import Clock
from tests.servers import keys_in
from tests.sessions.test_store import IDLE, SOMEBODY, USER, record_of, store_on
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.sessions.store import REPLACED_SECONDS, SessionStore

RETIRED = f"wxlogin:retired:{{wxlogin:user:{hash_of(USER)}}}"


@pytest.fixture
def store(any_redis: Redis, clock: Clock) -> SessionStore:
    return store_on(any_redis, clock)


def key(number: int) -> str:
    return b64encode(bytes([number]) * 16).decode()


def log_in(store: SessionStore, number: int, *, user: User = USER, replaced: SessionId | None = None) -> SessionId:
    record = dataclasses.replace(record_of(user, store), session_key=key(number))
    return store.create(record, replaced=replaced).session_id


def keys_of(store: SessionStore, user: User = USER) -> list[str]:
    return [*store.session_keys(hash_of(user))]


def test_a_user_without_sessions_has_no_keys(store: SessionStore) -> None:
    assert keys_of(store) == []


def test_the_key_of_the_newest_session_comes_first(store: SessionStore, clock: Clock) -> None:
    for number in range(4):
        log_in(store, number)
        clock.advance(1)

    assert keys_of(store) == [key(3), key(2), key(1), key(0)]


def test_a_key_that_several_sessions_have_is_told_once(store: SessionStore, clock: Clock) -> None:
    for number in (1, 2, 1):
        log_in(store, number)
        clock.advance(1)

    assert keys_of(store) == [key(1), key(2)]


def test_the_key_of_a_session_that_a_login_replaced_stays_for_some_time(store: SessionStore, clock: Clock) -> None:
    old = log_in(store, 1)
    clock.advance(1)
    log_in(store, 2, replaced=old)

    assert keys_of(store) == [key(2), key(1)]


def test_of_sessions_that_were_replaced_the_last_one_counts(store: SessionStore, clock: Clock) -> None:
    session_id = log_in(store, 1)
    for number in (2, 3):
        clock.advance(1)
        session_id = log_in(store, number, replaced=session_id)

    assert keys_of(store) == [key(3), key(2)]


def test_a_replaced_session_is_kept_for_as_long_as_a_code_lives(real_redis: Redis, clock: Clock) -> None:
    store = store_on(real_redis, clock)

    log_in(store, 2, replaced=log_in(store, 1))

    assert REPLACED_SECONDS - 5 <= real_redis.ttl(RETIRED) <= REPLACED_SECONDS == 300


def test_a_replaced_session_is_in_no_list(store: SessionStore) -> None:
    new = log_in(store, 2, replaced=log_in(store, 1))

    assert [each.handle for each in store.list(hash_of(USER))] == [new.field]


def test_the_key_of_another_users_session_that_was_replaced_is_not_told(store: SessionStore) -> None:
    theirs = log_in(store, 1, user=SOMEBODY)

    log_in(store, 2, replaced=theirs)

    assert (keys_of(store), keys_of(store, SOMEBODY)) == ([key(2)], [])


def test_the_key_of_a_session_that_was_logged_out_is_not_told(store: SessionStore) -> None:
    log_in(store, 1)
    store.delete(log_in(store, 2))

    assert keys_of(store) == [key(1)]


def test_the_keys_of_expired_sessions_are_not_told(store: SessionStore, clock: Clock) -> None:
    old = log_in(store, 1)
    log_in(store, 2, replaced=old)
    clock.advance(IDLE)

    assert keys_of(store) == []


def test_logging_out_everywhere_leaves_nothing_behind(one_redis: Redis, clock: Clock) -> None:
    """In a Cluster, where each key is written apart, what was replaced goes by itself."""
    store = store_on(one_redis, clock)
    log_in(store, 2, replaced=log_in(store, 1))

    store.delete_all(hash_of(USER))

    assert keys_in(one_redis) == []


def test_logging_out_of_the_last_session_leaves_nothing_behind(one_redis: Redis, clock: Clock) -> None:
    store = store_on(one_redis, clock)

    store.delete(log_in(store, 2, replaced=log_in(store, 1)))

    assert keys_in(one_redis) == []


def test_logging_out_everywhere_leaves_no_key_to_use(store: SessionStore) -> None:
    log_in(store, 2, replaced=log_in(store, 1))

    store.delete_all(hash_of(USER))

    assert store.list(hash_of(USER)) == []


def test_logging_out_of_one_of_two_keeps_the_replaced_key(store: SessionStore, clock: Clock) -> None:
    stays = log_in(store, 2, replaced=log_in(store, 1))
    clock.advance(1)
    store.delete(log_in(store, 3))

    assert stays.field in {each.handle for each in store.list(hash_of(USER))}
    assert keys_of(store) == [key(2), key(1)]


@pytest.mark.parametrize("value", [b"", b"x", b"\0" * 22, b"\xff" * 200])
def test_what_is_not_ours_is_no_key(store: SessionStore, any_redis: Redis, value: bytes) -> None:
    log_in(store, 1)
    any_redis.set(RETIRED, value)

    assert keys_of(store) == [key(1)]


def test_a_replaced_session_cannot_be_moved_to_another_user(store: SessionStore, any_redis: Redis) -> None:
    log_in(store, 2, replaced=log_in(store, 1))
    log_in(store, 3, user=SOMEBODY)
    stolen = any_redis.get(RETIRED)
    assert isinstance(stolen, bytes)

    any_redis.set(f"wxlogin:retired:{{wxlogin:user:{hash_of(SOMEBODY)}}}", stolen)

    assert keys_of(store, SOMEBODY) == [key(3)]


def test_a_key_of_another_type_is_no_session(store: SessionStore, any_redis: Redis) -> None:
    any_redis.set(f"wxlogin:user:{hash_of(USER)}", "not a hash")

    assert keys_of(store) == []
