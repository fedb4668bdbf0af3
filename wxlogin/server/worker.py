"""gunicorn's worker with threads, but for what it answers without one, and for how it stops."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gunicorn import SERVER
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from wxlogin.server import http1
from wxlogin.sessions.verification.pipeline import SessionLookupPipeline
from wxlogin.web.auth_request.middleware import GRANTED_STATUS, AuthRequestMiddleware, Headers, Pending

_KEEP_ALIVE: Future[bool] = Future()
_KEEP_ALIVE.set_result(True)  # gunicorn's own: the connection is to be kept


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker that answers checks at once, and, told to stop, has everybody refused who is not connected.

    gunicorn's own hands each request to a thread and takes the connection back, and that costs more than all else
    of a check. Here the thread that waits for connections asks the middleware first, which keeps it waiting for
    nothing; that goes for connections that were kept, and for requests of the plainest kind. Threads answer what
    is left.

    And gunicorn's own goes on listening until its last request is done, and takes nobody in: who connects
    meanwhile waits and is then reset. A proxy that has another instance goes there if it is refused, and not if a
    POST is reset: that may have been done.
    """

    _middleware: AuthRequestMiddleware | None = None
    _pipeline: SessionLookupPipeline | None = None

    def use_fast_path(self, middleware: AuthRequestMiddleware) -> None:
        """Ask ``middleware`` first from now on; not if each request is logged, or hooked, or TLS is ours to do."""
        is_logged = self.log.access_log_enabled or type(self.log) is not Logger
        if self.cfg.is_ssl or is_logged or self._has_hooks():
            return
        self._middleware, self._pipeline = middleware, middleware.pipeline
        if self._pipeline:
            self._pipeline.attach(self.poller, self.method_queue.defer)

    def _has_hooks(self) -> bool:
        settings = self.cfg.settings
        return any(settings[name].get() is not settings[name].default for name in ("pre_request", "post_request"))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events and have all of them taken care of, then ask Redis for what that takes."""
        pipeline = self._pipeline
        super().wait_for_and_dispatch_events(min(timeout, pipeline.poll_timeout()) if pipeline else timeout)
        if pipeline:
            pipeline.flush()
            pipeline.expire_overdue()

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer at once, or have a thread do it."""
        if not (
            self._middleware
            and self._can_keep_alive(len(self.keepalived_conns) - 1)
            and self._answer_at_once(conn, self._middleware)
        ):
            super().on_client_socket_readable(conn, client)

    def _can_keep_alive(self, others: int) -> bool:
        """Say whether the connection may be kept beside so many others: if not, a thread says so in its answer."""
        return bool(self.alive and self.nr + 1 < self.max_requests and others < self.max_keepalived)

    def _answer_at_once(self, conn: Any, middleware: AuthRequestMiddleware) -> bool:
        started_at = time.perf_counter()
        try:
            came = conn.sock.recv(conn.parser.unreader.mxchunk)
        except OSError:
            return False
        found = self._try_answer(
            middleware, came, functools.partial(self._answer_later, conn, middleware, came, started_at)
        )
        if isinstance(found, Pending):
            self._stop_polling(conn)
            return True
        answer = _serialize(found)
        if answer is None:
            conn.parser.unreader.unread(came)
            return False
        self._finish(conn, is_kept=self._send(conn, middleware, answer, started_at))
        return True

    def _finish(self, conn: Any, *, is_kept: bool) -> None:
        """Wait for the next request of a connection that was never given away, or close it."""
        if is_kept:
            conn.set_timeout()
            self.keepalived_conns.remove(conn)
            self.keepalived_conns.append(conn)
        else:
            self._stop_polling(conn)
            self._close_connection(conn)

    def _try_answer(
        self, middleware: AuthRequestMiddleware, came: bytes, callback: Callable[[Headers | None], None]
    ) -> Headers | Pending | None:
        try:
            environ = http1.parse_request(came)
            return middleware.try_answer(environ, callback) if environ else None
        except Exception:  # a thread may be spared it, and the worker must be
            self.log.exception("a check is left to a thread")
            return None

    def _answer_later(
        self, conn: Any, middleware: AuthRequestMiddleware, came: bytes, started_at: float, found: Headers | None
    ) -> None:
        """Answer somebody who had to wait for Redis, or have a thread do it."""
        try:
            answer = _serialize(found)
            if answer is None or not self._can_keep_alive(len(self.keepalived_conns)):
                conn.parser.unreader.unread(came)
                self.enqueue_req(conn)
            elif self._send(conn, middleware, answer, started_at):
                self.finish_request(conn, _KEEP_ALIVE)
            else:
                self._close_connection(conn)
        except Exception:  # of one connection: the others go on
            self.log.exception("a connection is lost")
            self._close_connection(conn)

    def _send(self, conn: Any, middleware: AuthRequestMiddleware, answer: bytes, started_at: float) -> bool:
        """Send an answer and count it; False if the client does not take it."""
        try:
            is_sent = conn.sock.send(answer) == len(answer)
        except OSError:
            return False
        self.nr += 1
        middleware.record_granted(time.perf_counter() - started_at)
        return bool(is_sent)

    def _stop_polling(self, conn: Any) -> None:
        """Listen to a connection no more until its request is done."""
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)

    def _close_connection(self, conn: Any) -> None:
        """Close the connection of a client that takes nothing, without waiting for more of it."""
        self.nr_conns -= 1
        conn.close()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections in from now on, or no more; if this worker is to stop, take in those that wait."""
        super().set_accept_enabled(enabled)
        while not (enabled or self.alive) and self.sockets:
            self._close(self.sockets.pop())

    def _close(self, listener: Any) -> None:
        count = -1
        while count != self.nr_conns:
            count = self.nr_conns
            self.accept(listener)
        listener.close()


def _serialize(headers: Headers | None) -> bytes | None:
    """Return the answer to a user who may pass, or None if there is none that can be written down here."""
    return http1.serialize_response(GRANTED_STATUS, headers, server=SERVER) if headers else None
