"""Connecting within a bound that includes the DNS lookup, which no timeout of a socket limits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_THREADS = 8


class BoundedConnector:
    """Connect on helper threads, and wait for them no longer than agreed. Thread-safe.

    A name server that does not answer takes ten seconds. A connection that is made too late is closed.
    """

    def __init__(self, *, thread_name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=thread_name)

    def connect(self, connect: Callable[[], socket.socket], *, timeout_seconds: float) -> socket.socket:
        """Return what ``connect`` returns, or raise what it raises, or `TimeoutError`."""
        connecting = self._threads.submit(connect)
        try:
            return connecting.result(timeout=timeout_seconds)
        except TimeoutError:
            if not connecting.cancel():
                connecting.add_done_callback(_close)
            raise


def _close(connecting: Future[socket.socket]) -> None:
    if connecting.exception() is None:
        connecting.result().close()
