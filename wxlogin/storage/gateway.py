"""Every call to Redis goes through here, so that none takes longer than it may or fails unexpectedly."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import ReadOnlyError, Redis, RedisError
from redis.cluster import RedisCluster
from redis.exceptions import ClusterDownError, RedisClusterException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from wxlogin.resilience.circuit_breaker import CircuitBreaker
from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.storage.client import Client

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Script = tuple[str, int, str, *tuple[Any, ...]]
"""What ``eval`` takes: a script, the number of its keys, the keys and other arguments."""

# On different masters of a Cluster, as far as one can tell from slots: with one of them lost, others serve.
SPREAD_KEYS = ("wxlogin:health:45", "wxlogin:health:25", "wxlogin:health:11")

_UNANSWERED = (RedisConnectionError, RedisTimeoutError)
_UNSERVED = (*_UNANSWERED, ClusterDownError, RedisClusterException)
_SLOW_FAILURE_SECONDS = 0.05
_MAX_CALL_SECONDS = 0.5
_RETRY_WITHIN_SECONDS = 0.3
_FIRST_CONNECT_SECONDS = 0.5


class StoreUnavailable(Exception):
    """Raised if Redis can't be reached, doesn't answer in time or refuses the work."""


class RedisGateway:
    """A Redis client, made when it is first needed; each of its servers has a circuit breaker. Thread-safe."""

    def __init__(self, connect: Callable[[], Client], *, instrumentation: Instrumentation = NULL) -> None:
        self._connect = connect
        self._instrumentation = instrumentation
        self._client: Client | None = None
        self._connecting = threading.Lock()
        self._breakers: dict[str, CircuitBreaker] = {}
        self._failovers = 0

    def failover_count(self) -> int:
        """Return how often a replica was found where the master had been."""
        return self._failovers

    def call(self, work: Callable[[Client], Answer], *, key: str, retry_safe: bool) -> Answer:
        """Do ``work`` on ``key``, and once more if it went unanswered and is ``retry_safe``.

        Safe to retry is what may happen twice without harm: the first may have been done, its answer lost.
        Raises `StoreUnavailable`.
        """
        started_at, outcome = time.perf_counter(), "ok"
        try:
            return self._call(work, key=key, retry_safe=retry_safe)
        except StoreUnavailable as error:
            outcome = _outcome_of(error.__cause__)
            raise
        finally:
            self._instrumentation.redis_answered(outcome, time.perf_counter() - started_at)

    def _call(self, work: Callable[[Client], Answer], *, key: str, retry_safe: bool) -> Answer:
        try:
            client = self._client or self._connect_once()
            return self._do(lambda: work(client), self._breaker_for(key, client), retry_safe=retry_safe)
        except ReadOnlyError as error:
            self._failovers += 1
            _forget_idle_connections(client)
            raise _unavailable(error) from error
        except RedisClusterException as error:  # no RedisError: nobody who was known answers, or has the key
            self._client = None  # begin anew with the address, which may lead to others by now
            raise _unavailable(error) from error
        except RedisError as error:
            raise _unavailable(error) from error

    def _do(self, work: Callable[[], Answer], breaker: CircuitBreaker, *, retry_safe: bool) -> Answer:
        if not breaker.allow_request():
            raise StoreUnavailable("the circuit breaker is open")
        started_at = time.monotonic()
        try:
            answer = _retry_once(work) if retry_safe else work()
        except _UNSERVED:
            if time.monotonic() - started_at > _SLOW_FAILURE_SECONDS:
                breaker.record_failure()
            raise
        except RedisError:
            breaker.record_success()
            raise
        # An answer that drips is late, though each of its bytes came in time.
        if time.monotonic() - started_at > _MAX_CALL_SECONDS:
            breaker.record_failure()
        else:
            breaker.record_success()
        return answer

    def _connect_once(self) -> Client:
        """Return the client. Making one for a Cluster asks it, so one thread does and the others wait briefly."""
        return self._do(self._connect_in_turn, self._breaker(""), retry_safe=False)

    def _connect_in_turn(self) -> Client:
        if not self._connecting.acquire(timeout=_FIRST_CONNECT_SECONDS):
            raise RedisTimeoutError("another thread is still connecting")
        try:
            self._client = self._client or self._connect()
            return self._client
        finally:
            self._connecting.release()

    def _breaker_for(self, key: str, client: Client) -> CircuitBreaker:
        """Return the breaker of the server that has ``key``: the others of a Cluster may be well."""
        node = client.get_node_from_key(key) if isinstance(client, RedisCluster) else None  # type: ignore[no-untyped-call]
        return self._breaker(node.name if node else "")

    def _breaker(self, server: str) -> CircuitBreaker:
        return self._breakers.setdefault(server, CircuitBreaker(on_change=self._breaker_changed))

    def _breaker_changed(self, is_open: bool) -> None:
        if is_open:
            logger.warning("Redis is silent: most calls are turned away")
        else:
            logger.warning("Redis answers again")
        self._instrumentation.redis_breaker_changed(is_open)


def _retry_once(work: Callable[[], Answer]) -> Answer:
    """Do it again if that failed, unless it took so long to fail that nobody would wait for the second time."""
    started_at = time.monotonic()
    try:
        return work()
    except _UNANSWERED:
        if time.monotonic() - started_at > _RETRY_WITHIN_SECONDS:
            raise
        return work()


def _outcome_of(cause: BaseException | None) -> str:
    if cause is None:
        return "turned_away"
    if isinstance(cause, RedisTimeoutError):
        return "timeout"
    return "no_connection" if isinstance(cause, _UNSERVED) else "refused"


def _unavailable(error: RedisError | RedisClusterException) -> StoreUnavailable:
    logger.warning("the store does not serve us: %s", type(error).__name__)
    return StoreUnavailable(type(error).__name__)


def _forget_idle_connections(client: Client) -> None:
    """Look the server up anew: a replica answers where the master was."""
    if isinstance(client, Redis):
        client.connection_pool.disconnect(inuse_connections=False)
