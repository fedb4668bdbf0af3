"""Whose a session is, for checks that need to know no more: from memory, where that is known to be right."""

from __future__ import annotations

from typing import Protocol

from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn, SessionStore, StoredSession
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.invalidation import InvalidationListener
from wxlogin.sessions.verification.pipeline import SessionLookupPipeline


class Verifier(Protocol):
    """What says whose a session is, in its own way."""

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is, or raise."""


class NotCached(Exception):
    """Raised if somebody has to be asked whose session it is."""

    def __init__(self, session_id: SessionId) -> None:
        super().__init__("not remembered")
        self.session_id = session_id


class CachedVerifier:
    """Say whose a session is if that is known."""

    def __init__(self, cache: NearCache | None) -> None:
        self._cache = cache

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is, or raise `NotCached`."""
        user = self._cache.find(session_id) if self._cache else None
        if user is None:
            raise NotCached(session_id)
        return user


class SessionVerifier:
    """Look sessions up and move their idle clocks. Thread-safe.

    ``cache`` is asked first, if there is one, and is kept right by ``listener`` and by ``store``'s changes.
    ``pipeline`` is for those who can't wait.
    """

    def __init__(
        self,
        store: SessionStore,
        cache: NearCache | None = None,
        listener: InvalidationListener | None = None,
        pipeline: SessionLookupPipeline | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._listener = listener
        self.pipeline = pipeline
        self.cached = CachedVerifier(cache)

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
        if self._cache is None:
            return self._look_up(session_id).record.user
        return self._cache.find(session_id) or self._look_up_and_keep(session_id, self._cache)

    def _look_up(self, session_id: SessionId) -> StoredSession:
        stored = self._store.get(session_id)
        self._store.touch(stored)
        return stored

    def _look_up_and_keep(self, session_id: SessionId, cache: NearCache) -> User:
        if self._listener:
            self._listener.start()
        sessions = cache.begin_fill(session_id)
        try:
            stored = self._look_up(session_id)
        except NotLoggedIn:
            cache.cancel_fill(session_id, sessions)
            raise
        cache.fill(session_id, sessions, stored.record.user, seconds=self._store.seconds_until_change(stored))
        return stored.record.user
