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

MOST_USERS = 10_000
MOST_SESSIONS = 20  # of one user


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    user: User
    since: float
    until: float


Sessions = dict[str, _Known]
"""What is known of a user's sessions, by the random part of the id."""


class NearCache:
    """Remember whose sessions are, for ``seconds`` at the most. Thread-safe.

    A dict of a user's sessions is its own proof: what was read while it was replaced, or dropped, is not kept.
    """

    def __init__(
        self, *, seconds: float, most_users: int = MOST_USERS, clock: Callable[[], float] = time.time
    ) -> None:
        self.is_open = False
        self._seconds = seconds
        self._most_users = most_users
        self._clock = clock
        self._users: dict[str, Sessions] = {}
        self._changing = threading.Lock()

    def find(self, session_id: SessionId) -> User | None:
        """Return whose session it is, if that is known to be right."""
        sessions = self._users.get(session_id.user_hash)
        known = sessions.get(session_id.random) if sessions else None
        if known and known.since <= self._clock() < known.until:  # a clock that was put back proves nothing
            return known.user
        return None

    def expect(self, session_id: SessionId) -> Sessions:
        """Return where to `keep` what is read from now on."""
        with self._changing:
            if not self.is_open:
                return {}
            sessions = self._users.setdefault(session_id.user_hash, {})
            if len(self._users) > self._most_users:
                del self._users[next(iter(self._users))]
            return sessions

    def keep(self, session_id: SessionId, sessions: Sessions, user: User, *, seconds: float) -> None:
        """Remember whose session it is, for so long at the most, unless it may have changed since `expect`."""
        now = self._clock()
        with self._changing:
            if self._users.get(session_id.user_hash) is sessions and len(sessions) < MOST_SESSIONS:
                sessions[session_id.random] = _Known(user, now, now + min(seconds, self._seconds))

    def give_up(self, session_id: SessionId, sessions: Sessions) -> None:
        """Take note that there is nothing to keep: an id that was guessed takes nobody's place."""
        with self._changing:
            if not sessions and self._users.get(session_id.user_hash) is sessions:
                del self._users[session_id.user_hash]

    def forget(self, user_hashes: Iterable[str]) -> None:
        """Forget the sessions of users: they have changed, or may have."""
        with self._changing:
            for user_hash in user_hashes:
                self._users.pop(user_hash, None)

    def open(self) -> None:
        """Begin anew: from now on, somebody tells of changes."""
        with self._changing:
            self._users, self.is_open = {}, True

    def close(self) -> None:
        """Forget all, and learn nothing: nobody tells of changes."""
        with self._changing:
            self._users, self.is_open = {}, False
