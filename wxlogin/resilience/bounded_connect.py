"""Connecting within a bound that includes the DNS lookup, which no timeout of a socket limits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

_AT_ONCE = 8


class BoundedConnector:
    """Connect on helper threads, and wait for them no longer than agreed. Thread-safe.

    A name server that does not answer takes ten seconds. A connection that is made too late is closed. The threads
    are daemons, unlike an executor's: a process that ends waits for none of them.
    """

    def __init__(self, *, thread_name: str) -> None:
        self._thread_name = thread_name
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def connect(self, connect: Callable[[], socket.socket], *, timeout_seconds: float) -> socket.socket:
        """Return what ``connect`` returns, or raise what it raises, or `TimeoutError`."""
        ends_at = time.monotonic() + timeout_seconds
        if not self._free.acquire(timeout=max(0.0, timeout_seconds)):
            raise TimeoutError
        connecting = self._begin(connect)
        try:
            return connecting.result(timeout=max(0.0, ends_at - time.monotonic()))
        except TimeoutError:
            connecting.add_done_callback(_close)
            raise

    def _begin(self, connect: Callable[[], socket.socket]) -> Future[socket.socket]:
        connecting: Future[socket.socket] = Future()
        thread = threading.Thread(
            target=self._run, args=(connect, connecting), name=self._thread_name, daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # there can be no more threads
            self._free.release()
            raise OSError(str(error)) from None
        return connecting

    def _run(self, connect: Callable[[], socket.socket], connecting: Future[socket.socket]) -> None:
        try:
            connected = connect()
        except BaseException as error:  # noqa: BLE001  # it is raised where the connection is waited for
            connecting.set_exception(error)
        else:
            connecting.set_result(connected)
        finally:
            self._free.release()


def _close(connecting: Future[socket.socket]) -> None:
    if connecting.exception() is None:
        connecting.result().close()
