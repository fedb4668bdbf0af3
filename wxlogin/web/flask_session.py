"""``flask.session`` on our store: Flask-Session's interface, with what it gets wrong for logins overridden."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from flask import Flask, Request, Response
from flask.sessions import SessionMixin
from flask_session.base import ServerSideSessionInterface
from werkzeug.http import dump_cookie

from wxlogin.observability import logging as logs
from wxlogin.sessions.record import SessionRecord
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import ListedSession, NotLoggedIn, SessionStore, StoredSession
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.session_id_extractor import COOKIE_NAME, find_session_id

logger = logging.getLogger(__name__)

_CREDENTIAL_HEADERS = ("Cookie", "Authorization", COOKIE_NAME)


class Session(SessionMixin):
    """The caller's session, read from Redis when somebody first looks at it.

    As a mapping it has the fields of the record, to read: only `start` makes a session and only `end` (or
    ``clear``) ends one, both at once, so that what went wrong is known before anything is answered.
    """

    def __init__(self, store: SessionStore, session_id: SessionId | None) -> None:
        self._store = store
        self._stored: StoredSession | None = None
        self._missing: NotLoggedIn | None = None
        self.session_id = session_id
        self.accessed = self.is_started = self.is_ended = False

    @property
    def stored(self) -> StoredSession:
        """The session as it stands in Redis; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
        self.accessed = True
        if self.session_id is None:
            raise NotLoggedIn
        if self._missing:
            raise self._missing
        if self._stored is None:
            self._stored = self._look_up(self.session_id)
        return self._stored

    def _look_up(self, session_id: SessionId) -> StoredSession:
        try:
            stored = self._store.get(session_id)
        except NotLoggedIn as error:
            self._missing = error
            raise
        logs.bind_user(session_id.user_hash)
        return stored

    @property
    def record(self) -> SessionRecord:
        """What the session remembers; raises what `stored` does."""
        return self.stored.record

    def start(self, stored: StoredSession) -> None:
        """Make a session that a login has stored the request's: the client gets its id in a cookie."""
        self._adopt(stored)

    def rotate_id(self) -> SessionId:
        """Go on under a new id, both clocks running on; raises what `stored` does."""
        return self._adopt(self._store.rotate_id(self.stored))

    def update_session_key(self, session_key: str) -> None:
        """Remember another ``session_key`` instead, also if the session is written to meanwhile.

        Raises what `stored` does: what has ended meanwhile stays ended.
        """
        for _ in range(2):
            read, self._stored = self.stored, None
            record = dataclasses.replace(read.record, session_key=session_key, last_seen_at=self._store.now())
            if self._store.update_if_unchanged(read, record):
                return
        raise StoreUnavailable("the session is written to all the time")

    def _adopt(self, stored: StoredSession) -> SessionId:
        logs.bind_user(stored.session_id.user_hash)
        self._stored, self._missing = stored, None
        self.session_id, self.is_started, self.is_ended = stored.session_id, True, False
        return self.session_id

    def end(self) -> None:
        """Log out; raises `StoreUnavailable`."""
        if self.session_id:
            self._store.delete(self.session_id)
        self._forget()

    def _forget(self) -> None:
        self.session_id, self._stored, self.is_started, self.is_ended = None, None, False, True

    def session_keys(self) -> Sequence[str]:
        """Return what `SessionStore.session_keys` does for this session's user; raises what `stored` does."""
        return self._store.session_keys(self.stored.session_id.user_hash)

    def list_for_user(self) -> list[ListedSession]:
        """Return all sessions of this one's user, the newest first; raises what `stored` does."""
        return self._store.list(self.stored.session_id.user_hash)

    def revoke(self, handle: str) -> None:
        """End the session of the same user that has this handle, be it this one; raises what `stored` does."""
        own = self.stored.session_id
        self._store.delete_by_handle(
            own.user_hash, handle, cause="logout" if handle == own.field else "other_device"
        )
        if handle == own.field:
            self._forget()

    def revoke_all(self, *, include_current: bool) -> None:
        """End all other sessions of the same user, or all of them; raises what `stored` does."""
        own = self.stored.session_id
        self._store.delete_all(own.user_hash, except_handle="" if include_current else own.field)
        if include_current:
            self._forget()

    def touch(self) -> None:
        """Move the idle clock if it is due; what has ended meanwhile stays ended, and no harm comes of failing."""
        if self._stored:
            self._store.touch(self._stored)

    def clear(self) -> None:
        """Log out, as ``session.clear()`` does elsewhere in Flask."""
        self.end()

    def __getitem__(self, name: str) -> Any:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __setitem__(self, name: str, value: Any) -> NoReturn:
        raise TypeError("a session remembers a login and no more: there is nothing to set")

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError("a session is ended as a whole: there is nothing to delete")

    def _values(self) -> dict[str, Any]:
        try:
            return self.record.as_dict()
        except NotLoggedIn:
            return {}


class SessionInterface(ServerSideSessionInterface):  # type: ignore[misc]  # Flask-Session ships no types
    """Find the id that came with a request, and answer with a cookie where a session was started or ended."""

    session_class = Session

    def __init__(self, app: Flask, store: SessionStore) -> None:
        super().__init__(app)
        self._store = store

    def open_session(self, app: Flask, request: Request) -> Session:
        """Return the request's session, not yet read: most routes don't need one, and some mustn't."""
        return Session(self._store, find_session_id(request.environ))

    def save_session(self, app: Flask, session: Session, response: Response) -> None:
        """Write what changed, and set or clear the cookie."""
        session.touch()
        if session.accessed:
            response.vary.update(_CREDENTIAL_HEADERS)
        if session.is_started and session.session_id:
            self._set_cookie(app, response, session.session_id.text, self._store.lifetimes.absolute)
        elif session.is_ended:
            self._set_cookie(app, response, "", 0)

    def _set_cookie(self, app: Flask, response: Response, value: str, max_age: int) -> None:
        cookie = dump_cookie(
            COOKIE_NAME,
            value,
            max_age=max_age,
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            httponly=self.get_cookie_httponly(app),
            samesite=self.get_cookie_samesite(app),
            sync_expires=False,  # the comma in an Expires breaks the clients that split at commas
        )
        response.headers.set("Set-Cookie", cookie)

    def regenerate(self, session: Session) -> None:
        """Give a logged-in user a new id in place of this one; raises what `Session.record` does."""
        session.rotate_id()

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        return dict(Session(self._store, SessionId.parse(store_id))) or None

    def _delete_session(self, store_id: str) -> None:
        Session(self._store, SessionId.parse(store_id)).end()

    def _upsert_session(self, session_lifetime: timedelta, session: Session, store_id: str) -> None:
        session.touch()
