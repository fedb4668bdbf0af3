"""A gate in front of Flask: it lets ``GET /auth`` of users pass by itself, and hands all else on.

nginx asks for every request of every back end, so what one check costs decides what the service costs, and most of
that would be Flask's: it finds a route, makes a context, a request and a response, and calls hooks. The decision
is the route's (`wxlogin.auth.decide`), and so are the headers; who is refused gets the route's answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wxlogin import logs
from wxlogin.auth import decide
from wxlogin.metrics import Metrics
from wxlogin.routes import auth_request, envelope
from wxlogin.sessions.checks import SessionChecks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


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
        headers = {**auth_request.identity_headers(user), **envelope.NOT_STORED, "X-Request-Id": request_id}
        start_response("204 NO CONTENT", [*headers.items()])
        self._count(time.perf_counter() - started_at)
        return ()

    def _count(self, seconds: float) -> None:
        self._metrics.request_answered(auth_request.PATH, method="GET", status=204, seconds=seconds)
        self._metrics.auth_decided("ok")
