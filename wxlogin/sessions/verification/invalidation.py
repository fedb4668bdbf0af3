"""Redis tells at once which users' sessions have changed, over a connection of its own.

https://redis.io/docs/latest/develop/reference/client-side-caching/: in broadcasting mode, a connection is told of
each change of the keys with a prefix. redis-py's own cache needs Redis 7.4, and keeps what a command answered, the
sealed record: what is to be kept here is what came of opening it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from redis import Redis, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.sessions.session_id import key_of, user_hash_in
from wxlogin.sessions.verification.cache import NearCache

logger = logging.getLogger(__name__)

PREFIX = key_of("")
HEARTBEAT_SECONDS = 0.5  # for so long there may be silence, and after a PING once more
_BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0)
_REFUSED_BACK_OFF_SECONDS = 60.0


class InvalidationListener:
    """Keep ``cache`` open for as long as Redis is heard, on a thread of its own that `start` starts once.

    ``connect`` returns a client, whose connections show where Redis is and how to get there.
    """

    def __init__(
        self, connect: Callable[[], Redis], cache: NearCache, *, instrumentation: Instrumentation = NULL
    ) -> None:
        self._connect = connect
        self._cache = cache
        self._instrumentation = instrumentation
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to listen. It is cheap to ask again: in each process, whoever is first does it."""
        if self._thread is None and self._starting.acquire(blocking=False):  # once and for all
            self._thread = threading.Thread(target=self._run, name="invalidations", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            opened = self._listen_for_once()
            failures = 0 if opened else failures + 1
            self._stopping.wait(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])

    def _listen_for_once(self) -> bool:
        """Listen until that fails, and say whether it worked for a while."""
        try:
            connection = open_push_connection(self._connect())
        except ResponseError as error:
            logger.warning("sessions are looked up in Redis each time: it refuses to tell of changes (%s)", error)
            self._stopping.wait(_REFUSED_BACK_OFF_SECONDS)
            return False
        except (RedisError, OSError):
            return False
        self._switch_cache(is_enabled=True)
        try:
            self._listen(connection)
        except (RedisError, OSError):
            return True
        finally:
            self._switch_cache(is_enabled=False)
            connection.disconnect()
        return True

    def _listen(self, connection: Any) -> None:
        is_asked = False
        while not self._stopping.is_set():
            try:
                message = connection.read_response(
                    push_request=True, timeout=HEARTBEAT_SECONDS, disconnect_on_error=False
                )
            except RedisTimeoutError:
                if is_asked:
                    raise
                connection.send_command("PING")
                is_asked = True
            else:
                is_asked = False
                self._handle(message)

    def _handle(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"invalidate":
            return
        keys = message[1]
        if keys is None:  # all of them: FLUSHALL
            self._cache.enable()
        else:
            self._cache.invalidate(user_hash_in(key.decode("ascii", "replace")) for key in keys)

    def _switch_cache(self, *, is_enabled: bool) -> None:
        (self._cache.enable if is_enabled else self._cache.disable)()
        self._instrumentation.session_cache_changed(is_enabled)


def open_push_connection(client: Redis) -> Any:
    """Return a connection on which Redis speaks unasked, in RESP3, and tells of users' sessions that change.

    Raises redis-py's errors: `ResponseError` if Redis refuses to.
    """
    pool = client.connection_pool
    connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})
    try:
        connection.connect()
        connection._parser.set_invalidation_push_handler(_as_it_is)  # noqa: SLF001  # as redis-py's own pool does
        connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX)
        connection.read_response()
    except BaseException:
        connection.disconnect()
        raise
    return connection


def _as_it_is(message: Any) -> Any:
    return message
