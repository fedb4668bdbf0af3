"""Whose the sessions seen lately are, kept in this process: most checks need no round trip then.

What is known of a session is good until it changes, its idle clock is due or it expires, and for a few seconds
at the most. Nothing is known while nobody tells of changes. Neither a ``session_key`` nor anything else of a
record is kept.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable

from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId

MAX_USERS = 10_000
MAX_SESSIONS_PER_USER = 20  # of one user


@dataclasses.dataclass(frozen=True, slots=True)
class _CachedSession:
    user: User
    since: float
    until: float


CachedSessions = dict[str, _CachedSession]
"""What is known of a user's sessions, by the random part of the id."""


class NearCache:
    """Remember whose sessions are, for ``seconds`` at the most. Thread-safe.

    A dict of a user's sessions is its own proof: what was read while it was replaced, or dropped, is not kept.
    """

    def __init__(
        self, *, seconds: float, max_users: int = MAX_USERS, clock: Callable[[], float] = time.time
    ) -> None:
        self.is_enabled = False
        self._seconds = seconds
        self._max_users = max_users
        self._clock = clock
        self._users: dict[str, CachedSessions] = {}
        self._lock = threading.Lock()

    def find(self, session_id: SessionId) -> User | None:
        """Return whose session it is, if that is known to be right."""
        sessions = self._users.get(session_id.user_hash)
        known = sessions.get(session_id.random) if sessions else None
        if known and known.since <= self._clock() < known.until:  # a clock that was put back proves nothing
            return known.user
        return None

    def begin_fill(self, session_id: SessionId) -> CachedSessions:
        """Return where to `fill` in what is read from now on."""
        with self._lock:
            if not self.is_enabled:
                return {}
            sessions = self._users.setdefault(session_id.user_hash, {})
            if len(self._users) > self._max_users:
                del self._users[next(iter(self._users))]
            return sessions

    def fill(self, session_id: SessionId, sessions: CachedSessions, user: User, *, seconds: float) -> None:
        """Remember whose session it is, for so long at the most, unless it may have changed since `begin_fill`."""
        now = self._clock()
        with self._lock:
            if self._users.get(session_id.user_hash) is sessions and len(sessions) < MAX_SESSIONS_PER_USER:
                sessions[session_id.random] = _CachedSession(user, now, now + min(seconds, self._seconds))

    def cancel_fill(self, session_id: SessionId, sessions: CachedSessions) -> None:
        """Take note that there is nothing to keep: an id that was guessed takes nobody's place."""
        with self._lock:
            if not sessions and self._users.get(session_id.user_hash) is sessions:
                del self._users[session_id.user_hash]

    def invalidate(self, user_hashes: Iterable[str]) -> None:
        """Forget the sessions of users: they have changed, or may have."""
        with self._lock:
            for user_hash in user_hashes:
                self._users.pop(user_hash, None)

    def enable(self) -> None:
        """Begin anew: from now on, somebody tells of changes."""
        with self._lock:
            self._users, self.is_enabled = {}, True

    def disable(self) -> None:
        """Forget all, and learn nothing: nobody tells of changes."""
        with self._lock:
            self._users, self.is_enabled = {}, False
