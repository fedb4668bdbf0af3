"""What the service counts and measures, in the words of what happens; Prometheus's are at the edge.

Labels have few values: nothing that a client could choose, and nobody's address, openid or id, is one.
docs/metrics.md has the list.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from wxlogin import __version__
from wxlogin.observability import metrics_files

disable_created_metrics()  # type: ignore[no-untyped-call]  # there are none of several processes: nor of one, then

_Kind = TypeVar("_Kind", Counter, Gauge, Histogram)

# How one value is made of those of several processes. A dead one's are left out of the live modes.
_Mode = Literal["livesum", "livemax", "max"]

_NAMESPACE = "wxlogin"

# In seconds. Each has the limit of its kind among them: what takes longer shows.
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LOGIN_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
_WECHAT_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
_REDIS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5)

# There from the start, at zero: of what appears with its first event, that event is no increase.
LOGIN_OUTCOMES = ("ok", "store_unavailable", "wechat_rejected_credentials", "wechat_timeout", "wechat_unavailable")
AUTH_DECISIONS = ("granted", "not_logged_in", "session_expired", "wrong_app", "store_unavailable")
REDIS_OUTCOMES = ("ok", "no_connection", "timeout", "refused", "turned_away")
REJECTION_REASONS = ("breaker", "bulkhead")
ENDED_CAUSES = ("logout", "other_device", "everywhere", "replaced", "limit", "operator")


class _Children(dict[tuple[str, ...], _Kind], Generic[_Kind]):
    """A metric for each of its labels' values; looking one up costs what a dict does."""

    def __init__(self, metric: _Kind) -> None:
        super().__init__()
        self._metric: _Kind = metric

    def __missing__(self, values: tuple[str, ...]) -> _Kind:
        child: _Kind = self._metric.labels(*values) if values else self._metric
        self[values] = child
        return child


class _Collector(MultiProcessCollector):
    """prometheus_client's collector, of those files only that count."""

    def collect(self) -> Any:
        """Return the metrics of all processes."""
        return self.merge(metrics_files.live_files(Path(self._path)))  # type: ignore[no-untyped-call]


class Metrics:
    """What happens in this process, and how to tell about all of them. Thread-safe.

    ``folder`` is where the processes of a service put their metrics together, None if there is but this one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        self._requests = self._counter("http_requests", "Requests answered.", "route", "method", "status")
        self._request_durations = self._histogram(
            "http_request_duration_seconds", "How long answers took.", "route", buckets=_REQUEST_BUCKETS
        )
        self._logins = self._counter("logins", "Logins, and what came of them.", "outcome", known=LOGIN_OUTCOMES)
        self._login_durations = self._histogram(
            "login_duration_seconds", "How long those took.", buckets=_LOGIN_BUCKETS
        )
        self._decisions = self._counter(
            "auth_decisions", "What /auth told the proxy.", "decision", known=AUTH_DECISIONS
        )
        self._created = self._counter("sessions_created", "Sessions that began.")
        self._ended = self._counter(
            "sessions_ended", "Sessions that were ended; not those that ran out.", "cause", known=ENDED_CAUSES
        )
        self._wechat_calls = self._counter("wechat_calls", "Requests sent to WeChat.", "endpoint", "outcome")
        self._wechat_durations = self._histogram(
            "wechat_call_duration_seconds", "How long those took.", "endpoint", buckets=_WECHAT_BUCKETS
        )
        self._wechat_rejected = self._counter(
            "wechat_calls_rejected", "Calls to WeChat that were not made.", "reason", known=REJECTION_REASONS
        )
        self._wechat_breakers = self._gauge(
            "wechat_circuit_breakers_open", "Workers whose circuit breaker refuses most calls.", "endpoint"
        )
        self._redis_calls = self._counter("redis_calls", "Operations of Redis.", "outcome", known=REDIS_OUTCOMES)
        self._redis_durations = self._histogram(
            "redis_call_duration_seconds", "How long those took, a repetition included.", buckets=_REDIS_BUCKETS
        )
        self._redis_breakers = self._gauge(
            "redis_circuit_breakers_open", "Open breakers of Redis servers, in all workers."
        )
        self._session_caches = self._gauge("session_cache_enabled", "Workers that answer checks from memory.")
        self._pipelines = self._gauge("session_pipelines_connected", "Workers that need no thread for a check.")
        self._tokens = self._counter("access_token_refreshes", "Tokens asked for.", "appid", "outcome")
        self._token_made = self._gauge(
            "access_token_refreshed_timestamp_seconds", "When the last one was had.", "appid", mode="max"
        )
        self._token_ends = self._gauge(
            "access_token_expires_timestamp_seconds", "When the last one expires.", "appid", mode="max"
        )
        self._rate_limited = self._counter("rate_limited_requests", "Requests over a limit.", "scope", "subject")
        self._workers = self._gauge("workers", "Processes that serve.")
        self._started = self._counter("workers_started", "Processes that began to serve.")
        self._build = self._gauge("build_info", "Always 1.", "version", "python", mode="livemax")
        self._build[__version__, platform.python_version()].set(1)
        self._workers[()].set(1)
        self._started[()].inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics, of all processes, and their content type, as ``accept`` wants them."""
        encode, content_type = choose_encoder(accept)
        if self._folder is None:
            return encode(self._registry), content_type
        everything = CollectorRegistry()
        _Collector(everything, str(self._folder))  # type: ignore[no-untyped-call]
        return encode(everything), content_type

    def request_answered(self, route: str, *, method: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the rule that it matched, not its path."""
        self._requests[route, method, str(status)].inc()
        self._request_durations[route,].observe(seconds)

    def login_ended(self, outcome: str, seconds: float) -> None:
        """Count a login: ``ok``, or the code of the error that it was answered with."""
        self._logins[outcome,].inc()
        self._login_durations[()].observe(seconds)

    def auth_decided(self, outcome: str) -> None:
        """Count an answer to the proxy: ``ok``, or the code of the error."""
        self._decisions[outcome if outcome != "ok" else "granted",].inc()

    def session_created(self) -> None:
        """Count a session."""
        self._created[()].inc()

    def sessions_ended(self, cause: str, count: int) -> None:
        """Count ``count`` sessions that were ended, be it none."""
        self._ended[cause,].inc(count)

    def wechat_answered(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count a request to WeChat: ``ok``, or what was wrong."""
        self._wechat_calls[endpoint, outcome].inc()
        self._wechat_durations[endpoint,].observe(seconds)

    def wechat_call_rejected(self, reason: str) -> None:
        """Count a call that was not made: because of the ``breaker``, or of the ``bulkhead``."""
        self._wechat_rejected[reason,].inc()

    def wechat_breaker_changed(self, endpoint: str, is_open: bool) -> None:
        """Take in that this process's breaker opened or closed."""
        self._wechat_breakers[endpoint,].inc(1 if is_open else -1)

    def redis_answered(self, outcome: str, seconds: float) -> None:
        """Count an operation: ``ok``, or what was wrong."""
        self._redis_calls[outcome,].inc()
        self._redis_durations[()].observe(seconds)

    def redis_breaker_changed(self, is_open: bool) -> None:
        """Record that one of this process's breakers for Redis opened or closed."""
        self._redis_breakers[()].inc(1 if is_open else -1)

    def session_cache_changed(self, is_enabled: bool) -> None:
        """Take in that this process's near cache is in use from now on, or isn't."""
        self._session_caches[()].set(is_enabled)

    def session_pipeline_changed(self, is_connected: bool) -> None:
        """Take in that this process has a connection to look sessions up with, or hasn't any more."""
        self._pipelines[()].set(is_connected)

    def token_refreshed(self, appid: str, lives_seconds: float) -> None:
        """Take in that WeChat gave an app an access_token just now."""
        now = time.time()
        self._tokens[appid, "ok"].inc()
        self._token_made[appid,].set(now)
        self._token_ends[appid,].set(now + lives_seconds)

    def token_not_refreshed(self, appid: str) -> None:
        """Count that WeChat gave an app none."""
        self._tokens[appid, "failed"].inc()

    def rate_limit_exceeded(self, scope: str, subject: str) -> None:
        """Count a request that was over a limit: an ``address``'s, or a ``user``'s."""
        self._rate_limited[scope, subject].inc()

    def _counter(self, name: str, text: str, *labels: str, known: tuple[str, ...] = ()) -> _Children[Counter]:
        metric = Counter(name, text, labels, namespace=_NAMESPACE, registry=self._registry)
        children = _Children(metric)
        for value in known:
            children[value,].inc(0)
        return children

    def _histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> _Children[Histogram]:
        return _Children(
            Histogram(name, text, labels, namespace=_NAMESPACE, registry=self._registry, buckets=buckets)
        )

    def _gauge(self, name: str, text: str, *labels: str, mode: _Mode = "livesum") -> _Children[Gauge]:
        return _Children(
            Gauge(name, text, labels, namespace=_NAMESPACE, registry=self._registry, multiprocess_mode=mode)
        )
