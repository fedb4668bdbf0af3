"""Whose a session is, for checks that need to know no more: from memory, where that is known to be right."""

from __future__ import annotations

from wxlogin.sessions.invalidations import Invalidations
from wxlogin.sessions.near_cache import NearCache
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn, SessionStore, StoredSession


class SessionChecks:
    """Look sessions up and move their idle clocks. Thread-safe.

    ``cache`` is asked first, if there is one, and is kept right by ``invalidations`` and by ``store``'s changes.
    """

    def __init__(
        self,
        store: SessionStore,
        cache: NearCache | None = None,
        invalidations: Invalidations | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._invalidations = invalidations

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
        if self._cache is None:
            return self._look_up(session_id).record.user
        return self._cache.find(session_id) or self._look_up_and_keep(session_id, self._cache)

    def _look_up(self, session_id: SessionId) -> StoredSession:
        stored = self._store.load(session_id)
        self._store.touch(stored)
        return stored

    def _look_up_and_keep(self, session_id: SessionId, cache: NearCache) -> User:
        if self._invalidations:
            self._invalidations.start()
        sessions = cache.expect(session_id)
        try:
            stored = self._look_up(session_id)
        except NotLoggedIn:
            cache.give_up(session_id, sessions)
            raise
        cache.keep(session_id, sessions, stored.record.user, seconds=self._store.seconds_of_rest(stored))
        return stored.record.user
