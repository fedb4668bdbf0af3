"""What may be tried again, how often, and what the second outcome says about the first."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

from wxlogin.wechat.errors import Busy, NoAnswer, NotReached, Refused, WeChatError

Outcome = Mapping[str, Any] | WeChatError
"""What comes of a call: WeChat's answer, or what went wrong, as a value."""

_PAUSE_SECONDS = (0.05, 0.25)
_MOST_TENTHS = 100


def pause_before_retry() -> float:
    """Return how many seconds to wait before a retry: so many that those who failed together don't return so."""
    return random.uniform(*_PAUSE_SECONDS)  # noqa: S311  # no secret


def is_retryable(outcome: Outcome) -> bool:
    """Say whether WeChat can't have done the work: no connection came about, or it says that it is busy."""
    return isinstance(outcome, NotReached | Busy)


def meaning_of(second: Outcome, *, first: Outcome, done_already: tuple[type[Refused], ...]) -> Outcome:
    """Return what came of a call that was tried twice.

    WeChat may say that it is busy when it has done the work. Then the second try is refused for being the second
    (``done_already``), and if it is not sent, that does not mean that nothing was.
    """
    if not isinstance(first, Busy):
        return second
    if isinstance(second, done_already):
        return NoAnswer("an earlier try may have done the work")
    return first if isinstance(second, NotReached) else second


class RetryBudget:
    """Bound the retries of a whole process, so that an outage does not double the calls. Thread-safe.

    Of ten tokens, a failure takes one and an answer gives back a tenth; more than half are needed to retry.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
    """

    def __init__(self) -> None:
        self._tenths = _MOST_TENTHS
        self._lock = threading.Lock()

    @property
    def allows_retry(self) -> bool:
        """Say whether most calls went well of late."""
        return self._tenths > _MOST_TENTHS // 2

    def note(self, *, is_failure: bool) -> None:
        """Take in what came of a call."""
        change = -10 if is_failure else 1
        with self._lock:
            self._tenths = max(0, min(self._tenths + change, _MOST_TENTHS))
