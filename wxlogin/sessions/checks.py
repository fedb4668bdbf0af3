"""Whose a session is, for checks that need to know no more."""

from __future__ import annotations

from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import SessionStore


class SessionChecks:
    """Look sessions up and move their idle clocks. Thread-safe."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
        stored = self._store.load(session_id)
        self._store.touch(stored)
        return stored.record.user
