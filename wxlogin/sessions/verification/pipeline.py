"""Sessions looked up in Redis by whoever waits for connections and must not wait for anything else.

The commands of all requests that came at once go out in one piece over one connection, and the answers are taken
as they come. What is not as it should be (an answer that is late, an error, a session that is none) is left to
those who may wait, and ask again in their own way (`SessionVerifier`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis import Redis, RedisError

from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import SessionStore, StoredSession
from wxlogin.sessions.verification.cache import CachedSessions, NearCache

LOOKUP_TIMEOUT_SECONDS = 0.05
BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 60.0
STABLE_AFTER_SECONDS = 10.0
MAX_PENDING = 1_000
MAX_TOUCHES = 100  # at once: each takes a kilobyte and a half, and who is not is still due the next time
_CHUNK_BYTES = 65_536
_FLUSH_AGAIN_SECONDS = 0.001

LookupCallback = Callable[[User | None], None]
Defer = Callable[..., None]


@dataclasses.dataclass(slots=True)
class _Lookup:
    command: bytes
    session_id: SessionId
    callback: LookupCallback | None  # or nobody is told: a clock was moved
    fill: CachedSessions
    sent_at: float = 0.0


class SessionLookupPipeline:
    """Look sessions up and have somebody told, on the thread of a poller; nothing but `attach` is for others.

    A session whose idle clock is due is found all the same, and the clock is moved, once, without waiting for it.

    ``connect`` returns a client, whose connections show where Redis is and how to get there. ``failover_count``
    says how often others have found that Redis is somewhere else by now.
    """

    def __init__(
        self,
        connect: Callable[[], Redis],
        store: SessionStore,
        cache: NearCache | None = None,
        *,
        failover_count: Callable[[], int] = lambda: 0,
        instrumentation: Instrumentation = NULL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._store = store
        self._cache = cache
        self._failover_count = failover_count
        self._failovers_seen = 0
        self._instrumentation = instrumentation
        self._clock = clock
        self._poller: selectors.BaseSelector | None = None
        self._defer: Defer = lambda *_: None
        self._connection: Any = None
        self._socket: Any = None
        self._reader = hiredis.Reader()
        self._is_connecting = False
        self._connect_at = self._connected_at = 0.0
        self._failures = 0
        self._write_buffer = memoryview(b"")
        self._unsent: list[_Lookup] = []
        self._sent: deque[_Lookup] = deque()
        self._touching: set[SessionId] = set()

    def attach(self, poller: selectors.BaseSelector, defer: Defer) -> None:
        """Be called by what ``poller`` selects; ``defer`` has its thread call something soon, from any other."""
        self._poller, self._defer = poller, defer

    def submit(self, session_id: SessionId, callback: LookupCallback) -> bool:
        """Have ``callback`` called with whose session it is, or with None if somebody else has to find out.

        False if it will not be: there is no connection (yet).
        """
        if self._socket and self._failover_count() != self._failovers_seen:
            self.close()
        if self._socket is None:
            self._start_connecting()
            return False
        if len(self._sent) + len(self._unsent) >= MAX_PENDING:
            return False
        sessions = self._cache.begin_fill(session_id) if self._cache else {}
        self._unsent.append(
            _Lookup(_packed("HGET", session_id.key, session_id.field), session_id, callback, sessions)
        )
        return True

    def flush(self) -> None:
        """Send what was asked since, or as much of it as Redis takes now."""
        if self._unsent:
            now, commands = self._clock(), [asked.command for asked in self._unsent]
            for asked in self._unsent:
                asked.sent_at = now
            self._sent.extend(self._unsent)
            self._unsent, self._write_buffer = [], memoryview(b"".join([self._write_buffer, *commands]))
        try:
            while self._write_buffer:
                self._write_buffer = self._write_buffer[self._socket.send(self._write_buffer) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass  # the rest of it goes out with the next turn
        except OSError:
            self.close()

    def poll_timeout(self) -> float:
        """Return how soon to call `expire_overdue`."""
        if not self._sent:
            return BACK_OFF_SECONDS
        if self._write_buffer:
            return _FLUSH_AGAIN_SECONDS
        return self._seconds_until_overdue()

    def _seconds_until_overdue(self) -> float:
        return max(0.0, self._sent[0].sent_at + LOOKUP_TIMEOUT_SECONDS - self._clock())

    def expire_overdue(self) -> None:
        """Leave all that was asked to others if the first answer is late."""
        if self._sent and not self._seconds_until_overdue():
            self._receive()  # it may be there, and we are late
            self.flush()
            if self._sent and not self._seconds_until_overdue():
                self._instrumentation.redis_answered("timeout", LOOKUP_TIMEOUT_SECONDS)
                self.close()

    def close(self) -> None:
        """Leave all that was asked to others, and all that will be for a while."""
        left = [*self._sent, *self._unsent]
        self._sent, self._unsent, self._write_buffer, self._touching = deque(), [], memoryview(b""), set()
        if self._connection:
            self._record_disconnect()
            self._poller.unregister(self._socket)  # type: ignore[union-attr]  # there is one since it was opened
            self._connection.disconnect()
        self._connection = self._socket = None
        self._connect_at = self._clock() + self._back_off_seconds()
        for asked in left:
            self._fall_back(asked)

    def _record_disconnect(self) -> None:
        """A connection that broke, or fell silent, soon after it was made: the next one may do so as well."""
        lasted = self._clock() - self._connected_at
        self._failures = 0 if lasted > STABLE_AFTER_SECONDS else self._failures + 1
        self._instrumentation.session_pipeline_changed(False)

    def _back_off_seconds(self) -> float:
        return min(BACK_OFF_SECONDS * (1 << max(0, self._failures - 1)), MAX_BACK_OFF_SECONDS)

    # Answers

    def _receive(self, _socket: object = None) -> None:
        if self._socket is None:  # closed since the poller saw that something is there
            return
        try:
            self._feed()
            while self._sent and (answer := self._reader.gets()) is not False:
                self._handle_reply(self._sent.popleft(), answer)
        except (OSError, hiredis.ProtocolError):
            self.close()
        if not self._sent and self._reader.has_data():  # nobody asked for that
            self.close()

    def _feed(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                chunk = self._socket.recv(_CHUNK_BYTES)
                if not chunk:
                    raise ConnectionResetError
                self._reader.feed(chunk)

    def _handle_reply(self, asked: _Lookup, answer: object) -> None:
        if isinstance(answer, Exception):
            self._handle_error(asked)
            return
        self._instrumentation.redis_answered("ok", self._clock() - asked.sent_at)
        if asked.callback is None:
            self._touching.discard(asked.session_id)
        else:
            self._complete(asked, asked.callback, answer)

    def _handle_error(self, asked: _Lookup) -> None:
        """Leave a request to others; and all of them, if Redis answers, but takes no changes: they see to that."""
        if asked.callback:
            self._fall_back(asked)
        else:
            self.close()

    def _complete(self, asked: _Lookup, callback: LookupCallback, answer: object) -> None:
        stored = self._store.decode_value(asked.session_id, answer) if isinstance(answer, bytes) else None
        if stored is None:
            self._fall_back(asked)
            return
        if self._store.is_touch_due(stored):
            self._touch(stored)
        if self._cache:
            seconds = self._store.seconds_until_change(stored)
            self._cache.fill(asked.session_id, asked.fill, stored.record.user, seconds=seconds)
        callback(stored.record.user)

    def _touch(self, stored: StoredSession) -> None:
        if stored.session_id not in self._touching and len(self._touching) < MAX_TOUCHES:
            self._touching.add(stored.session_id)
            self._unsent.append(
                _Lookup(_packed("EVAL", *self._store.touch_script(stored)), stored.session_id, None, {})
            )

    def _fall_back(self, asked: _Lookup) -> None:
        if self._cache:
            self._cache.cancel_fill(asked.session_id, asked.fill)
        if asked.callback:
            asked.callback(None)

    # The connection

    def _start_connecting(self) -> None:
        if self._poller and not self._is_connecting and self._clock() >= self._connect_at:
            self._is_connecting, self._failovers_seen = True, self._failover_count()
            self._connect_at = self._clock() + BACK_OFF_SECONDS
            try:
                threading.Thread(target=self._connect_on_thread, name="session-pipeline", daemon=True).start()
            except RuntimeError:  # there can be no more threads for now
                self._is_connecting = False

    def _connect_on_thread(self) -> None:
        connection = None
        try:
            with contextlib.suppress(RedisError, OSError):
                connection = _connection_of(self._connect())
        finally:
            self._defer(self._connected, connection)

    def _connected(self, connection: Any) -> None:
        self._is_connecting = False
        if connection is None:
            self._connect_at = self._clock() + BACK_OFF_SECONDS
            return
        self._connection, self._reader = connection, hiredis.Reader()
        self._socket = connection._sock  # noqa: SLF001  # redis-py reads no more from it
        self._socket.setblocking(False)
        self._poller.register(self._socket, selectors.EVENT_READ, self._receive)  # type: ignore[union-attr]
        self._connected_at = self._clock()
        self._instrumentation.session_pipeline_changed(True)


def _packed(*command: Any) -> bytes:
    return bytes(hiredis.pack_command(command))


def _connection_of(client: Redis) -> Any:
    """Return a connection that has just answered, and has nothing more to say."""
    pool = client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    try:
        connection.connect()
        connection.send_command("PING")
        connection.read_response()
    except BaseException:
        connection.disconnect()
        raise
    return connection
