"""A gate in front of Flask: it lets ``GET /auth`` of users pass by itself, and hands all else on.

nginx asks for every request of every back end, so what one check costs decides what the service costs, and most of
that would be Flask's: it finds a route, makes a context, a request and a response, and calls hooks. The decision
is the route's (`wxlogin.auth.decide`), and so are the headers; who is refused gets the route's answer.

And of what is left, most would be the handing over of the request to a thread and back. The worker's own thread,
which waits for connections and must not wait for anything else, can ask the gate too (`wxlogin.worker`).
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from wxlogin import logs
from wxlogin.auth import decide
from wxlogin.metrics import Metrics
from wxlogin.routes import auth_request, envelope
from wxlogin.sessions.checks import Checks, NotRemembered, SessionChecks
from wxlogin.sessions.lookups import Lookups
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

STATUS = "204 NO CONTENT"


class Later(enum.Enum):
    """Says that an answer will come."""

    LATER = enum.auto()


Headers = list[tuple[str, str]]
Then = Callable[[Headers | None], None]


class Gate:
    """A WSGI application around another; what it lets pass is counted, and not logged: nginx logs it."""

    def __init__(self, app: WSGIApplication, checks: SessionChecks, metrics: Metrics) -> None:
        self.app = app
        self._checks = checks
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or have it answered."""
        if environ["PATH_INFO"] == auth_request.PATH and environ["REQUEST_METHOD"] == "GET":
            return self._check(environ, start_response)
        return self.app(environ, start_response)

    @property
    def lookups(self) -> Lookups | None:
        """What is asked for those who can't wait."""
        return self._checks.lookups

    def take(self, environ: dict[str, Any], then: Then) -> Headers | Later | None:
        """Return the headers for a user who may pass, without waiting for anything.

        That is if it is known who it is. If it is LATER, ``then`` will be called with the headers or with None.
        None is no answer: whoever may wait has to find it. What is answered is to be counted (`count`).
        """
        if environ["PATH_INFO"] != auth_request.PATH:
            return None
        try:
            return _pass(environ, self._checks.remembered)
        except NotRemembered as missing:
            return self._ask(missing.session_id, environ, then)

    def _ask(self, session_id: SessionId, environ: dict[str, Any], then: Then) -> Later | None:
        def go_on(user: User | None) -> None:
            then(_pass(environ, _Found(user)) if user else None)

        return Later.LATER if self.lookups and self.lookups.ask(session_id, go_on) else None

    def _check(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started_at = time.perf_counter()
        request_id = envelope.request_id_of(environ.get("HTTP_X_REQUEST_ID", ""))
        logs.request_id.set(request_id)
        try:
            user = decide(environ, self._checks)
        except Exception:  # noqa: BLE001  # of any kind: the route raises it again, and Flask answers
            return self.app(environ, start_response)
        finally:
            logs.request_id.set(None)
            logs.user_hash.set(None)
        start_response(STATUS, _headers(user, request_id))
        self.count(time.perf_counter() - started_at)
        return ()

    def count(self, seconds: float) -> None:
        """Count a user who was let pass, and how long that took."""
        self._metrics.request_answered(auth_request.PATH, method="GET", status=204, seconds=seconds)
        self._metrics.auth_decided("ok")


class _Found:
    """What says whose a session is that was looked up already."""

    def __init__(self, user: User) -> None:
        self._user = user

    def user_of(self, _session_id: SessionId) -> User:
        """Return whose session it is."""
        return self._user


def _pass(environ: dict[str, Any], checks: Checks) -> Headers | None:
    try:
        user = decide(environ, checks)
    except NotRemembered:
        raise
    except Exception:  # noqa: BLE001  # of any kind: whoever may wait gets it as well, and tells of it
        return None
    return _headers(user, envelope.request_id_of(environ.get("HTTP_X_REQUEST_ID", "")))


def _headers(user: User, request_id: str) -> Headers:
    return [
        *auth_request.identity_headers(user).items(),
        *envelope.NOT_STORED.items(),
        ("X-Request-Id", request_id),
    ]
