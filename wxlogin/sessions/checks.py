"""Whose a session is, for checks that need to know no more: from memory, where that is known to be right."""

from __future__ import annotations

from typing import Protocol

from wxlogin.sessions.invalidations import Invalidations
from wxlogin.sessions.lookups import Lookups
from wxlogin.sessions.near_cache import NearCache
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn, SessionStore, StoredSession


class Checks(Protocol):
    """What says whose a session is, in its own way."""

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is, or raise."""


class NotRemembered(Exception):
    """Raised if somebody has to be asked whose session it is."""

    def __init__(self, session_id: SessionId) -> None:
        super().__init__("not remembered")
        self.session_id = session_id


class Remembered:
    """Say whose a session is if that is known."""

    def __init__(self, cache: NearCache | None) -> None:
        self._cache = cache

    def user_of(self, session_id: SessionId) -> User:
        """Return whose session it is, or raise `NotRemembered`."""
        user = self._cache.find(session_id) if self._cache else None
        if user is None:
            raise NotRemembered(session_id)
        return user


class SessionChecks:
    """Look sessions up and move their idle clocks. Thread-safe.

    ``cache`` is asked first, if there is one, and is kept right by ``invalidations`` and by ``store``'s changes.
    ``lookups`` is for those who can't wait.
    """

    def __init__(
        self,
        store: SessionStore,
        cache: NearCache | None = None,
        invalidations: Invalidations | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._invalidations = invalidations
        self.lookups = lookups
        self.remembered = Remembered(cache)

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
