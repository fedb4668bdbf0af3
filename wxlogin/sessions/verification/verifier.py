"""Whose session is it: from memory where that is known to be right, else from Redis."""

from __future__ import annotations

from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn, SessionStore, StoredSession
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.invalidation import InvalidationListener
from wxlogin.sessions.verification.pipeline import LookupCallback, SessionLookupPipeline


class SessionVerifier:
    """Look sessions up, and extend their idle clocks. Thread-safe.

    ``cache`` is asked first, if there is one; ``listener`` and the changes of ``store`` keep it right.
    ``pipeline`` looks up for callers that can't wait.
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
        self.try_cached = cache.find if cache else _find_nothing
        """Return whose session an id is, if that is known without asking Redis, or None."""

    def submit(self, session_id: SessionId, callback: LookupCallback) -> bool:
        """Have ``callback`` called, on the thread of the pipeline, with whose session it is; False if it won't be.

        It is called with None if a thread has to look it up.
        """
        return self.pipeline is not None and self.pipeline.submit(session_id, callback)

    def get(self, session_id: SessionId) -> User:
        """Return whose session it is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
        return self.try_cached(session_id) or self._look_up(session_id)

    def _look_up(self, session_id: SessionId) -> User:
        cache = self._cache
        if cache is None:
            return self._read(session_id).record.user
        if self._listener:
            self._listener.start()
        sessions = cache.begin_fill(session_id)
        try:
            stored = self._read(session_id)
        except NotLoggedIn:
            cache.cancel_fill(session_id, sessions)
            raise
        cache.fill(session_id, sessions, stored.record.user, seconds=self._store.seconds_until_change(stored))
        return stored.record.user

    def _read(self, session_id: SessionId) -> StoredSession:
        stored = self._store.get(session_id)
        self._store.touch(stored)
        return stored


def _find_nothing(_session_id: SessionId) -> None:
    return None
