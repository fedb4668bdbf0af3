"""Sessions looked up over a connection that nobody waits for: in a real Redis, which is not always well."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.conftest import SECRET_KEY, Clock
from tests.drivers import instrumentation
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.redis_topologies import tls_redis
from tests.servers import RedisServer, connected, gateway_of, monitored, redis_server, round_trips, wait_until
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import TOUCH_SECONDS, Lifetimes, SessionStore
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.pipeline import (
    BACK_OFF_SECONDS,
    LOOKUP_TIMEOUT_SECONDS,
    MAX_PENDING,
    MAX_TOUCHES,
    STABLE_AFTER_SECONDS,
    SessionLookupPipeline,
)
from wxlogin.storage.client import connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.url import parse_url

USER = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
IDLE = 7 * 86400
PATIENT = ConnectionOptions(connect_timeout_seconds=5, read_timeout_seconds=5)


class Loop:
    """What a worker does between two requests, as often as a test has it done."""

    def __init__(
        self,
        url: str,
        store: SessionStore,
        cache: NearCache | None = None,
        *,
        options: ConnectionOptions = PATIENT,
    ) -> None:
        self.poller = selectors.DefaultSelector()
        self.soon: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.calls: list[str] = []
        self.changes: list[bool] = []
        self.moves = 0
        self.waited = Clock(100.0)
        self.pipeline = SessionLookupPipeline(
            lambda: client_of(url, options),
            store,
            cache,
            failover_count=lambda: self.moves,
            instrumentation=instrumentation(
                redis_answered=lambda outcome, _seconds: self.calls.append(outcome),
                session_pipeline_changed=self.changes.append,
            ),
            clock=self.waited,
        )
        self.pipeline.attach(self.poller, lambda *call: self.soon.put(call))

    def turn(self) -> None:
        for key, _ in self.poller.select(0.005) if self.poller.get_map() else []:
            key.data(key.fileobj)
        with contextlib.suppress(queue.Empty):
            function, *arguments = self.soon.get(timeout=0.005)
            function(*arguments)
        self.pipeline.flush()
        self.pipeline.expire_overdue()

    def turn_until(self, condition: Callable[[], bool], *, what: str) -> None:
        def is_done() -> bool:
            self.turn()
            return condition()

        wait_until(is_done, what=what)

    def ask(self, session_id: SessionId) -> list[Any]:
        """Return where the answer will be."""
        answers: list[Any] = []
        assert self.pipeline.submit(session_id, answers.append)
        return answers

    def ask_and_look_away(self, session_id: SessionId) -> list[Any]:
        """Return where the answer will be, when it is there to be taken, and not taken yet."""
        answers = self.ask(session_id)
        self.pipeline.flush()
        wait_until(lambda: bool(self.poller.select(0)), what="the session is read")
        return answers

    def answer(self, session_id: SessionId) -> User | None:
        answers = self.ask(session_id)
        self.turn_until(lambda: bool(answers), what="it is answered")
        user: User | None
        (user,) = answers
        return user

    def open(self, session_id: SessionId) -> None:
        """Ask until there is a connection."""
        asked: list[Any] = []
        self.turn_until(lambda: self.pipeline.submit(session_id, asked.append), what="there is a connection")
        self.turn_until(lambda: bool(asked), what="it is answered")


def client_of(url: str, options: ConnectionOptions) -> Redis:
    """Return a client as the service makes its own."""
    client = connect(parse_url(url), options)
    assert isinstance(client, Redis)
    return client


def store_on(client: Redis, clock: Clock) -> SessionStore:
    lifetimes = Lifetimes(idle=IDLE, absolute=30 * 86400)
    return SessionStore(gateway_of(client), RecordCipher([SECRET_KEY]), lifetimes=lifetimes, clock=clock)


@pytest.fixture
def store(real_redis: Redis, clock: Clock) -> SessionStore:
    return store_on(real_redis, clock)


@pytest.fixture
def proxy(the_redis_server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy(the_redis_server.port) as running:
        yield running


@pytest.fixture
def session_id(store: SessionStore) -> SessionId:
    return log_in(store)


@pytest.fixture
def loop(the_redis_server: RedisServer, store: SessionStore, session_id: SessionId) -> Iterator[Loop]:
    with looping(the_redis_server.url, store, session_id) as running:
        yield running


@contextlib.contextmanager
def looping(
    url: str, store: SessionStore, session_id: SessionId, cache: NearCache | None = None
) -> Iterator[Loop]:
    running = Loop(url, store, cache)
    running.open(session_id)
    try:
        yield running
    finally:
        running.pipeline.close()


def log_in(store: SessionStore, user: User = USER) -> SessionId:
    now = store.now()
    record = SessionRecord(user=user, session_key="key", created_at=now, last_seen_at=now)
    return store.create(record).session_id


def test_a_session_is_found(loop: Loop, session_id: SessionId) -> None:
    loop.calls.clear()

    assert loop.answer(session_id) == USER
    assert loop.calls == ["ok"]


def test_what_is_asked_at_once_goes_in_one_piece_and_comes_back_to_whom_it_is_for(
    loop: Loop, store: SessionStore, real_redis: Redis
) -> None:
    users = [dataclasses.replace(USER, openid=f"oUser-{number:022}") for number in range(100)]
    ids = [log_in(store, user) for user in users]

    with round_trips(real_redis) as trips:
        asked = [loop.ask(session_id) for session_id in ids]
        loop.turn_until(lambda: all(asked), what="all are answered")

    assert asked == [[user] for user in users]
    assert trips() == 1


def test_over_tls_it_is_the_same(tmp_path: Path, clock: Clock) -> None:
    with tls_redis(tmp_path) as server:
        options = dataclasses.replace(
            PATIENT, ca_file=str(server.ca_file), cert_file=str(server.cert_file), key_file=str(server.key_file)
        )
        users = [dataclasses.replace(USER, openid=f"oUser-{number:022}") for number in range(500)]
        with contextlib.closing(client_of(server.url, options)) as client:
            store = store_on(client, clock)
            ids = [log_in(store, user) for user in users]
            loop = Loop(server.url, store, options=options)
            loop.open(ids[0])

            asked = [loop.ask(session_id) for session_id in ids]
            loop.turn_until(lambda: all(asked), what="all are answered")

            loop.pipeline.close()
    assert asked == [[user] for user in users]


def test_nothing_is_asked_but_one_field(loop: Loop, session_id: SessionId, real_redis: Redis) -> None:
    with monitored(real_redis) as commands:
        loop.answer(session_id)

    assert commands == [f"HGET {session_id.key} {session_id.field}"]


def test_whose_session_it_is_not_is_for_others_to_say(
    loop: Loop, store: SessionStore, session_id: SessionId, real_redis: Redis, clock: Clock
) -> None:
    assert loop.answer(SessionId.new(USER)) is None

    ended = log_in(store)
    store.delete(ended)
    assert loop.answer(ended) is None

    real_redis.hset(session_id.key, session_id.field, b"no record")
    assert loop.answer(session_id) is None

    real_redis.delete(session_id.key)
    real_redis.set(session_id.key, "of another type")
    assert loop.answer(session_id) is None


def test_a_session_that_has_expired_is_for_others_to_refuse(
    loop: Loop, session_id: SessionId, store: SessionStore, clock: Clock
) -> None:
    clock.advance(IDLE)

    assert loop.answer(session_id) is None


def test_a_clock_that_is_due_is_moved_once_and_nobody_waits_for_it(
    loop: Loop, session_id: SessionId, store: SessionStore, clock: Clock, real_redis: Redis
) -> None:
    began = store.now()
    clock.advance(TOUCH_SECONDS - 1)
    assert loop.answer(session_id) == USER
    assert store.get(session_id).record.last_seen_at == began
    clock.advance(1)

    with monitored(real_redis) as commands:
        asked = [loop.ask(session_id) for _ in range(5)]
        loop.turn_until(lambda: all(asked), what="all are answered")
        asked += [loop.ask(session_id)]
        loop.turn_until(lambda: all(asked) and not loop.pipeline._sent, what="the clock is moved")

    assert asked == [[USER]] * 6
    assert [each.split(" ")[0] for each in commands].count("EVAL") == 1
    assert store.get(session_id).record.last_seen_at == store.now()
    assert {*loop.calls} == {"ok"}

    clock.advance(TOUCH_SECONDS)
    loop.answer(session_id)
    loop.turn_until(lambda: store.get(session_id).record.last_seen_at == store.now(), what="it is moved again")


def test_a_session_that_ends_while_its_clock_is_moved_stays_ended(
    loop: Loop, session_id: SessionId, store: SessionStore, clock: Clock
) -> None:
    clock.advance(TOUCH_SECONDS)
    answers = loop.ask_and_look_away(session_id)
    store.delete(session_id)

    loop.turn_until(lambda: bool(answers) and not loop.pipeline._sent, what="the clock would be moved")

    assert loop.answer(session_id) is None


def test_a_clock_that_was_not_moved_because_the_connection_broke_is_moved_the_next_time(
    loop: Loop, session_id: SessionId, store: SessionStore, clock: Clock
) -> None:
    clock.advance(TOUCH_SECONDS)
    answers = loop.ask_and_look_away(session_id)
    loop.pipeline._receive()
    loop.pipeline.close()
    assert answers == [USER]
    assert store.get(session_id).record.last_seen_at == store.now() - TOUCH_SECONDS

    loop.waited.advance(BACK_OFF_SECONDS)
    loop.open(session_id)

    loop.turn_until(lambda: store.get(session_id).record.last_seen_at == store.now(), what="it is moved")


def test_a_redis_that_takes_no_changes_is_left_to_others(
    loop: Loop, session_id: SessionId, clock: Clock, real_redis: Redis
) -> None:
    clock.advance(TOUCH_SECONDS)
    real_redis.config_set("min-replicas-to-write", "1")  # and there is none
    try:
        assert loop.answer(session_id) == USER

        loop.turn_until(lambda: not loop.poller.get_map(), what="the connection is given up")
    finally:
        real_redis.config_set("min-replicas-to-write", "0")
    assert not loop.pipeline.submit(session_id, print)


def test_the_record_of_somebody_else_opens_nothing(
    loop: Loop, session_id: SessionId, store: SessionStore, real_redis: Redis
) -> None:
    """If an answer were taken for another's, nobody would pass as somebody else: the seal knows its place."""
    other = log_in(store, dataclasses.replace(USER, openid="oOther"))
    value: Any = real_redis.hget(other.key, other.field)

    real_redis.hset(session_id.key, session_id.field, value)

    assert loop.answer(session_id) is None


@pytest.fixture
def proxied(proxy: FaultProxy, store: SessionStore, session_id: SessionId) -> Iterator[Loop]:
    with looping(proxy.url, store, session_id) as running:
        yield running


def test_a_silent_redis_is_waited_for_as_long_as_patience_lasts(
    proxied: Loop, proxy: FaultProxy, session_id: SessionId
) -> None:
    proxy.blackhole()
    answers = proxied.ask(session_id)
    proxied.turn()
    assert proxied.pipeline.poll_timeout() == pytest.approx(LOOKUP_TIMEOUT_SECONDS)

    proxied.waited.advance(LOOKUP_TIMEOUT_SECONDS)
    proxied.turn()

    assert answers == [None]
    assert not proxied.pipeline.submit(session_id, answers.append)


def test_an_answer_that_is_there_is_taken_however_late_we_look(
    loop: Loop, session_id: SessionId, store: SessionStore, clock: Clock
) -> None:
    clock.advance(TOUCH_SECONDS)
    answers = loop.ask(session_id)
    loop.waited.advance(LOOKUP_TIMEOUT_SECONDS)  # what else there is to do before it is sent does not count
    loop.pipeline.flush()
    loop.pipeline.expire_overdue()
    assert answers == []
    wait_until(lambda: bool(loop.poller.select(0)), what="the answer is there")

    loop.waited.advance(LOOKUP_TIMEOUT_SECONDS)
    loop.pipeline.expire_overdue()

    assert answers == [USER]
    wait_until(lambda: store.get(session_id).record.last_seen_at == store.now(), what="its clock is moved")
    assert loop.answer(session_id) == USER


def test_a_connection_that_breaks_leaves_all_to_others_and_is_made_again_after_a_pause(
    proxied: Loop, proxy: FaultProxy, session_id: SessionId
) -> None:
    proxy.blackhole()
    answers = [proxied.ask(session_id) for _ in range(3)]
    proxied.turn()

    proxy.refuse()

    proxied.turn_until(lambda: all(answers), what="all are left to others")
    assert answers == [[None]] * 3
    proxy.pass_on()
    assert not proxied.pipeline.submit(session_id, print)
    assert proxied.soon.empty()
    proxied.waited.advance(BACK_OFF_SECONDS)
    proxied.open(session_id)
    assert proxied.answer(session_id) == USER


def test_a_redis_that_is_away_is_looked_for_once_in_a_while(
    tmp_path: Path, store: SessionStore, session_id: SessionId
) -> None:
    server = RedisServer(tmp_path)
    loop = Loop(server.url, store)
    assert not loop.pipeline.submit(session_id, print)
    function, *arguments = loop.soon.get()
    function(*arguments)

    server.start()
    try:
        assert not loop.pipeline.submit(session_id, print)
        assert loop.soon.empty()
        loop.waited.advance(BACK_OFF_SECONDS)
        loop.open(session_id)
    finally:
        loop.pipeline.close()
        server.stop()


def test_a_redis_that_does_not_answer_a_greeting_is_not_asked(
    proxy: FaultProxy, store: SessionStore, session_id: SessionId
) -> None:
    proxy.blackhole()
    loop = Loop(proxy.url, store, options=ConnectionOptions(read_timeout_seconds=0.2))
    assert not loop.pipeline.submit(session_id, print)

    function, *arguments = loop.soon.get()
    function(*arguments)

    assert arguments == [None]
    assert not loop.poller.get_map()


def test_what_nobody_asked_for_ends_the_connection(loop: Loop, session_id: SessionId) -> None:
    loop.pipeline._socket.send(b"PING\r\n")  # behind its back

    loop.turn_until(lambda: not loop.poller.get_map(), what="the connection is given up")

    assert not loop.pipeline.submit(session_id, print)


def test_what_is_no_answer_ends_the_connection(loop: Loop, session_id: SessionId) -> None:
    loop.pipeline._reader.feed(b"?\r\n")

    answers = loop.ask(session_id)

    loop.turn_until(lambda: bool(answers), what="it is left to others")
    assert answers == [None]


def test_a_connection_that_takes_nothing_is_not_waited_for(loop: Loop, session_id: SessionId) -> None:
    loop.pipeline._socket.shutdown(socket.SHUT_WR)

    answers = loop.ask(session_id)
    loop.pipeline.flush()

    assert answers == [None]
    loop.pipeline._receive()  # which the poller may just have seen coming


def test_no_more_is_asked_than_can_be_waited_for(proxied: Loop, proxy: FaultProxy, session_id: SessionId) -> None:
    proxy.blackhole()
    answers = [proxied.ask(session_id) for _ in range(MAX_PENDING)]

    assert not proxied.pipeline.submit(session_id, print)

    proxied.turn()
    proxied.waited.advance(LOOKUP_TIMEOUT_SECONDS)
    proxied.turn()
    assert answers == [[None]] * MAX_PENDING


def test_a_redis_that_has_moved_is_looked_for_again(loop: Loop, session_id: SessionId) -> None:
    """What was the master goes on answering reads, from what it knew."""
    loop.moves += 1

    assert not loop.pipeline.submit(session_id, print)

    loop.waited.advance(BACK_OFF_SECONDS)
    loop.open(session_id)
    assert loop.answer(session_id) == USER


def test_what_is_found_is_remembered_and_what_is_not_takes_no_place(
    the_redis_server: RedisServer, store: SessionStore, session_id: SessionId, clock: Clock
) -> None:
    cache = NearCache(seconds=2, clock=clock)
    cache.enable()
    wrong = SessionId.new(dataclasses.replace(USER, openid="oNobody"))
    with looping(the_redis_server.url, store, session_id, cache) as loop:
        loop.answer(wrong)
        assert loop.answer(session_id) == USER

    assert cache.find(session_id) == USER
    assert wrong.user_hash not in cache._users


def test_what_changed_since_it_was_asked_is_not_remembered(
    the_redis_server: RedisServer, store: SessionStore, session_id: SessionId, clock: Clock
) -> None:
    cache = NearCache(seconds=2, clock=clock)
    with looping(the_redis_server.url, store, session_id, cache) as loop:
        cache.enable()
        answers = loop.ask(session_id)
        loop.pipeline.flush()
        cache.invalidate([session_id.user_hash])
        loop.turn_until(lambda: bool(answers), what="it is answered")

    assert answers == [USER]
    assert cache.find(session_id) is None


def test_a_connection_that_redis_ends_leaves_all_to_others(
    loop: Loop, session_id: SessionId, real_redis: Redis
) -> None:
    real_redis.client_kill_filter(_type="normal", skipme=True)

    answers = loop.ask(session_id)

    loop.turn_until(lambda: bool(answers), what="it is left to others")
    assert answers == [None]


def test_what_is_remembered_is_forgotten_when_the_session_ends_by_itself(
    the_redis_server: RedisServer, store: SessionStore, session_id: SessionId, clock: Clock
) -> None:
    cache = NearCache(seconds=60, clock=clock)
    cache.enable()
    with looping(the_redis_server.url, store, session_id, cache) as loop:
        clock.advance(IDLE - 1)
        assert loop.answer(session_id) == USER
        loop.turn_until(lambda: not loop.pipeline._sent, what="its clock is moved")
        cache.invalidate([session_id.user_hash])
        clock.advance(TOUCH_SECONDS - 1)

        assert loop.answer(session_id) == USER

    assert cache.find(session_id) == USER
    clock.advance(1)  # the clock is due
    assert cache.find(session_id) is None


def test_over_a_socket_many_clocks_that_are_due_are_no_trouble(tmp_path: Path, clock: Clock) -> None:
    """Each takes more than a question does, and a socket takes little at a time."""
    path = tmp_path / "redis.sock"
    with redis_server(tmp_path, options=("--unixsocket", str(path), "--unixsocketperm", "700")) as server:
        users = [dataclasses.replace(USER, openid=f"oUser-{number:022}") for number in range(MAX_PENDING - 1)]
        with contextlib.closing(client_of(server.url, PATIENT)) as client:
            store = store_on(client, clock)
            ids = [log_in(store, user) for user in users]
            loop = Loop(f"unix://{path}", store)
            loop.open(ids[0])
            clock.advance(TOUCH_SECONDS)

            for _ in range(len(users) // MAX_TOUCHES + 1):
                asked = [loop.ask(session_id) for session_id in ids]
                loop.turn_until(lambda: all(asked) and not loop.pipeline._sent, what="all are answered")  # noqa: B023  # called before the next turn
                assert asked == [[user] for user in users]

            assert {store.get(session_id).record.last_seen_at for session_id in ids} == {store.now()}
            loop.pipeline.close()
    assert {*loop.calls} == {"ok"}


def test_what_redis_does_not_take_now_it_takes_the_next_time(loop: Loop, session_id: SessionId) -> None:
    real = loop.pipeline._socket

    class Narrow:
        """A socket that takes ten bytes, and then none, each time."""

        def __init__(self) -> None:
            self.is_full = False

        def send(self, data: memoryview) -> int:
            self.is_full = not self.is_full
            if not self.is_full:
                raise BlockingIOError
            return int(real.send(data[:10]))

    answers = loop.ask(session_id)
    loop.pipeline._socket = Narrow()
    loop.pipeline.flush()
    assert loop.pipeline.poll_timeout() < LOOKUP_TIMEOUT_SECONDS
    for _ in range(20):
        loop.pipeline.flush()
    loop.pipeline._socket = real

    loop.turn_until(lambda: bool(answers), what="it is answered")
    assert answers == [USER]


def test_whether_there_is_a_connection_is_told(loop: Loop, session_id: SessionId) -> None:
    assert loop.changes == [True]

    loop.pipeline.close()

    assert loop.changes == [True, False]
    loop.pipeline.close()
    assert loop.changes == [True, False]


def test_a_redis_that_is_far_away_is_tried_less_and_less_often(
    proxied: Loop, proxy: FaultProxy, session_id: SessionId
) -> None:
    for seconds in (1, 2, 4, 8):
        proxy.blackhole()
        proxied.ask(session_id)
        proxied.turn()
        proxied.waited.advance(LOOKUP_TIMEOUT_SECONDS)
        proxied.turn()
        assert proxied.calls[-1] == "timeout"
        proxy.pass_on()

        proxied.waited.advance(seconds - 0.1)
        assert not proxied.pipeline.submit(session_id, print)
        assert not proxied.pipeline._is_connecting
        proxied.waited.advance(0.1)
        proxied.open(session_id)

    proxied.waited.advance(STABLE_AFTER_SECONDS + 1)
    proxied.pipeline.close()
    proxied.waited.advance(BACK_OFF_SECONDS)
    proxied.open(session_id)


@pytest.mark.parametrize("error", [RuntimeError("no more threads"), UnicodeError("no name")], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_any_kind_is_not_the_last_try(loop: Loop, session_id: SessionId, error: Exception) -> None:
    loop.pipeline.close()
    connect = loop.pipeline._connect

    def fail() -> Redis:
        raise error

    loop.pipeline._connect = fail
    loop.waited.advance(BACK_OFF_SECONDS)
    assert not loop.pipeline.submit(session_id, print)
    function, *arguments = loop.soon.get(timeout=20)
    function(*arguments)

    loop.pipeline._connect = connect
    loop.waited.advance(BACK_OFF_SECONDS)
    loop.open(session_id)


def test_without_a_thread_to_connect_on_it_is_tried_later(
    loop: Loop, session_id: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    loop.pipeline.close()
    loop.waited.advance(BACK_OFF_SECONDS)
    with monkeypatch.context() as changed:
        changed.setattr(threading.Thread, "start", fail)
        assert not loop.pipeline.submit(session_id, print)

    loop.waited.advance(BACK_OFF_SECONDS)
    loop.open(session_id)


def test_without_a_poller_nothing_is_asked(the_redis_server: RedisServer, store: SessionStore) -> None:
    lookups = SessionLookupPipeline(lambda: connected(the_redis_server.url, timeout_seconds=5), store)

    assert not lookups.submit(SessionId.new(USER), print)
    lookups.flush()
    lookups.close()
