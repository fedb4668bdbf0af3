"""What the layers tell whoever measures them, without knowing that it is Prometheus."""

from __future__ import annotations

from typing import Protocol


class Instrumentation(Protocol):
    """Told of what happens, on the thread that it happens on: a method returns soon and raises nothing."""

    def redis_answered(self, outcome: str, seconds: float) -> None:
        """Redis did an operation, ``ok``, or what was wrong; with its retry, that took so many seconds."""

    def redis_breaker_changed(self, is_open: bool) -> None:
        """The circuit breaker of one of Redis's servers opened or closed."""

    def wechat_answered(self, endpoint: str, outcome: str, seconds: float) -> None:
        """WeChat answered a request, ``ok``, or what was wrong."""

    def wechat_call_rejected(self, reason: str) -> None:
        """A call to WeChat was not made, because of the ``breaker`` or of the ``bulkhead``."""

    def wechat_breaker_changed(self, endpoint: str, is_open: bool) -> None:
        """The circuit breaker of one of WeChat's endpoints opened or closed."""

    def session_created(self) -> None:
        """A session began."""

    def sessions_ended(self, cause: str, count: int) -> None:
        """So many sessions were ended: perhaps none."""

    def session_cache_changed(self, is_enabled: bool) -> None:
        """The near cache is used from now on, or not."""

    def session_pipeline_changed(self, is_connected: bool) -> None:
        """The pipeline has a connection, or has none any more."""

    def token_refreshed(self, appid: str, lives_seconds: float) -> None:
        """WeChat gave a mini-program an access token, good for so many seconds."""

    def token_not_refreshed(self, appid: str) -> None:
        """WeChat gave a mini-program none."""

    def rate_limit_exceeded(self, scope: str, subject: str) -> None:
        """A request was over a limit: an ``address``'s, or a ``user``'s."""


def _ignore(*_: object) -> None:
    """Do nothing."""


class NullInstrumentation:
    """Ignores everything."""

    redis_answered = redis_breaker_changed = staticmethod(_ignore)
    wechat_answered = wechat_call_rejected = wechat_breaker_changed = staticmethod(_ignore)
    session_created = sessions_ended = session_cache_changed = session_pipeline_changed = staticmethod(_ignore)
    token_refreshed = token_not_refreshed = rate_limit_exceeded = staticmethod(_ignore)


NULL: Instrumentation = NullInstrumentation()
