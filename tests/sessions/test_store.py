"""Sessions in Redis: what is written there, who can make use of it, and when it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pickle
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from redis import Redis

from tests.conftest import SECRET_KEY, Clock
from tests.fault_proxy import fault_proxy
from tests.servers import (
    TIMEOUT_SECONDS,
    RedisServer,
    connected,
    free_port,
    gateway_of,
    keys_in,
    monitored,
    redis_server,
    wait_until,
)
from tests.stopwatch import stopwatch
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.sessions.store import (
    Lifetimes,
    ListedSession,
    NotLoggedIn,
    SessionExpired,
    SessionStore,
    StoredSession,
)
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.flask_session import Session

USER = User("wx4f4bc4dec97d474b", "oPlantedOpenidOfTheFirstUser", "oPlantedUnionidOfTheFirstOne")
SOMEBODY = User("wx4f4bc4dec97d474b", "oPlantedOpenidOfTheOtherUser")
SESSION_KEY = b64encode(b"PlantedSecretKey").decode()
IDLE, LONGEST = 1000, 3000
UNKNOWN = SessionId(hash_of(USER), "never-given-out".ljust(43, "-"))


def store_on(
    redis: Redis,
    clock: Callable[[], float],
    *,
    idle: int = IDLE,
    longest: int = LONGEST,
    most_per_user: int = 0,
    secret_keys: Sequence[str] = (SECRET_KEY,),
) -> SessionStore:
    return SessionStore(
        gateway_of(redis),
        RecordCipher(secret_keys),
        lifetimes=Lifetimes(idle=idle, absolute=longest),
        max_per_user=most_per_user,
        clock=clock,
    )


@pytest.fixture
def store(any_redis: Redis, clock: Clock) -> SessionStore:
    return store_on(any_redis, clock)


def record_of(user: User, store: SessionStore, *, user_agent: str = "agent") -> SessionRecord:
    now = store.now()
    return SessionRecord(
        user=user, session_key=SESSION_KEY, created_at=now, last_seen_at=now, user_agent=user_agent
    )


def log_in(store: SessionStore, user: User = USER, *, replaced: SessionId | None = None) -> StoredSession:
    return store.create(record_of(user, store), replaced=replaced)


def seen_now(stored: StoredSession, store: SessionStore) -> SessionRecord:
    return dataclasses.replace(stored.record, last_seen_at=store.now())


def touch(store: SessionStore, session_id: SessionId) -> SessionId:
    """See the session now, and return its id."""
    stored = store.get(session_id)
    assert store.update_if_unchanged(stored, seen_now(stored, store))
    return session_id


def is_logged_in(store: SessionStore, session_id: SessionId) -> bool:
    try:
        return bool(store.get(session_id))
    except NotLoggedIn:
        return False


# creating, reading, changing, ending


def test_what_was_created_is_read(store: SessionStore) -> None:
    created = log_in(store)

    loaded = store.get(created.session_id)

    assert loaded == created
    assert loaded.record.as_dict() == created.record.as_dict()


def test_what_was_never_created_is_not_logged_in(store: SessionStore) -> None:
    with pytest.raises(NotLoggedIn) as caught:
        store.get(UNKNOWN)

    assert caught.type is NotLoggedIn


def test_every_login_makes_a_new_id(store: SessionStore) -> None:
    ids = {log_in(store).session_id for _ in range(10)}

    assert len(ids) == 10
    assert all(is_logged_in(store, session_id) for session_id in ids)


def test_the_session_that_a_login_replaces_ends(store: SessionStore) -> None:
    replaced, untouched = log_in(store), log_in(store)

    new = log_in(store, replaced=replaced.session_id)

    assert new.session_id != replaced.session_id
    assert not is_logged_in(store, replaced.session_id)
    assert is_logged_in(store, untouched.session_id)
    assert is_logged_in(store, new.session_id)


def test_the_session_that_a_login_replaces_ends_if_it_was_another_users_too(store: SessionStore) -> None:
    replaced, untouched = log_in(store, SOMEBODY), log_in(store, SOMEBODY)

    new = log_in(store, replaced=replaced.session_id)

    assert not is_logged_in(store, replaced.session_id)
    assert is_logged_in(store, untouched.session_id)
    assert store.get(new.session_id).record.user == USER


@pytest.mark.parametrize("owner", [USER, SOMEBODY], ids=["of the user", "of another user"])
def test_an_unknown_id_is_replaced_without_an_error_and_never_adopted(store: SessionStore, owner: User) -> None:
    unknown = SessionId.new(owner)

    new = log_in(store, replaced=unknown)

    assert new.session_id != unknown
    assert is_logged_in(store, new.session_id)
    assert not is_logged_in(store, unknown)


def test_what_was_replaced_is_read(store: SessionStore) -> None:
    created = log_in(store)
    changed = dataclasses.replace(created.record, session_key=b64encode(b"the next key").decode())

    assert store.update_if_unchanged(created, changed)

    assert store.get(created.session_id).record == changed


def test_replacing_a_session_that_has_ended_changes_nothing(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    store.delete(created.session_id)

    assert not store.update_if_unchanged(created, seen_now(created, store))

    assert keys_in(any_redis) == []


def test_replacing_a_session_that_has_changed_meanwhile_changes_nothing(store: SessionStore) -> None:
    created = log_in(store)
    first = dataclasses.replace(created.record, user_agent="the first")
    store.update_if_unchanged(created, first)

    assert not store.update_if_unchanged(created, dataclasses.replace(created.record, user_agent="the second"))

    assert store.get(created.session_id).record == first


def test_replacing_a_session_that_has_expired_changes_nothing(
    store: SessionStore, any_redis: Redis, clock: Clock
) -> None:
    created = log_in(store)
    clock.advance(IDLE)

    assert not store.update_if_unchanged(created, seen_now(created, store))

    assert any_redis.hget(created.session_id.key, created.session_id.field) == created.value


def test_a_session_that_was_ended_is_over(store: SessionStore) -> None:
    ended, untouched = log_in(store), log_in(store)

    assert store.delete(ended.session_id)

    with pytest.raises(NotLoggedIn) as caught:
        store.get(ended.session_id)
    assert caught.type is NotLoggedIn
    assert is_logged_in(store, untouched.session_id)


def test_a_session_is_ended_once(store: SessionStore) -> None:
    created = log_in(store)

    assert [store.delete(created.session_id), store.delete(created.session_id)] == [True, False]


def test_a_renewed_session_goes_on_under_another_id(store: SessionStore) -> None:
    created, untouched = log_in(store), log_in(store)

    renewed = store.rotate_id(created)

    assert renewed.session_id != created.session_id
    assert not is_logged_in(store, created.session_id)
    assert store.get(renewed.session_id) == renewed
    assert renewed.record == created.record
    assert is_logged_in(store, untouched.session_id)


def test_a_renewed_session_keeps_its_expiry_and_when_it_was_made(store: SessionStore, clock: Clock) -> None:
    created = log_in(store)
    clock.advance(100)

    renewed = store.rotate_id(created)

    assert renewed.value[:10] == created.value[:10]


def test_a_session_that_has_changed_meanwhile_is_renewed(store: SessionStore) -> None:
    created = log_in(store)
    store.update_if_unchanged(created, dataclasses.replace(created.record, user_agent="meanwhile"))

    assert is_logged_in(store, store.rotate_id(created).session_id)


def test_a_session_that_has_ended_meanwhile_is_not_renewed(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    store.delete_all(hash_of(USER))

    with pytest.raises(NotLoggedIn):
        store.rotate_id(created)

    assert keys_in(any_redis) == []


# the list of a user's sessions


def handles(store: SessionStore, user: User = USER) -> list[str]:
    return [each.handle for each in store.list(hash_of(user))]


def test_a_list_has_what_is_known_of_each_session(store: SessionStore) -> None:
    created = log_in(store)

    assert store.list(hash_of(USER)) == [
        ListedSession(created.session_id.field, created.record, store.now() + IDLE)
    ]


def test_a_list_has_the_newest_session_first_whenever_it_was_seen(store: SessionStore, clock: Clock) -> None:
    created = []
    for _ in range(5):
        created.append(log_in(store).session_id)
        clock.advance(0.5)
    clock.advance(100)
    touch(store, created[0])

    assert handles(store) == [session_id.field for session_id in reversed(created)]


def test_a_list_has_no_sessions_of_others(store: SessionStore) -> None:
    log_in(store, SOMEBODY)
    own = log_in(store)

    assert handles(store) == [own.session_id.field]


def test_who_has_no_session_has_an_empty_list(store: SessionStore) -> None:
    log_in(store, SOMEBODY)

    assert store.list(hash_of(USER)) == []


def test_a_list_leaves_out_what_has_expired(store: SessionStore, clock: Clock) -> None:
    log_in(store)
    clock.advance(1)
    later = log_in(store)
    clock.advance(IDLE - 1)

    assert handles(store) == [later.session_id.field]


def test_a_list_tells_of_the_end_that_shorter_settings_bring(
    store: SessionStore, any_redis: Redis, clock: Clock
) -> None:
    log_in(store)

    [listed] = store_on(any_redis, clock, idle=100).list(hash_of(USER))

    assert listed.expires_at == store.now() + 100


def test_a_list_tells_of_no_later_end_than_redis_was_told(
    store: SessionStore, any_redis: Redis, clock: Clock
) -> None:
    log_in(store)

    [listed] = store_on(any_redis, clock, idle=2 * IDLE).list(hash_of(USER))

    assert listed.expires_at == store.now() + IDLE


# ending one by its handle, ending all


def test_a_session_that_was_ended_by_its_handle_is_over_and_no_other(store: SessionStore) -> None:
    ended, untouched = log_in(store).session_id, log_in(store).session_id

    assert store.delete_by_handle(hash_of(USER), ended.field)

    assert not is_logged_in(store, ended)
    assert is_logged_in(store, untouched)


def test_a_session_is_ended_by_its_handle_once(store: SessionStore) -> None:
    handle = log_in(store).session_id.field

    assert [store.delete_by_handle(hash_of(USER), handle) for _ in range(2)] == [True, False]


def test_a_handle_ends_nothing_in_another_users_name(store: SessionStore) -> None:
    created = log_in(store).session_id

    assert not store.delete_by_handle(hash_of(SOMEBODY), created.field)

    assert is_logged_in(store, created)


NO_HANDLES = {
    "nothing": "",
    "a wildcard": "*",
    "too short": "A" * 21,
    "too long": "A" * 23,
    "with a newline": "A" * 22 + "\n",
    "with a blank": "A" * 21 + " ",
    "not ASCII": "é" * 22,
    "an id": UNKNOWN.text,
    "a null": "\0" * 22,
}


@pytest.mark.parametrize("handle", NO_HANDLES.values(), ids=NO_HANDLES.keys())
def test_what_can_not_be_a_handle_ends_nothing_and_is_not_told_to_redis(
    the_redis_server: RedisServer, warm: SessionStore, handle: str
) -> None:
    created = log_in(warm)

    with watching(the_redis_server) as commands:
        assert not warm.delete_by_handle(hash_of(USER), handle)

    assert commands == []
    assert is_logged_in(warm, created.session_id)


def test_all_sessions_of_a_user_end_and_no_others(store: SessionStore, any_redis: Redis) -> None:
    ended = [log_in(store).session_id for _ in range(3)]
    untouched = log_in(store, SOMEBODY).session_id

    assert store.delete_all(hash_of(USER)) == 3

    assert not any(is_logged_in(store, session_id) for session_id in ended)
    assert is_logged_in(store, untouched)
    assert keys_in(any_redis) == [untouched.key.encode()]


def test_all_sessions_end_once(store: SessionStore) -> None:
    log_in(store)

    assert [store.delete_all(hash_of(USER)) for _ in range(2)] == [1, 0]


def test_all_sessions_but_one_end(store: SessionStore) -> None:
    first, spared, last = (log_in(store).session_id for _ in range(3))

    assert store.delete_all(hash_of(USER), except_handle=spared.field) == 2

    assert [is_logged_in(store, each) for each in (first, spared, last)] == [False, True, False]


def test_if_the_one_that_stays_has_ended_all_end(store: SessionStore, any_redis: Redis) -> None:
    log_in(store)
    ended = log_in(store).session_id
    store.delete(ended)

    assert store.delete_all(hash_of(USER), except_handle=ended.field) == 1

    assert keys_in(any_redis) == []


def test_after_all_others_end_the_key_lives_as_long_as_the_one_that_stays(any_redis: Redis, clock: Clock) -> None:
    log_in(store_on(any_redis, clock, idle=2000))
    store = store_on(any_redis, clock, idle=500)
    spared = log_in(store).session_id

    store.delete_all(hash_of(USER), except_handle=spared.field)

    assert any_redis.expiretime(spared.key) == store.now() + 500


def test_what_has_expired_is_ended_but_not_counted(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store).session_id
    any_redis.hset(created.key, "expired", b"\0" * 10 + b"sealed")

    assert store.delete_all(hash_of(USER)) == 1

    assert keys_in(any_redis) == []


# the most that a user may have


def log_in_often(store: SessionStore, clock: Clock, times: int) -> list[SessionId]:
    """Log in as often, a millisecond or two after one another."""
    created = []
    for _ in range(times):
        created.append(log_in(store).session_id)
        clock.advance(0.002)
    return created


def test_more_sessions_than_a_user_may_have_end_the_oldest(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=3)

    created = log_in_often(store, clock, 5)

    assert [is_logged_in(store, each) for each in created] == [False, False, True, True, True]


def test_the_oldest_is_the_one_made_first_whenever_it_was_seen(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=2)
    oldest, other = log_in_often(store, clock, 2)
    clock.advance(100)
    touch(store, oldest)

    log_in(store)

    assert [is_logged_in(store, each) for each in (oldest, other)] == [False, True]


def test_a_renewed_session_is_as_old_as_before(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=2)
    oldest, other = log_in_often(store, clock, 2)
    renewed = store.rotate_id(store.get(oldest)).session_id

    log_in(store)

    assert [is_logged_in(store, each) for each in (renewed, other)] == [False, True]


def test_a_login_never_ends_itself_even_if_its_clock_is_behind(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=2)
    first, second = log_in_often(store, clock, 2)
    clock.advance(-100)

    new = log_in(store).session_id

    assert [is_logged_in(store, each) for each in (first, second, new)] == [False, True, True]


def test_a_user_with_no_limit_has_any_number_of_sessions(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=0)

    created = log_in_often(store, clock, 30)

    assert all(is_logged_in(store, each) for each in created)


def test_the_sessions_of_others_do_not_count(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=1)
    somebodys = log_in(store, SOMEBODY).session_id

    log_in(store)

    assert is_logged_in(store, somebodys)


def test_what_has_expired_does_not_count(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=2)
    first = log_in(store).session_id
    for number in range(3):
        any_redis.hset(first.key, f"expired {number}", b"\0\0\0\0" + b"\xff" * 6 + b"sealed")

    second = log_in(store).session_id

    assert [is_logged_in(store, each) for each in (first, second)] == [True, True]


def test_the_session_that_a_login_replaces_does_not_count(any_redis: Redis, clock: Clock) -> None:
    store = store_on(any_redis, clock, most_per_user=2)
    oldest, replaced = log_in_often(store, clock, 2)

    new = store.create(record_of(USER, store), replaced=replaced).session_id

    assert [is_logged_in(store, each) for each in (oldest, replaced, new)] == [True, False, True]


def test_a_lower_limit_applies_with_the_next_login(any_redis: Redis, clock: Clock) -> None:
    created = log_in_often(store_on(any_redis, clock), clock, 5)
    store = store_on(any_redis, clock, most_per_user=2)

    new = log_in(store).session_id

    assert [is_logged_in(store, each) for each in (*created, new)] == [False] * 4 + [True] * 2


def test_a_login_that_ends_the_longest_session_by_its_limit_shortens_the_life_of_the_key(
    any_redis: Redis, clock: Clock
) -> None:
    log_in(store_on(any_redis, clock, idle=2000))

    new = log_in(store_on(any_redis, clock, idle=500, most_per_user=1))

    assert any_redis.expiretime(new.session_id.key) == int(clock()) + 500


# rotating the secret keys

OLD, NEW = "an-older-secret-key-0123456789abcdef", "a-newer-secret-key-0123456789abcdefg"


def test_what_an_older_key_sealed_is_read_and_listed(any_redis: Redis, clock: Clock) -> None:
    created = log_in(store_on(any_redis, clock, secret_keys=[OLD]))

    store = store_on(any_redis, clock, secret_keys=[NEW, OLD])

    assert store.get(created.session_id) == created
    assert handles(store) == [created.session_id.field]


RESEAL: dict[str, Callable[[SessionStore, StoredSession], SessionId]] = {
    "touched": lambda store, stored: touch(store, stored.session_id),
    "renewed": lambda store, stored: store.rotate_id(stored).session_id,
}


@pytest.mark.parametrize("reseal", RESEAL.values(), ids=RESEAL.keys())
def test_what_an_older_key_sealed_is_resealed_under_the_newest_when_it_is_written(
    any_redis: Redis, clock: Clock, reseal: Callable[[SessionStore, StoredSession], SessionId]
) -> None:
    created = log_in(store_on(any_redis, clock, secret_keys=[OLD]))

    session_id = reseal(store_on(any_redis, clock, secret_keys=[NEW, OLD]), created)

    assert is_logged_in(store_on(any_redis, clock, secret_keys=[NEW]), session_id)
    assert not is_logged_in(store_on(any_redis, clock, secret_keys=[OLD]), session_id)


def test_a_login_is_sealed_under_the_newest_key(any_redis: Redis, clock: Clock) -> None:
    created = log_in(store_on(any_redis, clock, secret_keys=[NEW, OLD]))

    assert is_logged_in(store_on(any_redis, clock, secret_keys=[NEW]), created.session_id)


def test_without_the_key_that_sealed_it_a_record_is_nobodys(any_redis: Redis, clock: Clock) -> None:
    created = log_in(store_on(any_redis, clock, secret_keys=[OLD]))
    store_on(any_redis, clock, secret_keys=[NEW, OLD]).get(created.session_id)

    store = store_on(any_redis, clock, secret_keys=[NEW])

    assert not is_logged_in(store, created.session_id)
    assert handles(store) == []


# what stands in Redis


def test_a_session_is_a_field_of_its_users_hash(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)

    key = f"wxlogin:user:{hash_of(USER)}"
    assert keys_in(any_redis) == [key.encode()]
    assert any_redis.type(key) == b"hash"
    assert any_redis.hgetall(key) == {created.session_id.field.encode(): created.value}


def test_a_users_sessions_share_a_key_and_users_do_not(store: SessionStore, any_redis: Redis) -> None:
    ids = [log_in(store).session_id, log_in(store).session_id, log_in(store, SOMEBODY).session_id]

    assert [any_redis.hlen(session_id.key) for session_id in ids] == [2, 2, 1]
    assert len(keys_in(any_redis)) == 2


def test_a_value_starts_with_the_second_in_which_it_expires(store: SessionStore) -> None:
    created = log_in(store)

    assert int.from_bytes(created.value[:4], "big") == store.now() + IDLE


def test_after_its_expiry_a_value_has_the_millisecond_in_which_it_was_made(
    store: SessionStore, clock: Clock
) -> None:
    start = store.now()
    clock.advance(0.5)

    created = log_in(store)

    assert int.from_bytes(created.value[4:10], "big") == start * 1000 + 500


def test_a_change_moves_the_expiry_and_keeps_when_a_session_was_made(store: SessionStore, clock: Clock) -> None:
    created = log_in(store)
    clock.advance(100)

    touch(store, created.session_id)

    value = store.get(created.session_id).value
    assert int.from_bytes(value[:4], "big") == store.now() + IDLE
    assert value[4:10] == created.value[4:10]


def test_the_key_expires_with_the_last_of_its_sessions(
    store: SessionStore, any_redis: Redis, clock: Clock
) -> None:
    start = store.now()
    first = log_in(store).session_id
    assert any_redis.expiretime(first.key) == start + IDLE

    clock.advance(100)
    second = log_in(store)
    assert any_redis.expiretime(first.key) == start + 100 + IDLE

    clock.advance(100)
    store.update_if_unchanged(second, seen_now(second, store))
    assert any_redis.expiretime(first.key) == start + 200 + IDLE

    store.delete(second.session_id)
    assert any_redis.expiretime(first.key) == start + IDLE


def test_a_login_that_ends_the_longest_session_shortens_the_life_of_the_key(
    any_redis: Redis, clock: Clock
) -> None:
    long = log_in(store_on(any_redis, clock, idle=2000)).session_id

    log_in(store_on(any_redis, clock, idle=500), replaced=long)

    assert any_redis.expiretime(long.key) == int(clock()) + 500


Write = Callable[[SessionStore, StoredSession], object]

WRITES: dict[str, Write] = {
    "create": lambda store, _: log_in(store),
    "replace": lambda store, stored: store.update_if_unchanged(stored, stored.record),
    "renew": lambda store, stored: store.rotate_id(stored),
    "delete": lambda store, stored: store.delete(stored.session_id),
    "delete one": lambda store, stored: store.delete_by_handle(hash_of(USER), stored.session_id.field),
    "create in place of another user's": lambda store, stored: log_in(store, SOMEBODY, replaced=stored.session_id),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_write_prunes_what_has_expired(store: SessionStore, any_redis: Redis, write: Write) -> None:
    created, untouched = log_in(store), log_in(store)
    key = created.session_id.key
    a_second_ago = int(time.time()) - 1
    any_redis.hset(key, "expired", a_second_ago.to_bytes(4, "big") + b"sealed")
    any_redis.hset(key, "long expired", b"\0\0\0\0")
    any_redis.hset(key, "too short", b"\xff" * 9)
    any_redis.hset(key, "empty", b"")

    write(store, created)

    fields = set(any_redis.hkeys(key))
    assert not fields & {b"expired", b"long expired", b"too short", b"empty"}
    assert untouched.session_id.field.encode() in fields


ENDINGS: dict[str, Write] = {
    **{name: WRITES[name] for name in ("delete", "delete one", "create in place of another user's")},
    "delete all": lambda store, _: store.delete_all(hash_of(USER)),
    "delete all but an unknown one": lambda store, _: store.delete_all(hash_of(USER), except_handle=UNKNOWN.field),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_key_goes_with_the_last_session(store: SessionStore, any_redis: Redis, end: Write) -> None:
    created = log_in(store)

    end(store, created)

    assert not any_redis.exists(created.session_id.key)


def test_what_has_expired_does_not_keep_the_key(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    any_redis.hset(created.session_id.key, "expired", b"\0\0\0\0")

    store.delete(created.session_id)

    assert keys_in(any_redis) == []


def test_a_session_that_is_over_before_it_is_written_leaves_nothing(any_redis: Redis, clock: Clock) -> None:
    clock.advance(-IDLE - 10)

    log_in(store_on(any_redis, clock))

    assert keys_in(any_redis) == []


@pytest.mark.parametrize("seconds", [2**32, 10**12])
def test_a_life_beyond_the_end_of_four_bytes_ends_there(any_redis: Redis, clock: Clock, seconds: int) -> None:
    store = store_on(any_redis, clock, idle=seconds, longest=seconds)

    created = log_in(store)

    assert any_redis.expiretime(created.session_id.key) == 2**32 - 1
    assert is_logged_in(store, created.session_id)


# the two clocks


def test_a_session_ends_when_it_was_not_seen_for_long(store: SessionStore, clock: Clock) -> None:
    created = log_in(store)

    clock.advance(IDLE - 1)
    assert is_logged_in(store, created.session_id)

    clock.advance(1)
    with pytest.raises(SessionExpired):
        store.get(created.session_id)


def test_a_session_that_is_seen_all_the_time_ends_when_it_is_old(store: SessionStore, clock: Clock) -> None:
    created = log_in(store)
    for _ in range(LONGEST // 500 - 1):
        clock.advance(500)
        stored = store.get(created.session_id)
        assert store.update_if_unchanged(stored, seen_now(stored, store))

    clock.advance(499)
    assert is_logged_in(store, created.session_id)

    clock.advance(1)
    with pytest.raises(SessionExpired):
        store.get(created.session_id)


def test_redis_is_told_of_the_nearer_of_the_two_ends(store: SessionStore, any_redis: Redis, clock: Clock) -> None:
    start = store.now()
    created = log_in(store)
    for _ in range(3):
        clock.advance(LONGEST // 3 - 10)
        touch(store, created.session_id)

    assert any_redis.expiretime(created.session_id.key) == start + LONGEST


@pytest.mark.parametrize(("idle", "longest"), [(100, LONGEST), (IDLE, 100)])
def test_shorter_settings_apply_at_once(
    store: SessionStore, any_redis: Redis, clock: Clock, idle: int, longest: int
) -> None:
    created = log_in(store)
    clock.advance(100)

    with pytest.raises(SessionExpired):
        store_on(any_redis, clock, idle=idle, longest=longest).get(created.session_id)


def test_longer_settings_do_not_bring_back_what_has_expired(
    store: SessionStore, any_redis: Redis, clock: Clock
) -> None:
    created = log_in(store)
    clock.advance(IDLE)

    with pytest.raises(SessionExpired):
        store_on(any_redis, clock, idle=10 * IDLE, longest=10 * LONGEST).get(created.session_id)


# records that are not ours

Alter = Callable[[bytes], bytes]

UNSEALED = SessionRecord(user=USER, session_key=SESSION_KEY, created_at=2**31, last_seen_at=2**31)

ALTERATIONS: dict[str, Alter] = {
    "empty": lambda _: b"",
    "the expiry alone": lambda value: value[:4],
    "the head alone": lambda value: value[:10],
    "a longer life": lambda value: (2**32 - 1).to_bytes(4, "big") + value[4:],
    "a shorter life": lambda value: (int.from_bytes(value[:4], "big") - 1).to_bytes(4, "big") + value[4:],
    "made earlier": lambda value: value[:4] + b"\0" * 6 + value[10:],
    "made later": lambda value: value[:4] + b"\xff" * 6 + value[10:],
    "no expiry": lambda value: value[4:],
    "no head": lambda value: value[10:],
    "twice": lambda value: value * 2,
    "something added": lambda value: value + b"\0",
    "a pickle": lambda _: pickle.dumps({"openid": USER.openid}),
    "a pickle after the head": lambda value: value[:10] + pickle.dumps({"openid": USER.openid}),
    "unsealed": lambda value: value[:10] + UNSEALED.encode(),
    "JSON": lambda _: b"[]",
    "a number": lambda _: b"12",
    "garbage": lambda _: b"\xff\xfe",
    "garbage of the same length": lambda value: b"\xff" * len(value),
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_an_altered_record_is_nobodys(store: SessionStore, any_redis: Redis, alter: Alter) -> None:
    created = log_in(store)
    any_redis.hset(created.session_id.key, created.session_id.field, alter(created.value))

    with pytest.raises(NotLoggedIn) as caught:
        store.get(created.session_id)

    assert caught.type is NotLoggedIn


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_a_list_leaves_out_an_altered_record(store: SessionStore, any_redis: Redis, alter: Alter) -> None:
    altered, untouched = log_in(store), log_in(store)
    any_redis.hset(altered.session_id.key, altered.session_id.field, alter(altered.value))

    assert handles(store) == [untouched.session_id.field]


@pytest.mark.parametrize("field", [b"", b"\xff\xfe", b"handle", UNKNOWN.field.encode()])
def test_a_list_leaves_out_a_record_that_was_copied_to_another_field(
    store: SessionStore, any_redis: Redis, field: bytes
) -> None:
    created = log_in(store)
    any_redis.hset(created.session_id.key, field, created.value)

    assert handles(store) == [created.session_id.field]


def test_a_list_leaves_out_a_record_that_was_copied_from_another_user(
    store: SessionStore, any_redis: Redis
) -> None:
    somebodys = log_in(store, SOMEBODY)
    any_redis.hset(f"wxlogin:user:{hash_of(USER)}", somebodys.session_id.field, somebodys.value)

    assert handles(store) == []


def test_a_record_with_any_bit_of_its_head_flipped_is_not_ours(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    session_id, rest = created.session_id, created.value[10:]
    head = int.from_bytes(created.value[:10], "big")

    def reason(bit: int) -> type[Exception]:
        any_redis.hset(session_id.key, session_id.field, (head ^ 1 << bit).to_bytes(10, "big") + rest)
        with pytest.raises(NotLoggedIn) as caught:
            store.get(session_id)
        return caught.type

    assert {reason(bit) for bit in range(80)} == {NotLoggedIn}


def test_a_record_with_any_bit_flipped_is_nobodys(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    size, as_number = len(created.value), int.from_bytes(created.value, "big")

    def survives(bit: int) -> bool:
        any_redis.hset(
            created.session_id.key, created.session_id.field, (as_number ^ 1 << bit).to_bytes(size, "big")
        )
        return is_logged_in(store, created.session_id)

    assert [bit for bit in range(8 * size) if survives(bit)] == []


def test_a_truncated_record_is_nobodys(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)

    def survives(length: int) -> bool:
        any_redis.hset(created.session_id.key, created.session_id.field, created.value[:length])
        return is_logged_in(store, created.session_id)

    assert [length for length in range(len(created.value)) if survives(length)] == []


@pytest.mark.parametrize("owner", [USER, SOMEBODY], ids=["of the user", "of another user"])
def test_a_record_moved_to_another_session_is_nobodys(store: SessionStore, any_redis: Redis, owner: User) -> None:
    moved, victim = log_in(store), log_in(store, owner)

    any_redis.hset(victim.session_id.key, victim.session_id.field, moved.value)

    assert not is_logged_in(store, victim.session_id)


def test_a_record_moved_to_the_same_field_of_another_user_is_not_his(
    store: SessionStore, any_redis: Redis
) -> None:
    moved = log_in(store)
    elsewhere = SessionId(hash_of(SOMEBODY), moved.session_id.random)

    any_redis.hset(elsewhere.key, elsewhere.field, moved.value)

    assert not is_logged_in(store, elsewhere)


MAKE_WRONG_TYPE: dict[str, Callable[[Redis, str], object]] = {
    "string": lambda redis, key: redis.set(key, "planted"),
    "list": lambda redis, key: redis.lpush(key, "planted"),
    "set": lambda redis, key: redis.sadd(key, "planted"),
    "sorted set": lambda redis, key: redis.zadd(key, {"planted": 1}),
}
with_a_wrong_type = pytest.mark.parametrize("make", MAKE_WRONG_TYPE.values(), ids=MAKE_WRONG_TYPE.keys())


@with_a_wrong_type
def test_a_key_of_a_wrong_type_is_nobodys(
    store: SessionStore, any_redis: Redis, make: Callable[[Redis, str], object]
) -> None:
    created = log_in(store)
    any_redis.delete(created.session_id.key)
    make(any_redis, created.session_id.key)

    with pytest.raises(NotLoggedIn):
        store.get(created.session_id)

    with pytest.raises(NotLoggedIn):
        store.rotate_id(created)
    assert store.list(hash_of(USER)) == []
    assert not store.update_if_unchanged(created, created.record)
    assert not store.delete(created.session_id)
    assert not store.delete_by_handle(hash_of(USER), created.session_id.field)
    assert store.delete_all(hash_of(USER)) == 0


@with_a_wrong_type
def test_the_next_login_repairs_a_key_of_a_wrong_type(
    store: SessionStore, any_redis: Redis, make: Callable[[Redis, str], object]
) -> None:
    make(any_redis, UNKNOWN.key)

    created = log_in(store, replaced=UNKNOWN)

    assert is_logged_in(store, created.session_id)


@with_a_wrong_type
def test_a_login_succeeds_although_the_session_it_replaces_is_of_a_wrong_type(
    store: SessionStore, any_redis: Redis, make: Callable[[Redis, str], object]
) -> None:
    make(any_redis, UNKNOWN.key)

    created = log_in(store, SOMEBODY, replaced=UNKNOWN)

    assert is_logged_in(store, created.session_id)


def test_a_login_that_redis_refuses_makes_the_store_unavailable(real_redis: Redis, clock: Clock) -> None:
    store = store_on(real_redis, clock)
    real_redis.config_set("min-replicas-to-write", 1)

    try:
        with pytest.raises(StoreUnavailable):
            log_in(store)
    finally:
        real_redis.config_set("min-replicas-to-write", 0)


def test_a_check_that_redis_refuses_makes_the_store_unavailable_and_logs_nobody_out(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    created = log_in(store_on(real_redis, clock))
    real_redis.acl_setuser("ann", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hget"])
    url = f"redis://ann:any@127.0.0.1:{the_redis_server.port}/0"

    try:
        with (
            connected(url, timeout_seconds=1) as redis,
            pytest.raises(StoreUnavailable),
        ):
            store_on(redis, clock).get(created.session_id)
    finally:
        real_redis.acl_deluser("ann")


def test_a_warning_says_that_a_record_is_not_ours_and_nothing_of_what_it_is(
    store: SessionStore, any_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    created = log_in(store)
    any_redis.hset(created.session_id.key, created.session_id.field, "planted")
    caplog.set_level(logging.DEBUG)

    with pytest.raises(NotLoggedIn):
        store.get(created.session_id)

    assert [(entry.name, entry.levelname) for entry in caplog.records] == [("wxlogin.sessions.store", "WARNING")]
    assert not re_quotes(caplog.text, created.session_id)


def test_a_warning_says_that_a_listed_record_is_not_ours_and_nothing_of_what_it_is(
    store: SessionStore, any_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    altered, untouched = log_in(store).session_id, log_in(store).session_id
    any_redis.hset(altered.key, altered.field, "planted")
    caplog.set_level(logging.DEBUG)

    assert handles(store) == [untouched.field]

    assert [(entry.name, entry.levelname) for entry in caplog.records] == [("wxlogin.sessions.store", "WARNING")]
    assert not re_quotes(caplog.text, altered)


@with_a_wrong_type
def test_a_warning_says_that_a_key_is_not_ours_and_nothing_of_what_it_is(
    store: SessionStore,
    any_redis: Redis,
    make: Callable[[Redis, str], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(any_redis, UNKNOWN.key)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(NotLoggedIn):
        store.get(UNKNOWN)

    assert [(entry.name, entry.levelname) for entry in caplog.records] == [("wxlogin.sessions.store", "WARNING")]
    assert not re_quotes(caplog.text, UNKNOWN)


def re_quotes(log: str, session_id: SessionId) -> list[str]:
    """Return what of it the log should not quote, and does."""
    secrets = ["planted", SESSION_KEY, USER.openid, session_id.text, session_id.random]
    return [secret for secret in secrets if secret in log]


# what somebody who reads Redis gets


def test_nothing_in_redis_is_a_secret_or_opens_anything(store: SessionStore, any_redis: Redis) -> None:
    one, other = log_in(store), log_in(store, SOMEBODY)
    store.update_if_unchanged(one, dataclasses.replace(one.record, user_agent="oPlantedUserAgent"))

    everything = everything_in(any_redis)

    assert found_in(everything, one) == []
    assert found_in(everything, other) == []


def test_nothing_on_the_way_to_redis_is_a_secret_or_opens_anything(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    store = store_on(real_redis, clock)

    with watching(the_redis_server) as commands:
        created = log_in(store, replaced=UNKNOWN)
        store.update_if_unchanged(store.get(created.session_id), created.record)
        store.list(hash_of(USER))
        renewed = store.rotate_id(created)
        store.delete_by_handle(hash_of(USER), renewed.session_id.field)
        store.delete_all(hash_of(USER), except_handle=created.session_id.field)
        store.delete(created.session_id)

    assert len(commands) == 8
    assert found_in("\n".join(commands).encode(), created) == []
    assert found_in("\n".join(commands).encode(), renewed) == []


def test_that_search_finds_secrets(any_redis: Redis, store: SessionStore) -> None:
    created = log_in(store)
    any_redis.hset("naive", created.session_id.text, f"xx{SESSION_KEY}")
    any_redis.set("hex", USER.openid.encode().hex())
    any_redis.set("base64", b64encode(f"x{USER.unionid}".encode()))

    found = found_in(everything_in(any_redis), created)

    assert set(found) >= {created.session_id.text, SESSION_KEY, USER.openid, str(USER.unionid)}


def everything_in(redis: Redis) -> bytes:
    """Return all keys, fields and values."""
    pieces: list[bytes] = []
    for key in redis.scan_iter():
        content = redis.hgetall(key) if redis.type(key) == b"hash" else {b"": redis.get(key)}
        pieces += [key, *content.keys(), *content.values()]
    return b"\n".join(pieces)


def found_in(everything: bytes, stored: StoredSession) -> list[str]:
    """Return the secrets of a session that can be read, or easily made out."""
    session_id, user = stored.session_id, stored.record.user
    texts = [session_id.text, session_id.random, session_id.random[:16], SESSION_KEY, "PlantedSecretKey"]
    texts += [user.openid, user.unionid or user.openid, user.appid, "oPlantedUserAgent"]
    return [text for text in texts if any(form in everything for form in forms_of(text.encode()))]


def forms_of(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):  # base64 looks different at each of three offsets, but for its ends
        yield b64encode(b"\0" * before + secret)[4:-4]


def test_a_key_is_planted_where_the_search_looks_for_it() -> None:
    assert b64decode(SESSION_KEY) == b"PlantedSecretKey"


# how often Redis is asked


@contextlib.contextmanager
def watching(server: RedisServer) -> Iterator[list[str]]:
    """Collect what the others ask Redis meanwhile."""
    with server.client() as watcher, monitored(watcher) as commands:
        yield commands


def names_of(commands: list[str]) -> list[str]:
    return [command.split()[0] for command in commands]


@pytest.fixture
def warm(real_redis: Redis, clock: Clock) -> SessionStore:
    """A store on a real Redis that is connected already."""
    real_redis.ping()
    return store_on(real_redis, clock)


@pytest.mark.parametrize(
    ("replaced", "expected"), [(None, ["EVAL"]), (USER, ["EVAL"]), (SOMEBODY, ["EVAL", "EVAL"])]
)
def test_a_login_is_one_command_or_two(
    the_redis_server: RedisServer, warm: SessionStore, replaced: User | None, expected: list[str]
) -> None:
    with watching(the_redis_server) as commands:
        log_in(warm, replaced=SessionId.new(replaced) if replaced else None)

    assert names_of(commands) == expected


def test_a_login_is_one_round_trip_even_if_it_replaces_another_users_session(
    the_redis_server: RedisServer, warm: SessionStore
) -> None:
    with the_redis_server.client() as watcher:
        before = watcher.info("stats")["total_reads_processed"]
        log_in(warm, replaced=SessionId.new(SOMEBODY))
        after = watcher.info("stats")["total_reads_processed"]

    assert after - before == 1 + 1  # the login, and the second question after it


def test_a_check_is_one_command(the_redis_server: RedisServer, warm: SessionStore) -> None:
    created = log_in(warm)

    with watching(the_redis_server) as commands:
        warm.get(created.session_id)

    assert commands == [f"HGET {created.session_id.key} {created.session_id.field}"]


def test_a_list_is_one_command(the_redis_server: RedisServer, warm: SessionStore) -> None:
    created = [log_in(warm) for _ in range(3)]

    with watching(the_redis_server) as commands:
        warm.list(hash_of(USER))

    assert commands == [f"HGETALL {created[0].session_id.key}"]


ONE_COMMAND: dict[str, Write] = {
    "delete one": WRITES["delete one"],
    "delete all": lambda store, _: store.delete_all(hash_of(USER)),
    "delete all but one": lambda store, stored: store.delete_all(
        hash_of(USER), except_handle=stored.session_id.field
    ),
    "renew": WRITES["renew"],
}


@pytest.mark.parametrize("write", ONE_COMMAND.values(), ids=ONE_COMMAND.keys())
def test_ending_and_renewing_are_one_command(
    the_redis_server: RedisServer, warm: SessionStore, write: Write
) -> None:
    created = [log_in(warm) for _ in range(3)]

    with watching(the_redis_server) as commands:
        write(warm, created[1])

    assert names_of(commands) == ["EVAL"]


def test_a_change_is_one_command(the_redis_server: RedisServer, warm: SessionStore) -> None:
    created = log_in(warm)

    with watching(the_redis_server) as commands:
        warm.update_if_unchanged(created, created.record)

    assert names_of(commands) == ["EVAL"]


def test_a_logout_is_one_command(the_redis_server: RedisServer, warm: SessionStore) -> None:
    created = log_in(warm)

    with watching(the_redis_server) as commands:
        warm.delete(created.session_id)

    assert names_of(commands) == ["EVAL"]


# what goes wrong on the way


def test_redis_may_forget_its_scripts_at_any_time(real_redis: Redis, clock: Clock) -> None:
    store = store_on(real_redis, clock)
    created = log_in(store)

    real_redis.script_flush()

    assert store.update_if_unchanged(created, created.record)
    real_redis.script_flush()
    assert store.delete(created.session_id)
    real_redis.script_flush()
    assert is_logged_in(store, log_in(store).session_id)


@pytest.mark.parametrize("replaced", [None, USER, SOMEBODY])
def test_a_login_whose_answer_is_lost_is_repeated_and_makes_one_session(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock, replaced: User | None
) -> None:
    old = log_in(store_on(real_redis, clock), replaced).session_id if replaced else None

    with losing_the_first_answer(the_redis_server) as redis:
        created = log_in(store_on(redis, clock), replaced=old)

    assert is_logged_in(store_on(real_redis, clock), created.session_id)
    assert real_redis.hlen(created.session_id.key) == 1
    assert not (old and is_logged_in(store_on(real_redis, clock), old))


def test_a_login_that_does_not_reach_redis_at_first_is_repeated(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    store = store_on(real_redis, clock)

    with losing_the_first_answer(the_redis_server, forwards=False) as redis:
        created = log_in(store_on(redis, clock))

    assert is_logged_in(store, created.session_id)


def test_a_login_whose_answer_is_lost_ends_no_more_than_one_that_is_answered(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    created = log_in_often(store_on(real_redis, clock), clock, 2)

    with losing_the_first_answer(the_redis_server) as redis:
        created.append(log_in(store_on(redis, clock, most_per_user=2)).session_id)

    assert [is_logged_in(store_on(real_redis, clock), each) for each in created] == [False, True, True]


def test_a_renewal_whose_answer_is_lost_is_done_once(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    created = log_in(store_on(real_redis, clock))

    with losing_the_first_answer(the_redis_server) as redis:
        renewed = store_on(redis, clock).rotate_id(created)

    assert real_redis.hkeys(renewed.session_id.key) == [renewed.session_id.field.encode()]


END_ALL: dict[str, Callable[[SessionStore, SessionId], object]] = {
    "one": lambda store, session_id: store.delete_by_handle(session_id.user_hash, session_id.field),
    "all": lambda store, session_id: store.delete_all(session_id.user_hash),
}


@pytest.mark.parametrize("end", END_ALL.values(), ids=END_ALL.keys())
def test_ending_sessions_is_done_although_its_answer_is_lost(
    the_redis_server: RedisServer,
    real_redis: Redis,
    clock: Clock,
    end: Callable[[SessionStore, SessionId], object],
) -> None:
    created = log_in(store_on(real_redis, clock))

    with losing_the_first_answer(the_redis_server) as redis:
        end(store_on(redis, clock), created.session_id)

    assert real_redis.keys() == []


END_ONCE: dict[str, Callable[[SessionStore, SessionId], object]] = {
    "one": lambda store, own: store.delete_by_handle(own.user_hash, own.field, retry_safe=False),
    "all": lambda store, own: store.delete_all(own.user_hash, retry_safe=False),
}


@pytest.mark.parametrize("end", END_ONCE.values(), ids=END_ONCE.keys())
def test_ending_sessions_once_and_no_more_has_no_result_if_its_answer_is_lost(
    the_redis_server: RedisServer,
    real_redis: Redis,
    clock: Clock,
    end: Callable[[SessionStore, SessionId], object],
) -> None:
    created = log_in(store_on(real_redis, clock))

    with fault_proxy(the_redis_server.port) as proxy, connected(proxy.url, timeout_seconds=5) as redis:
        proxy.drop_reply_of("EVAL")
        with pytest.raises(StoreUnavailable):
            end(store_on(redis, clock), created.session_id)

    assert real_redis.keys() == []


def test_a_logout_whose_answer_is_lost_is_done(
    the_redis_server: RedisServer, real_redis: Redis, clock: Clock
) -> None:
    store = store_on(real_redis, clock)
    created = log_in(store)

    with losing_the_first_answer(the_redis_server) as redis:
        store_on(redis, clock).delete(created.session_id)

    assert not is_logged_in(store, created.session_id)


OPERATIONS: dict[str, Callable[[SessionStore, StoredSession], object]] = {
    **WRITES,
    **ONE_COMMAND,
    "load": lambda store, stored: store.get(stored.session_id),
    "list": lambda store, stored: store.list(hash_of(USER)),
}


@pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_without_redis_every_operation_says_so(
    any_redis: Redis, clock: Clock, operate: Callable[[SessionStore, StoredSession], object]
) -> None:
    created = log_in(store_on(any_redis, clock))
    url = f"redis://127.0.0.1:{free_port()}/0"

    with (
        connected(url, timeout_seconds=1) as redis,
        pytest.raises(StoreUnavailable),
    ):
        operate(store_on(redis, clock), created)


@pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_while_redis_is_frozen_every_operation_says_so_in_time(
    the_redis_server: RedisServer,
    real_redis: Redis,
    clock: Clock,
    operate: Callable[[SessionStore, StoredSession], object],
) -> None:
    created = log_in(store_on(real_redis, clock))
    the_redis_server.freeze()

    try:
        with (
            stopwatch() as seconds,
            connected(the_redis_server.url, timeout_seconds=0.1) as redis,
            pytest.raises(StoreUnavailable),
        ):
            operate(store_on(redis, clock), created)
        assert seconds() < 1
    finally:
        the_redis_server.thaw()


@contextlib.contextmanager
def losing_the_first_answer(server: RedisServer, *, forwards: bool = True) -> Iterator[Redis]:
    """Connect to Redis on a way on which the first connection breaks when it is used.

    What was sent on it is carried out if it ``forwards``; the answer is lost in any case.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=relay, args=(listener, server.port, forwards))
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        with connected(url, timeout_seconds=5) as redis:
            yield redis
        thread.join()


def relay(listener: socket.socket, port: int, forwards: bool) -> None:
    listener.settimeout(TIMEOUT_SECONDS)
    with listener.accept()[0] as client, socket.create_connection(("127.0.0.1", port)) as redis:
        request = client.recv(65536)
        if forwards:
            redis.sendall(request)
            redis.recv(65536)
    with listener.accept()[0] as client, socket.create_connection(("127.0.0.1", port)) as redis:
        while request := client.recv(65536):
            redis.sendall(request)
            client.sendall(redis.recv(65536))


# many at once


def at_once(work: Callable[[], StoredSession], *, threads: int = 20) -> list[StoredSession]:
    """Do the work in as many threads, which start together."""
    barrier = threading.Barrier(threads)

    def start(_: int) -> StoredSession:
        barrier.wait(20)
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(start, range(threads)))


def test_of_20_logins_of_one_user_at_once_none_is_lost(store: SessionStore, any_redis: Redis) -> None:
    created = at_once(lambda: log_in(store))

    assert any_redis.hlen(created[0].session_id.key) == 20
    assert all(is_logged_in(store, each.session_id) for each in created)


@pytest.mark.parametrize("limit", [1, 5])
def test_of_20_logins_of_one_user_at_once_as_many_are_left_as_he_may_have(
    any_redis: Redis, clock: Clock, limit: int
) -> None:
    store = store_on(any_redis, clock, most_per_user=limit)

    created = at_once(lambda: log_in(store))

    assert sum(is_logged_in(store, each.session_id) for each in created) == limit
    assert any_redis.hlen(created[0].session_id.key) == limit


def test_of_20_changes_at_once_one_wins(store: SessionStore) -> None:
    created = log_in(store)
    won: list[bool] = []

    def change() -> StoredSession:
        won.append(store.update_if_unchanged(created, created.record))
        return created

    at_once(change)

    assert sorted(won) == [False] * 19 + [True]


def test_no_change_brings_back_what_is_logged_out_at_the_same_time(store: SessionStore, any_redis: Redis) -> None:
    created = log_in(store)
    turns = iter(range(20))

    def change_or_log_out() -> StoredSession:
        if next(turns) == 10:
            store.delete(created.session_id)
        else:
            store.update_if_unchanged(created, created.record)
        return created

    at_once(change_or_log_out)

    assert keys_in(any_redis) == []


# logging out wins

ROUNDS = 1000


def overlap(one: Callable[[int], object], other: Callable[[int], object]) -> None:
    """Do the one and the other in two threads, which start every round together."""
    barrier = threading.Barrier(2)

    def work(do: Callable[[int], object]) -> None:
        for number in range(ROUNDS):
            barrier.wait(20)
            do(number)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, one), pool.submit(work, other)]:
            done.result()


def renew(session: Session) -> None:
    with contextlib.suppress(NotLoggedIn):
        session.rotate_id()


WAYS_TO_END: dict[str, Callable[[SessionStore, SessionId], object]] = {
    "log out": lambda store, session_id: store.delete(session_id),
    "log out everywhere": lambda store, session_id: store.delete_all(session_id.user_hash),
}


@pytest.mark.parametrize("write", [Session.touch, renew], ids=["touch", "renew"])
def test_of_1000_slow_requests_that_overlap_a_logout_everywhere_none_brings_a_session_back(
    real_redis: Redis, clock: Clock, write: Callable[[Session], None]
) -> None:
    store = store_on(real_redis, clock)
    users = [User(USER.appid, f"oUser{number}") for number in range(ROUNDS)]
    slow = [Session(store, log_in(store, user).session_id) for user in users]
    clock.advance(100)
    assert {session.record.last_seen_at for session in slow} == {store.now() - 100}  # they have read

    overlap(lambda number: write(slow[number]), lambda number: store.delete_all(hash_of(users[number])))

    assert real_redis.dbsize() == 0


@pytest.mark.parametrize("end", WAYS_TO_END.values(), ids=WAYS_TO_END.keys())
@pytest.mark.parametrize("write", [Session.touch, renew], ids=["touch", "renew"])
def test_what_was_read_before_a_logout_writes_nothing_after_it(
    store: SessionStore,
    any_redis: Redis,
    clock: Clock,
    write: Callable[[Session], None],
    end: Callable[[SessionStore, SessionId], object],
) -> None:
    session_id = log_in(store).session_id
    slow = Session(store, session_id)
    clock.advance(100)
    assert slow.record.user == USER

    end(store, session_id)
    write(slow)

    assert keys_in(any_redis) == []


# many expire


class Collected:
    """A client whose pipelines are sent a few hundred at a time."""

    def __init__(self, redis: Redis) -> None:
        self._pipeline = redis.pipeline(transaction=False)

    def pipeline(self, *, transaction: bool) -> Collected:
        """Return what collects the commands."""
        return self

    def eval(self, script: str, keys: int, *arguments: str) -> None:
        """Keep it for later."""
        self._pipeline.eval(script, keys, *arguments)

    def execute(self, *, at_least: int = 500) -> list[list[int]]:
        """Send what has been collected, if it is enough, and answer as to a login that ends no session."""
        if len(self._pipeline) >= at_least:
            self._pipeline.execute()
        return [[0, 0]]


@pytest.fixture
def empty_redis(tmp_path: Path) -> Iterator[Redis]:
    """A server of its own that writes nothing to disk, for what would make others wait."""
    with (
        redis_server(tmp_path, options=("--appendonly", "no")) as server,
        connected(server.url, timeout_seconds=20) as redis,
    ):
        yield redis


def test_when_100000_sessions_have_expired_no_key_is_left(empty_redis: Redis) -> None:
    collected = Collected(empty_redis)
    stores = [store_on(cast(Redis, collected), time.time, idle=seconds) for seconds in (3, 2)]

    for number in range(50_000):
        for store in stores:
            log_in(store, User(USER.appid, f"oUser{number}"))
    collected.execute(at_least=0)

    wait_until(lambda: empty_redis.dbsize() == 0, what="all sessions have expired")
    assert empty_redis.info("stats")["expired_keys"] == 50_000


# any order of events

USERS = (USER, SOMEBODY, User("wx0000000000000001", USER.openid))
LIMIT = 3


@dataclasses.dataclass
class Kept:
    """A session as the model knows it."""

    record: SessionRecord
    number: int  # of the login that made it: the lower, the older
    changes: int = 0


class SessionsOfThreeUsers(RuleBasedStateMachine):
    """The store beside a dictionary of what should be in it.

    The clock only goes forward and starts where Redis's own is, so Redis itself forgets nothing meanwhile: what
    has expired stays in the dictionary, and can be neither used nor seen.
    """

    ids = Bundle("ids")
    reads = Bundle("reads")

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        redis.flushall()
        self.redis = redis
        self.clock = Clock(float(int(time.time())))
        self.store = store_on(redis, self.clock, most_per_user=LIMIT)
        self.sessions: dict[SessionId, Kept] = {}
        self.logins = 0

    @rule(target=ids, user=st.sampled_from(USERS))
    def log_in(self, user: User) -> SessionId:
        return self._keep(log_in(self.store, user))

    @rule(target=ids, user=st.sampled_from(USERS), replaced=ids)
    def log_in_again(self, user: User, replaced: SessionId) -> SessionId:
        created = log_in(self.store, user, replaced=replaced)
        self.sessions.pop(replaced, None)
        return self._keep(created)

    def _keep(self, created: StoredSession) -> SessionId:
        self.logins += 1
        self.clock.advance(0.002)  # no two are made in the same millisecond
        self.sessions[created.session_id] = Kept(created.record, self.logins)
        for session_id in self._newest_first(created.record.user)[LIMIT:]:
            del self.sessions[session_id]
        return created.session_id

    @rule(target=reads, session_id=ids)
    def use(self, session_id: SessionId) -> object:
        if session_id not in self.sessions:
            return self._use_in_vain(session_id, NotLoggedIn)
        kept = self.sessions[session_id]
        if self._has_expired(kept.record):
            return self._use_in_vain(session_id, SessionExpired)
        stored = self.store.get(session_id)
        assert stored.record == kept.record
        return kept.changes, stored

    def _use_in_vain(self, session_id: SessionId, why: type[NotLoggedIn]) -> object:
        with pytest.raises(NotLoggedIn) as caught:
            self.store.get(session_id)
        assert caught.type is why
        return multiple()

    @rule(read=reads)
    def touch(self, read: tuple[int, StoredSession]) -> None:
        changes, stored = read
        record = seen_now(stored, self.store)
        kept = self.sessions.get(stored.session_id)
        may = kept is not None and kept.changes == changes and not self._has_expired(stored.record)

        assert self.store.update_if_unchanged(stored, record) == may

        if kept and may:
            kept.changes, kept.record = changes + 1, record

    @rule(target=ids, read=reads)
    def renew(self, read: tuple[int, StoredSession]) -> object:
        _, stored = read
        if stored.session_id not in self.sessions:
            with pytest.raises(NotLoggedIn):
                self.store.rotate_id(stored)
            return multiple()
        renewed = self.store.rotate_id(stored)
        kept = self.sessions.pop(stored.session_id)
        self.sessions[renewed.session_id] = Kept(stored.record, kept.number)
        return renewed.session_id

    @rule(session_id=ids)
    def log_out(self, session_id: SessionId) -> None:
        assert self.store.delete(session_id) == (session_id in self.sessions)

        self.sessions.pop(session_id, None)

    @rule(session_id=ids, user=st.sampled_from(USERS))
    def log_one_out(self, session_id: SessionId, user: User) -> None:
        is_his = session_id in self._newest_first(user)

        assert self.store.delete_by_handle(hash_of(user), session_id.field) == is_his

        if is_his:
            del self.sessions[session_id]

    @rule(user=st.sampled_from(USERS))
    def log_out_everywhere(self, user: User) -> None:
        self._end(self._newest_first(user), self.store.delete_all(hash_of(user)))

    @rule(session_id=ids, user=st.sampled_from(USERS))
    def log_out_everywhere_else(self, session_id: SessionId, user: User) -> None:
        others = [each for each in self._newest_first(user) if each != session_id]

        self._end(others, self.store.delete_all(hash_of(user), except_handle=session_id.field))

    def _end(self, expected: list[SessionId], ended: int) -> None:
        assert ended == len(expected)
        for session_id in expected:
            del self.sessions[session_id]

    @rule(seconds=st.sampled_from([1, 60, 500, IDLE - 1, IDLE]))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def redis_has_the_sessions_that_have_not_ended_and_forgets_them_with_the_last(self) -> None:
        for user in USERS:
            key = f"wxlogin:user:{hash_of(user)}"
            own = self._newest_first(user)
            latest = max((self._expiry_of(self.sessions[each].record) for each in own), default=-2)  # -2: no key

            assert set(self.redis.hkeys(key)) == {each.field.encode() for each in own}
            assert self.redis.expiretime(key) == latest

    @invariant()
    def a_list_has_what_has_neither_ended_nor_expired(self) -> None:
        for user in USERS:
            kept = [(each.field, self.sessions[each].record) for each in self._newest_first(user)]

            assert self.store.list(hash_of(user)) == [
                ListedSession(handle, record, self._expiry_of(record))
                for handle, record in kept
                if not self._has_expired(record)
            ]

    def _newest_first(self, user: User) -> list[SessionId]:
        own = [session_id for session_id in self.sessions if session_id.user_hash == hash_of(user)]
        return sorted(own, key=lambda session_id: -self.sessions[session_id].number)

    def _has_expired(self, record: SessionRecord) -> bool:
        return self._expiry_of(record) <= self.store.now()

    def _expiry_of(self, record: SessionRecord) -> int:
        return min(record.last_seen_at + IDLE, record.created_at + LONGEST)


def test_whatever_happens_in_whatever_order_the_store_agrees_with_a_dictionary(
    any_redis: Redis, request: pytest.FixtureRequest
) -> None:
    runs = 100 if "fakeredis" in request.node.name else 50

    class Machine(SessionsOfThreeUsers):
        def __init__(self) -> None:
            super().__init__(any_redis)

    run_state_machine_as_test(Machine, settings=settings(max_examples=runs, stateful_step_count=30))
