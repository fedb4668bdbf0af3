"""Sessions looked up in Redis by whoever waits for connections and must not wait for anything else.

The commands of all requests that came at once go out in one piece over one connection, and the answers are taken
as they come. What is not as it should be (an answer that is late, an error, a session that is none) is left to
those who may wait, and ask again in their own way (`SessionChecks`).
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

from wxlogin.sessions.near_cache import NearCache, Sessions
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import SessionStore, StoredSession

PATIENCE_SECONDS = 0.05
PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 10.0
MOST_ASKED = 1_000
MOST_TOUCHED = 100  # at once: each takes a kilobyte and a half, and who is not is still due the next time
_CHUNK_BYTES = 65_536
_TURN_SECONDS = 0.001

Then = Callable[[User | None], None]
Defer = Callable[..., None]


@dataclasses.dataclass(slots=True)
class _Asked:
    command: bytes
    session_id: SessionId
    then: Then | None  # or nobody is told: a clock was moved
    sessions: Sessions
    sent_at: float = 0.0


class Lookups:
    """Look sessions up and have somebody told, on the thread of a poller; nothing but `attach` is for others.

    A session whose idle clock is due is found all the same, and the clock is moved, once, without waiting for it.

    ``connect`` returns a client, whose connections show where Redis is and how to get there. ``moves`` says how
    often others have found that Redis is somewhere else by now. ``on_call`` is told of each answer: ``ok``, and
    how many seconds it took; and of ``timeout``. ``on_change`` is told whether there is a connection.
    """

    def __init__(
        self,
        connect: Callable[[], Redis],
        store: SessionStore,
        cache: NearCache | None = None,
        *,
        moves: Callable[[], int] = lambda: 0,
        on_call: Callable[[str, float], object] = lambda _outcome, _seconds: None,
        on_change: Callable[[bool], object] = bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._store = store
        self._cache = cache
        self._moves = moves
        self._moved = 0
        self._on_call = on_call
        self._on_change = on_change
        self._clock = clock
        self._poller: selectors.BaseSelector | None = None
        self._defer: Defer = lambda *_: None
        self._connection: Any = None
        self._socket: Any = None
        self._reader = hiredis.Reader()
        self._is_opening = False
        self._opens_at = self._opened_at = 0.0
        self._failures = 0
        self._rest = memoryview(b"")
        self._unsent: list[_Asked] = []
        self._asked: deque[_Asked] = deque()
        self._touching: set[SessionId] = set()

    def attach(self, poller: selectors.BaseSelector, defer: Defer) -> None:
        """Be called by what ``poller`` selects; ``defer`` has its thread call something soon, from any other."""
        self._poller, self._defer = poller, defer

    def ask(self, session_id: SessionId, then: Then) -> bool:
        """Have ``then`` called with whose session it is, or with None if somebody else has to find out.

        False if it will not be: there is no connection (yet).
        """
        if self._socket and self._moves() != self._moved:
            self.close()
        if self._socket is None:
            self._open()
            return False
        if len(self._asked) + len(self._unsent) >= MOST_ASKED:
            return False
        sessions = self._cache.expect(session_id) if self._cache else {}
        self._unsent.append(_Asked(_packed("HGET", session_id.key, session_id.field), session_id, then, sessions))
        return True

    def send(self) -> None:
        """Send what was asked since, or as much of it as Redis takes now."""
        if self._unsent:
            now, commands = self._clock(), [asked.command for asked in self._unsent]
            for asked in self._unsent:
                asked.sent_at = now
            self._asked.extend(self._unsent)
            self._unsent, self._rest = [], memoryview(b"".join([self._rest, *commands]))
        try:
            while self._rest:
                self._rest = self._rest[self._socket.send(self._rest) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass  # the rest of it goes out with the next turn
        except OSError:
            self.close()

    def seconds_of_patience(self) -> float:
        """Return how soon to call `lose_patience`."""
        if not self._asked:
            return PAUSE_SECONDS
        if self._rest:
            return _TURN_SECONDS
        return self._left()

    def _left(self) -> float:
        return max(0.0, self._asked[0].sent_at + PATIENCE_SECONDS - self._clock())

    def lose_patience(self) -> None:
        """Leave all that was asked to others if the first answer is late."""
        if self._asked and not self._left():
            self._receive()  # it may be there, and we are late
            self.send()
            if self._asked and not self._left():
                self._on_call("timeout", PATIENCE_SECONDS)
                self.close()

    def close(self) -> None:
        """Leave all that was asked to others, and all that will be for a while."""
        left = [*self._asked, *self._unsent]
        self._asked, self._unsent, self._rest, self._touching = deque(), [], memoryview(b""), set()
        if self._connection:
            self._note_end()
            self._poller.unregister(self._socket)  # type: ignore[union-attr]  # there is one since it was opened
            self._connection.disconnect()
        self._connection = self._socket = None
        self._opens_at = self._clock() + self._pause_seconds()
        for asked in left:
            self._leave(asked)

    def _note_end(self) -> None:
        """A connection that broke, or fell silent, soon after it was made: the next one may do so as well."""
        lasted = self._clock() - self._opened_at
        self._failures = 0 if lasted > STEADY_SECONDS else self._failures + 1
        self._on_change(False)

    def _pause_seconds(self) -> float:
        return min(PAUSE_SECONDS * (1 << max(0, self._failures - 1)), MOST_PAUSE_SECONDS)

    # Answers

    def _receive(self, _socket: object = None) -> None:
        if self._socket is None:  # closed since the poller saw that something is there
            return
        try:
            self._feed()
            while self._asked and (answer := self._reader.gets()) is not False:
                self._take(self._asked.popleft(), answer)
        except (OSError, hiredis.ProtocolError):
            self.close()
        if not self._asked and self._reader.has_data():  # nobody asked for that
            self.close()

    def _feed(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                chunk = self._socket.recv(_CHUNK_BYTES)
                if not chunk:
                    raise ConnectionResetError
                self._reader.feed(chunk)

    def _take(self, asked: _Asked, answer: object) -> None:
        if isinstance(answer, Exception):
            self._refuse(asked)
            return
        self._on_call("ok", self._clock() - asked.sent_at)
        if asked.then is None:
            self._touching.discard(asked.session_id)
        else:
            self._tell(asked, asked.then, answer)

    def _refuse(self, asked: _Asked) -> None:
        """Leave a request to others; and all of them, if Redis answers, but takes no changes: they see to that."""
        if asked.then:
            self._leave(asked)
        else:
            self.close()

    def _tell(self, asked: _Asked, then: Then, answer: object) -> None:
        stored = self._store.read(asked.session_id, answer) if isinstance(answer, bytes) else None
        if stored is None:
            self._leave(asked)
            return
        if self._store.is_due(stored):
            self._touch(stored)
        if self._cache:
            seconds = self._store.seconds_of_rest(stored)
            self._cache.keep(asked.session_id, asked.sessions, stored.record.user, seconds=seconds)
        then(stored.record.user)

    def _touch(self, stored: StoredSession) -> None:
        if stored.session_id not in self._touching and len(self._touching) < MOST_TOUCHED:
            self._touching.add(stored.session_id)
            self._unsent.append(
                _Asked(_packed("EVAL", *self._store.touching(stored)), stored.session_id, None, {})
            )

    def _leave(self, asked: _Asked) -> None:
        if self._cache:
            self._cache.give_up(asked.session_id, asked.sessions)
        if asked.then:
            asked.then(None)

    # The connection

    def _open(self) -> None:
        if self._poller and not self._is_opening and self._clock() >= self._opens_at:
            self._is_opening, self._moved = True, self._moves()
            self._opens_at = self._clock() + PAUSE_SECONDS
            try:
                threading.Thread(target=self._open_here, name="lookups", daemon=True).start()
            except RuntimeError:  # there can be no more threads for now
                self._is_opening = False

    def _open_here(self) -> None:
        connection = None
        try:
            with contextlib.suppress(RedisError, OSError):
                connection = _connection_of(self._connect())
        finally:
            self._defer(self._opened, connection)

    def _opened(self, connection: Any) -> None:
        self._is_opening = False
        if connection is None:
            self._opens_at = self._clock() + PAUSE_SECONDS
            return
        self._connection, self._reader = connection, hiredis.Reader()
        self._socket = connection._sock  # noqa: SLF001  # redis-py reads no more from it
        self._socket.setblocking(False)
        self._poller.register(self._socket, selectors.EVENT_READ, self._receive)  # type: ignore[union-attr]
        self._opened_at = self._clock()
        self._on_change(True)


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
