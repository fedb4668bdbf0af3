"""Every call to Redis goes through here, so that none takes longer than it may or fails unexpectedly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_UNANSWERED = (RedisConnectionError, RedisTimeoutError)


class StoreUnavailable(Exception):
    """Raised if Redis can't be reached, doesn't answer in time or refuses the work."""


def connect(url: str, *, connect_timeout_seconds: float, read_timeout_seconds: float) -> Redis:
    """Return a client for ``url`` that connects when it is first used.

    redis-py's own retries are off: ten of them, each with a five-second timeout, hold a worker for a minute.
    RESP2 without library info spares a new connection three round trips.
    """
    return Redis.from_url(
        url,
        socket_connect_timeout=connect_timeout_seconds,
        socket_timeout=read_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )


def call(work: Callable[[], Answer], *, repeatable: bool) -> Answer:
    """Do ``work``, and once more if it went unanswered and is ``repeatable``; raise `StoreUnavailable` else.

    Repeatable is what may happen twice without harm: the first may have been done although its answer was lost.
    """
    try:
        return _once_more(work) if repeatable else work()
    except RedisError as error:
        logger.warning("the store does not serve us: %s", type(error).__name__)
        raise StoreUnavailable(type(error).__name__) from error


def _once_more(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except _UNANSWERED:
        return work()
