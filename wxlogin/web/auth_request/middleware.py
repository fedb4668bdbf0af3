"""What stands in front of Flask: it answers ``GET /auth`` for users who may pass, and hands all else on.

nginx asks for every request of every back end, so what one check costs decides what the service costs, and most of
that would be Flask's: it finds a route, makes a context, a request and a response, and calls hooks. The decision
is the view's (`wxlogin.web.auth_request.decision`), and so are the headers; who is refused gets the view's answer.

And of what is left, most would be the handing over of the request to a thread and back. The worker's own thread,
which waits for connections and must not wait for anything else, can ask the middleware too
(`wxlogin.server.worker`).
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from wxlogin.observability import logging as logs
from wxlogin.observability.metrics import Metrics
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.verification.pipeline import SessionLookupPipeline
from wxlogin.sessions.verification.verifier import NotCached, SessionVerifier, Verifier
from wxlogin.web import hooks
from wxlogin.web.auth_request import view
from wxlogin.web.auth_request.decision import decide

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

STATUS = "204 NO CONTENT"


class Pending(enum.Enum):
    """Says that the answer will be passed to the callback."""

    PENDING = enum.auto()


Headers = list[tuple[str, str]]
ResponseCallback = Callable[[Headers | None], None]


class AuthRequestMiddleware:
    """A WSGI application around another; what it lets pass is counted, and not logged: nginx logs it."""

    def __init__(self, app: WSGIApplication, verifier: SessionVerifier, metrics: Metrics) -> None:
        self.app = app
        self._verifier = verifier
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or have it answered."""
        if environ["PATH_INFO"] == view.PATH and environ["REQUEST_METHOD"] == "GET":
            return self._check(environ, start_response)
        return self.app(environ, start_response)

    @property
    def pipeline(self) -> SessionLookupPipeline | None:
        """The pipeline that looks up sessions for callers that can't wait."""
        return self._verifier.pipeline

    def try_answer(self, environ: dict[str, Any], callback: ResponseCallback) -> Headers | Pending | None:
        """Return the headers for a user who may pass, if they can be told without waiting for anything.

        If Redis has to be asked, return PENDING; ``callback`` will be called with the headers, or with None. None
        is no answer: a thread, which may wait, has to find it. The caller counts each answer (`record_granted`).
        """
        if environ["PATH_INFO"] != view.PATH:
            return None
        try:
            return _allow(environ, self._verifier.cached)
        except NotCached as missing:
            return self._submit(missing.session_id, environ, callback)

    def _submit(
        self, session_id: SessionId, environ: dict[str, Any], callback: ResponseCallback
    ) -> Pending | None:
        def complete(user: User | None) -> None:
            callback(_allow(environ, _KnownUser(user)) if user else None)

        return Pending.PENDING if self.pipeline and self.pipeline.submit(session_id, complete) else None

    def _check(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started_at = time.perf_counter()
        request_id = hooks.request_id_of(environ.get("HTTP_X_REQUEST_ID", ""))
        logs.request_id.set(request_id)
        try:
            user = decide(environ, self._verifier)
        except Exception:  # noqa: BLE001  # of any kind: the route raises it again, and Flask answers
            return self.app(environ, start_response)
        finally:
            logs.request_id.set(None)
            logs.user_hash.set(None)
        start_response(STATUS, _headers(user, request_id))
        self.record_granted(time.perf_counter() - started_at)
        return ()

    def record_granted(self, seconds: float) -> None:
        """Count a check that was granted, and how long it took."""
        self._metrics.request_answered(view.PATH, method="GET", status=204, seconds=seconds)
        self._metrics.auth_decided("ok")


class _KnownUser:
    """What says whose a session is that was looked up already."""

    def __init__(self, user: User) -> None:
        self._user = user

    def user_of(self, _session_id: SessionId) -> User:
        """Return whose session it is."""
        return self._user


def _allow(environ: dict[str, Any], verifier: Verifier) -> Headers | None:
    try:
        user = decide(environ, verifier)
    except NotCached:
        raise
    except Exception:  # noqa: BLE001  # of any kind: whoever may wait gets it as well, and tells of it
        return None
    return _headers(user, hooks.request_id_of(environ.get("HTTP_X_REQUEST_ID", "")))


def _headers(user: User, request_id: str) -> Headers:
    return [
        *view.identity_headers(user).items(),
        *hooks.NO_STORE.items(),
        ("X-Request-Id", request_id),
    ]
