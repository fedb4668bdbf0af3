"""Checks from memory, in two workers on one Redis: what one of them ends, the other refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.conftest import SECRET_KEY, Clock
from tests.drivers import instrumentation
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.redis_topologies import sentinel
from tests.servers import RedisServer, connected, gateway_of, redis_server, round_trips, wait_until
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import Lifetimes, NotLoggedIn, SessionExpired, SessionStore
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.invalidation import InvalidationListener
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.storage.client import connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.url import parse_url

USER = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
SECONDS = 2.0
IDLE = 7 * 86400


class Worker:
    """A process of the service, as far as it checks sessions; `hears` is where it listens for changes."""

    def __init__(self, client: Redis, clock: Clock, *, hears: str) -> None:
        self.clock = clock
        self.cache = NearCache(seconds=SECONDS, clock=clock)
        self.changes: list[bool] = []
        self.listener = InvalidationListener(
            lambda: _one_server(hears),
            self.cache,
            instrumentation=instrumentation(session_cache_changed=self.changes.append),
        )
        self.store = SessionStore(
            gateway_of(client),
            RecordCipher([SECRET_KEY]),
            lifetimes=Lifetimes(idle=IDLE, absolute=30 * 86400),
            clock=clock,
            on_changed=self.cache.invalidate,
        )
        self.checks = SessionVerifier(self.store, self.cache, self.listener)

    def log_in(self, user: User = USER) -> SessionId:
        now = self.store.now()
        record = SessionRecord(user=user, session_key="key", created_at=now, last_seen_at=now)
        return self.store.create(record).session_id

    def lets_in(self, session_id: SessionId) -> bool:
        try:
            return bool(self.checks.get(session_id))
        except NotLoggedIn:
            return False

    def wait_until_it_listens(self) -> None:
        self.listener.start()
        wait_until(lambda: self.cache.is_enabled, what="it listens for changes")

    def learn(self, session_id: SessionId) -> None:
        """Know a session for sure: what is on its way from before must not be taken for news."""
        wait_until(
            lambda: self.lets_in(session_id) and self.cache.find(session_id) is not None, what="it is known"
        )


def _one_server(url: str) -> Redis:
    client = connect(parse_url(url), ConnectionOptions(connect_timeout_seconds=5, read_timeout_seconds=5))
    assert isinstance(client, Redis)
    return client


@pytest.fixture
def proxy(the_redis_server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy(the_redis_server.port) as running:
        yield running


Make = Callable[[str], Worker]


@pytest.fixture
def make(real_redis: Redis, clock: Clock) -> Iterator[Make]:
    workers: list[Worker] = []

    def make_one(hears: str) -> Worker:
        workers.append(Worker(real_redis, clock, hears=hears))
        workers[-1].wait_until_it_listens()
        return workers[-1]

    yield make_one
    for worker in workers:
        worker.listener.stop()


@pytest.fixture
def one(make: Make, the_redis_server: RedisServer) -> Worker:
    return make(the_redis_server.url)


@pytest.fixture
def other(make: Make, proxy: FaultProxy) -> Worker:
    """A worker whose connection for changes has a proxy in it."""
    return make(f"redis://127.0.0.1:{proxy.port}/0")


ENDS: dict[str, Callable[[Worker, SessionId], object]] = {
    "logout": lambda worker, session_id: worker.store.delete(session_id),
    "everywhere": lambda worker, session_id: worker.store.delete_all(session_id.user_hash),
    "by handle": lambda worker, session_id: worker.store.delete_by_handle(session_id.user_hash, session_id.field),
    "renewed": lambda worker, session_id: worker.store.rotate_id(worker.store.get(session_id)),
    "replaced": lambda worker, session_id: worker.store.create(
        worker.store.get(session_id).record, replaced=session_id
    ),
}


def test_a_session_that_is_known_costs_no_round_trip(one: Worker, real_redis: Redis) -> None:
    session_id = one.log_in()
    one.learn(session_id)

    with round_trips(real_redis) as trips:
        users = [one.checks.get(session_id) for _ in range(10)]

    assert users == [USER] * 10
    assert trips() == 0


@pytest.mark.parametrize("how", ENDS)
def test_a_session_that_one_worker_ends_is_refused_by_it_at_once(one: Worker, how: str) -> None:
    session_id = one.log_in()
    one.learn(session_id)

    ENDS[how](one, session_id)

    assert not one.lets_in(session_id)


@pytest.mark.parametrize("how", ENDS)
def test_and_by_the_others_as_soon_as_they_hear_of_it(one: Worker, other: Worker, how: str) -> None:
    session_id = one.log_in()
    other.learn(session_id)

    ENDS[how](one, session_id)

    wait_until(lambda: not other.lets_in(session_id), what="the other refuses it")  # its clock stands still


def test_the_other_sessions_of_the_user_go_on(one: Worker, other: Worker) -> None:
    ended, goes_on = one.log_in(), one.log_in()
    other.learn(ended)

    one.store.delete(ended)

    wait_until(lambda: not other.lets_in(ended), what="the other refuses it")
    assert other.lets_in(goes_on)


@pytest.mark.parametrize("change", [lambda r: r.flushall(), lambda r: r.delete(*r.keys("wxlogin:user:*"))])
def test_what_others_do_to_redis_is_heard_as_well(
    one: Worker, real_redis: Redis, change: Callable[[Any], object]
) -> None:
    session_id = one.log_in()
    one.learn(session_id)

    change(real_redis)

    wait_until(lambda: not one.lets_in(session_id), what="it is refused")


def test_a_connection_that_is_cut_is_noticed_at_once_and_made_again(
    one: Worker, other: Worker, proxy: FaultProxy
) -> None:
    session_id = one.log_in()
    other.learn(session_id)

    proxy.refuse()

    wait_until(lambda: not other.cache.is_enabled, what="it is noticed")
    one.store.delete(session_id)
    assert not other.lets_in(session_id)
    proxy.pass_on()
    wait_until(lambda: other.cache.is_enabled, what="it listens again")
    another = one.log_in()
    other.learn(another)
    assert other.changes[:3] == [True, False, True]


def test_a_connection_that_is_frozen_lets_an_ended_session_live_no_longer_than_the_cache(
    one: Worker, other: Worker, proxy: FaultProxy, clock: Clock
) -> None:
    session_id = one.log_in()
    other.learn(session_id)

    proxy.blackhole()
    one.store.delete(session_id)

    clock.advance(SECONDS)
    assert not other.lets_in(session_id)
    wait_until(lambda: not other.cache.is_enabled, what="the silence is noticed")
    proxy.pass_on()
    wait_until(lambda: other.cache.is_enabled, what="it listens again")


def test_a_connection_that_is_killed_in_the_middle_lets_nobody_in_for_longer(
    one: Worker, real_redis: Redis
) -> None:
    session_id = one.log_in()
    one.learn(session_id)
    (listening,) = [each for each in real_redis.client_list() if "B" in each["flags"]]

    real_redis.client_kill_filter(_id=listening["id"])
    real_redis.delete(session_id.key)

    wait_until(lambda: not one.lets_in(session_id), what="it is refused")
    one.wait_until_it_listens()
    assert one.changes == [True, False, True]


def test_what_is_read_just_before_the_connection_breaks_is_not_kept(one: Worker) -> None:
    session_id = one.log_in()
    sessions = one.cache.begin_fill(session_id)
    one.cache.disable()
    one.cache.enable()

    one.cache.fill(session_id, sessions, USER, seconds=100)

    assert one.cache.find(session_id) is None


def test_a_cache_that_is_kept_right_elsewhere_is_used_as_well(one: Worker) -> None:
    session_id = one.log_in()

    checks = SessionVerifier(one.store, one.cache)

    wait_until(lambda: checks.get(session_id) == one.cache.find(session_id) == USER, what="it is known")


def test_who_never_began_to_listen_can_stop(
    real_redis: Redis, clock: Clock, the_redis_server: RedisServer
) -> None:
    worker = Worker(real_redis, clock, hears=the_redis_server.url)

    worker.listener.stop()

    assert worker.changes == []


def test_silence_is_no_failure(one: Worker, real_redis: Redis) -> None:
    before = real_redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]

    wait_until(
        lambda: real_redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] > before + 1,
        what="it asks twice",
    )

    assert one.changes == [True]


def test_a_session_expires_in_memory_as_well(one: Worker, clock: Clock) -> None:
    session_id = one.log_in()
    stored = one.store.get(session_id)
    clock.advance(IDLE - 1)
    one.cache.fill(
        session_id, one.cache.begin_fill(session_id), USER, seconds=one.store.seconds_until_change(stored)
    )

    clock.advance(1)

    with pytest.raises(SessionExpired):
        one.checks.get(session_id)


def test_a_session_in_use_is_touched_once_a_minute(one: Worker, clock: Clock) -> None:
    session_id = one.log_in()
    began = one.store.get(session_id).record.last_seen_at
    seen = []
    for _ in range(130):
        assert one.lets_in(session_id)
        seen.append(one.store.get(session_id).record.last_seen_at - began)
        clock.advance(1)

    assert sorted(set(seen)) == [0, 60, 120]


def test_a_wrong_id_is_refused_and_not_remembered(one: Worker, real_redis: Redis) -> None:
    wrong = SessionId.new(USER)

    with round_trips(real_redis) as trips:
        answers = [one.lets_in(wrong) for _ in range(3)]

    assert answers == [False] * 3
    assert trips() == 3


def test_a_redis_that_refuses_to_tell_of_changes_is_asked_each_time(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        redis_server(tmp_path, options=("--rename-command", "CLIENT", "")) as server,
        connected(server.url, timeout_seconds=5) as client,
    ):
        worker = Worker(client, clock, hears=server.url)
        session_id = worker.log_in()

        answers = [worker.lets_in(session_id) for _ in range(3)]

        wait_until(lambda: "refuses to tell of changes" in caplog.text, what="it says so")
        worker.listener.stop()
    assert answers == [True] * 3
    assert worker.changes == []


def test_a_redis_that_is_away_is_looked_for_until_it_is_there(tmp_path: Path, clock: Clock) -> None:
    server = RedisServer(tmp_path)
    with contextlib.closing(_one_server(server.url)) as client:
        worker = Worker(client, clock, hears=server.url)
        worker.listener.start()
        server.start()
        try:
            worker.wait_until_it_listens()
        finally:
            worker.listener.stop()
            server.stop()


def test_the_sentinels_master_tells_of_changes_after_a_failover_too(tmp_path: Path, clock: Clock) -> None:
    with sentinel(tmp_path) as group, contextlib.closing(_one_server(group.url)) as client:
        worker = Worker(client, clock, hears=group.url)
        worker.wait_until_it_listens()
        session_id = worker.log_in()
        worker.learn(session_id)

        group.kill_master()

        wait_until(lambda: worker.changes[-2:] == [False, True], what="it listens to the new master")
        another = worker.log_in()
        worker.learn(another)
        client.delete(another.key)
        wait_until(lambda: not worker.lets_in(another), what="it is refused")
        worker.listener.stop()
