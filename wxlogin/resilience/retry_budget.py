"""How often a process may try again."""

from __future__ import annotations

import threading

_MAX_TENTHS = 100


class RetryBudget:
    """Bound the retries of a whole process, so that an outage does not double the calls. Thread-safe.

    Of ten tokens, a failure takes one and an answer gives back a tenth; more than half are needed to retry.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
    """

    def __init__(self) -> None:
        self._tenths = _MAX_TENTHS
        self._lock = threading.Lock()

    @property
    def allows_retry(self) -> bool:
        """Say whether most calls went well of late."""
        return self._tenths > _MAX_TENTHS // 2

    def record(self, *, is_failure: bool) -> None:
        """Take in what came of a call."""
        change = -10 if is_failure else 1
        with self._lock:
            self._tenths = max(0, min(self._tenths + change, _MAX_TENTHS))
