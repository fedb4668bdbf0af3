"""A bulkhead: while WeChat is slow, logins that wait for it must not take every thread from the session checks.

https://learn.microsoft.com/en-us/azure/architecture/patterns/bulkhead
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from wxlogin.resilience.deadline import Deadline
from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.wechat.api.errors import BulkheadFull

# WeChat is quick while nobody waits, or has just waited, longer than this: then all threads may wait for it, ...
QUICK_SECONDS = 0.1
# ... but those of them who are beyond their half no longer than this: it may become slow under their hands.
SPARE_SECONDS = 1.0


class Bulkhead:
    """Let half of a process's ``threads`` wait for WeChat, and the others only while it is quick. Thread-safe.

    Nobody waits longer than ``seconds``.
    """

    def __init__(
        self,
        threads: int,
        *,
        seconds: float = 4.0,
        clock: Callable[[], float] = time.monotonic,
        instrumentation: Instrumentation = NULL,
    ) -> None:
        self._instrumentation = instrumentation
        self._threads = threads
        self._half = max(1, threads // 2)
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting_since: dict[object, float] = {}
        self._last_seconds = 0.0

    @contextlib.contextmanager
    def slot(self, *, quick_seconds: float = QUICK_SECONDS) -> Iterator[Deadline]:
        """Take a slot while the context lasts, and return until when; raise `BulkheadFull` if there is none.

        ``quick_seconds`` is how long the others may have waited for this one to get a slot beyond the half.
        """
        ticket = object()
        seconds = self._enter(ticket, quick_seconds)
        try:
            yield Deadline.after(seconds)
        finally:
            with self._lock:
                self._last_seconds = self._clock() - self._waiting_since.pop(ticket)

    def _enter(self, ticket: object, quick_seconds: float) -> float:
        with self._lock:
            now, count = self._clock(), len(self._waiting_since)
            is_within_half = count < self._half
            longest = max([self._last_seconds, *(now - since for since in self._waiting_since.values())])
            if not is_within_half and (count >= self._threads or longest > quick_seconds):
                self._instrumentation.wechat_call_rejected("bulkhead")
                raise BulkheadFull("too many requests wait for WeChat already")
            self._waiting_since[ticket] = now
        return self._seconds if is_within_half else min(self._seconds, SPARE_SECONDS)
