"""The one way to WeChat: how long a call may take, when it is tried again, and when it is not made at all."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from wxlogin.resilience.circuit_breaker import CircuitBreaker
from wxlogin.resilience.deadline import NEVER, Deadline
from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.resilience.retry_budget import RetryBudget
from wxlogin.wechat.api.attempts import CallResult, combine_outcomes, is_retryable, pause_before_retry
from wxlogin.wechat.api.errors import (
    CircuitOpen,
    ConnectionFailed,
    InvalidResponse,
    NoTimeLeft,
    ResponseLost,
    SystemBusy,
    WeChatAPIError,
    WeChatError,
    api_error_in,
)
from wxlogin.wechat.api.transport import Call, Transport

logger = logging.getLogger(__name__)

_MIN_CALL_SECONDS = 0.5
_FAILURE_THRESHOLD = 5  # of a path, in a row
_PROBE_INTERVAL_SECONDS = 1.0
_SHORTENED_BY_SECONDS = 0.1
_CLOCK_TOLERANCE_SECONDS = 0.01
_FAILURES = (ConnectionFailed, ResponseLost, InvalidResponse, SystemBusy)
"""What says that WeChat, or the way to it, is out of order. The user's mistakes, and ours, are not among it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a call may take, in seconds: to connect, to the next byte, and in all."""

    connect: float = 1.0
    read: float = 3.0
    total: float = 4.0


class WeChatApi:
    """WeChat's API for whatever apps. Thread-safe; one per process, as what a call learns is of use to all.

    A call is tried once more, after a pause, where WeChat can't have done the work: no connection came about, or
    it says that it is busy. In a row of failures few are, and soon the calls of the path are turned away.

    No exception that leaves it, and no log line, has anything of the request, or of the answer but its errcode and
    rid.
    """

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts,
        max_connections: int,
        authorities_path: str | None = None,
        pause_seconds: Callable[[], float] = pause_before_retry,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        instrumentation: Instrumentation = NULL,
    ) -> None:
        self._instrumentation = instrumentation
        self._transport = Transport(
            url,
            connect_timeout=timeouts.connect,
            read_timeout=timeouts.read,
            max_connections=max_connections,
            authorities_path=authorities_path,
        )
        self._total_timeout = timeouts.total
        self._pause_seconds = pause_seconds
        self._sleep = sleep
        self._clock = clock
        self._budget = RetryBudget()
        self._breakers: dict[str, CircuitBreaker] = {}

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def call(
        self, call: Call, *, deadline: Deadline = NEVER, done_already: tuple[type[WeChatAPIError], ...] = ()
    ) -> Mapping[str, Any]:
        """Return WeChat's answer, or raise `WeChatError`: `WeChatAPIError` and its kin where WeChat said no.

        ``done_already`` are the refusals that a second try gets if the first one did the work.
        """
        if deadline.remaining() < min(_MIN_CALL_SECONDS, self._total_timeout):
            raise NoTimeLeft("there is no time left for a call")
        outcome = self._outcome_of(call, deadline.within(self._total_timeout), done_already)
        if isinstance(outcome, WeChatError):
            raise outcome
        return outcome

    def _outcome_of(
        self, call: Call, deadline: Deadline, done_already: tuple[type[WeChatAPIError], ...]
    ) -> CallResult:
        breaker = self._breaker_for(call.path)
        if not breaker.allow_request():
            self._instrumentation.wechat_call_rejected("breaker")
            return CircuitOpen("WeChat failed too often lately")
        first = self._try(call, deadline, breaker)
        if not self._pause_after(first, deadline) or not breaker.allow_request():
            return first
        return combine_outcomes(self._try(call, deadline, breaker), first=first, done_already=done_already)

    def _pause_after(self, outcome: CallResult, deadline: Deadline) -> bool:
        """Wait until it is time for another try; return False, at once, if there is to be none."""
        if not is_retryable(outcome) or not self._budget.allows_retry:
            return False
        pause_seconds = self._pause_seconds()
        if deadline.remaining() < pause_seconds + _MIN_CALL_SECONDS:
            return False
        self._sleep(pause_seconds)
        return True

    def _try(self, call: Call, deadline: Deadline, breaker: CircuitBreaker) -> CallResult:
        seconds, started_at = deadline.remaining(), time.perf_counter()
        body = self._transport.send(call, deadline)
        outcome = body if isinstance(body, WeChatError) else _answer_in(body)
        self._instrumentation.wechat_answered(call.path, _label_of(outcome), time.perf_counter() - started_at)
        is_failure = isinstance(outcome, _FAILURES)
        if not (is_failure and self._was_cut_short(deadline, seconds)):
            self._budget.record(is_failure=is_failure)
            _record(breaker, is_failure=is_failure)
        return outcome

    def _was_cut_short(self, deadline: Deadline, seconds: float) -> bool:
        """Say whether a try ran out of its ``seconds``, and had too few: that says nothing about WeChat."""
        return (
            deadline.remaining() < _CLOCK_TOLERANCE_SECONDS
            and seconds < self._total_timeout - _SHORTENED_BY_SECONDS
        )

    def _breaker_for(self, path: str) -> CircuitBreaker:
        return self._breakers.setdefault(path, self._new_breaker(path))

    def _new_breaker(self, path: str) -> CircuitBreaker:
        return CircuitBreaker(
            failure_threshold=_FAILURE_THRESHOLD,
            probe_interval_seconds=_PROBE_INTERVAL_SECONDS,
            clock=self._clock,
            on_change=functools.partial(self._breaker_changed, path),
        )

    def _breaker_changed(self, path: str, is_open: bool) -> None:
        if is_open:
            logger.warning("WeChat fails at %s: calls are turned away, but for one a second", path)
        else:
            logger.warning("WeChat works again at %s", path)
        self._instrumentation.wechat_breaker_changed(path, is_open)


def _record(breaker: CircuitBreaker, *, is_failure: bool) -> None:
    if not is_failure:
        breaker.record_success()
    elif not breaker.is_open:  # else each failing probe, seconds after its start, would put off the next
        breaker.record_failure()


def _label_of(outcome: CallResult) -> str:
    """Return what metrics call an outcome: ``ok``, or one of as many words as `WeChatError` has kinds."""
    return outcome.outcome if isinstance(outcome, WeChatError) else "ok"


def _answer_in(body: bytes) -> CallResult:
    """Return WeChat's answer or what its errcode stands for. WeChat labels its JSON as text."""
    try:
        answer: Mapping[str, Any] = json.loads(body.decode("utf-8", "replace"), strict=False)
        errcode = int(answer.get("errcode") or 0)
        return api_error_in(errcode, str(answer.get("errmsg"))) if errcode else answer
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return InvalidResponse("the answer is not WeChat's JSON")
