"""What may be tried again, and what the second outcome says about the first."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from wxlogin.wechat.api.errors import ConnectionFailed, ResponseLost, SystemBusy, WeChatAPIError, WeChatError

CallResult = Mapping[str, Any] | WeChatError
"""What comes of a call: WeChat's answer, or what went wrong, as a value."""

_PAUSE_SECONDS = (0.05, 0.25)


def pause_before_retry() -> float:
    """Return how many seconds to wait before a retry: so many that those who failed together don't return so."""
    return random.uniform(*_PAUSE_SECONDS)  # noqa: S311  # no secret


def is_retryable(outcome: CallResult) -> bool:
    """Say whether WeChat can't have done the work: no connection came about, or it says that it is busy."""
    return isinstance(outcome, ConnectionFailed | SystemBusy)


def combine_outcomes(
    second: CallResult, *, first: CallResult, done_already: tuple[type[WeChatAPIError], ...]
) -> CallResult:
    """Return what came of a call that was tried twice.

    WeChat may say that it is busy when it has done the work. Then the second try is refused for being the second
    (``done_already``), and if it is not sent, that does not mean that nothing was.
    """
    if not isinstance(first, SystemBusy):
        return second
    if isinstance(second, done_already):
        return ResponseLost("an earlier try may have done the work")
    return first if isinstance(second, ConnectionFailed) else second
