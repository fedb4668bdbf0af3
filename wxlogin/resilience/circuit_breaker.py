"""A circuit breaker: while a server fails, callers are refused at once instead of waiting, thread after thread.

https://learn.microsoft.com/en-us/azure/architecture/patterns/circuit-breaker
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Open after ``failure_threshold`` failures in a row; then allow one request per interval, as a probe.

    Thread-safe. The first success closes it. ``on_change`` is called with True when the breaker opens, and with
    False when it closes, on the thread that recorded the result.
    """

    def __init__(
        self,
        *,
        failure_threshold: int = 3,
        probe_interval_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[bool], object] = lambda _is_open: None,
    ) -> None:
        self._failure_threshold = failure_threshold
        self._probe_interval = probe_interval_seconds
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether most requests are refused."""
        return self._failures >= self._failure_threshold

    def allow_request(self) -> bool:
        """Return whether to send a request; while the breaker is open, True goes to one caller per interval."""
        with self._lock:
            if not self.is_open:
                return True
            if self._clock() < self._probe_at:
                return False
            self._probe_at = self._clock() + self._probe_interval
            return True

    def record_success(self) -> None:
        """Close the breaker: the server answered, with an error perhaps."""
        with self._lock:
            was_open = self.is_open
            self._failures = 0
        if was_open:
            self._on_change(False)

    def record_failure(self) -> None:
        """Count a failure, and put the next probe off by an interval."""
        with self._lock:
            self._failures += 1
            self._probe_at = self._clock() + self._probe_interval
            opens = self._failures == self._failure_threshold
        if opens:
            self._on_change(True)
