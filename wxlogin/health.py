"""Whether Redis serves us: asked before a one-time code is spent on a session that could not be kept."""

from __future__ import annotations

from redis import Redis

from wxlogin import redis_guard

_KEY = "wxlogin:health"
_SECONDS = 60


class StoreHealth:
    """Ask Redis to read or to write. A PING tells neither: it fails where reads still work (MISCONF), and
    succeeds where writes don't (a read-only replica, memory full). Both methods raise `StoreUnavailable`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def check_readable(self) -> None:
        """Return if sessions can be checked."""
        redis_guard.call(lambda: self._redis.exists(_KEY), repeatable=True)

    def check_writable(self) -> None:
        """Return if sessions can be made."""
        redis_guard.call(lambda: self._redis.set(_KEY, "1", ex=_SECONDS), repeatable=True)
