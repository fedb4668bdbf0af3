"""``GET /auth``, in front of Flask: nginx asks, about every request to the other back ends, whose it is.

https://nginx.org/en/docs/http/ngx_http_auth_request_module.html: 2xx lets the request pass, 401 and 403 refuse it,
anything else is an error.

What one check costs decides what the service costs, and most of that would be Flask's: it finds a route, makes a
context, a request and a response, and calls hooks. Of what is left, most would be the handing over to a thread and
back: the worker's event loop, which must not wait for anything, asks here too (`wxlogin.server.worker`).
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from wxlogin.observability import logging as logs
from wxlogin.observability.metrics import Metrics
from wxlogin.sessions.record import User
from wxlogin.sessions.verification.pipeline import SessionLookupPipeline
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.web import errors, hooks
from wxlogin.web.auth_request.decision import PATH, AuthRequest, Decision, Denied, Granted, authorize, decide

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

GRANTED_STATUS = "204 NO CONTENT"

Headers = list[tuple[str, str]]
ResponseCallback = Callable[[Headers | None], None]


class Pending(enum.Enum):
    """Says that the answer will be passed to the callback."""

    PENDING = enum.auto()


class AuthRequestMiddleware:
    """A WSGI application around another. A request that may pass is counted, and not logged: nginx logs it."""

    def __init__(self, app: WSGIApplication, verifier: SessionVerifier, metrics: Metrics) -> None:
        self.app = app
        self._verifier = verifier
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a check, waiting for Redis if need be; hand other requests on."""
        if environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET":
            return self._check(environ, start_response)
        return self.app(environ, start_response)

    @property
    def pipeline(self) -> SessionLookupPipeline | None:
        """The pipeline that looks up sessions for callers that can't wait."""
        return self._verifier.pipeline

    def try_answer(self, environ: dict[str, Any], callback: ResponseCallback) -> Headers | Pending | None:
        """Return the headers for a user who may pass, if that takes no waiting.

        If Redis has to be asked, return PENDING; ``callback`` will be called with the headers, or with None. None
        is no answer: a thread, which may wait, has to find it. The caller counts each answer (`record_granted`).
        """
        asked = AuthRequest.parse(environ) if environ["PATH_INFO"] == PATH else None
        if asked is None or asked.session_id is None:
            return None
        user = self._verifier.try_cached(asked.session_id)
        if user:
            return _headers_if_granted(user, asked)

        def complete(user: User | None) -> None:
            callback(_headers_if_granted(user, asked) if user else None)

        return Pending.PENDING if self._verifier.submit(asked.session_id, complete) else None

    def _check(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started_at, asked = time.perf_counter(), AuthRequest.parse(environ)
        logs.request_id.set(asked.request_id)
        try:
            decision = self._decide(asked)
            if isinstance(decision, Granted):
                start_response(GRANTED_STATUS, _granted_headers(decision, asked))
                self.record_granted(time.perf_counter() - started_at)
                return ()
            return self._refuse(decision, start_response, started_at)
        finally:
            logs.request_id.set(None)
            logs.user_hash.set(None)

    def _decide(self, asked: AuthRequest) -> Decision:
        try:
            return decide(asked, self._verifier)
        except Exception as error:  # noqa: BLE001  # of any kind: the table of errors has all
            return Denied(error)

    def _refuse(self, decision: Denied, start_response: StartResponse, started_at: float) -> Iterable[bytes]:
        rendered = errors.render(decision.error)
        headers = {
            "Content-Length": str(len(rendered.body)),
            **rendered.headers,
            **hooks.headers_of(rendered.status),
        }
        start_response(f"{rendered.status} {HTTPStatus(rendered.status).phrase.upper()}", [*headers.items()])
        hooks.record(
            self._metrics,
            rendered.outcome,
            hooks.Answered("auth_request", PATH, "GET", rendered.status),
            seconds=time.perf_counter() - started_at,
        )
        return [rendered.body]

    def record_granted(self, seconds: float) -> None:
        """Count a check that was granted, and how long it took."""
        self._metrics.request_answered(PATH, method="GET", status=204, seconds=seconds)
        self._metrics.auth_decided("ok")


def _headers_if_granted(user: User, asked: AuthRequest) -> Headers | None:
    decision = authorize(user, asked.appids)
    return _granted_headers(decision, asked) if isinstance(decision, Granted) else None


def _granted_headers(decision: Granted, asked: AuthRequest) -> Headers:
    return [*decision.headers().items(), *hooks.NO_STORE.items(), ("X-Request-Id", asked.request_id)]
