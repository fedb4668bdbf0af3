"""The long-lived objects, built once from the settings: the only place that connects to anything."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping

from flask import Flask
from redis import Redis

from wxlogin.config.settings import Settings
from wxlogin.login.admin_token import AdminTokenVerifier
from wxlogin.login.code_exchange import CodeExchangeStore, RedisClock
from wxlogin.login.rate_limits import Allowance, RateLimits
from wxlogin.login.service import LoginService
from wxlogin.observability import metrics_files
from wxlogin.observability.metrics import Metrics
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.sessions.verification.cache import NearCache
from wxlogin.sessions.verification.invalidation import InvalidationListener
from wxlogin.sessions.verification.pipeline import SessionLookupPipeline
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.storage.client import Client, connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.encryption import RecordCipher
from wxlogin.storage.gateway import RedisGateway
from wxlogin.storage.health import StoreHealth
from wxlogin.storage.url import RedisAddress, parse_url
from wxlogin.wechat.access_tokens import AccessTokens
from wxlogin.wechat.api.bulkhead import Bulkhead
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi
from wxlogin.wechat.credentials_file import fingerprint_of
from wxlogin.wechat.mini_programs import MiniPrograms

logger = logging.getLogger(__name__)

_EXTENSION = "wxlogin"
_WECHAT_CONNECTIONS = 32
_STORE_SECONDS = 2.0  # more than is spent on Redis by whoever waits for WeChat


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes work with; all of it is thread-safe."""

    settings: Settings
    sessions: SessionStore
    verifier: SessionVerifier
    health: StoreHealth
    login: LoginService
    admin_token: AdminTokenVerifier
    rate_limits: RateLimits
    metrics: Metrics

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        known_apps: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        watch: Callable[[Client], Client] = lambda client: client,
    ) -> Services:
        """Make the objects; nothing is connected before it is used. ``known_apps`` serve if their file can't.

        ``watch`` is given the client of Redis when it is made, and returns the one to use.
        """
        address = parse_url(settings.redis_url)
        metrics = Metrics(metrics_files.current())
        redis = RedisGateway(
            lambda: watch(connect(address, connection_options(settings))),
            instrumentation=metrics,
        )
        cipher, is_cluster = RecordCipher(settings.secret_keys), address.topology == "cluster"
        cache = _near_cache(settings, address, clock=clock)
        sessions = _sessions(redis, cipher, cache, settings=settings, metrics=metrics, clock=clock)
        rate_limits = _rate_limits(redis, settings, metrics)
        return cls(
            settings=settings,
            sessions=sessions,
            verifier=SessionVerifier(
                sessions,
                cache,
                _invalidation_listener(cache, settings, address, metrics),
                _session_pipeline(redis, sessions, cache, settings=settings, address=address, metrics=metrics),
            ),
            health=StoreHealth(redis, is_cluster=is_cluster),
            login=LoginService(
                exchanges=CodeExchangeStore(
                    redis=redis,
                    cipher=cipher,
                    replay_seconds=settings.login_replay_seconds,
                    lease_seconds=settings.wechat_total_timeout_seconds + _STORE_SECONDS,
                    clock=RedisClock(),
                    is_cluster=is_cluster,
                ),
                bulkhead=Bulkhead(
                    settings.threads,
                    seconds=settings.wechat_total_timeout_seconds,
                    instrumentation=metrics,
                ),
                rate_limits=rate_limits,
                mini_programs=_mini_programs(settings, known_apps, metrics),
                access_tokens=_access_tokens(redis, cipher, settings=settings, metrics=metrics),
                sessions=sessions,
            ),
            admin_token=AdminTokenVerifier(settings.admin_token),
            rate_limits=rate_limits,
            metrics=metrics,
        )

    @classmethod
    def of(cls, app: Flask) -> Services:
        """Return the services that `attach` gave to ``app``."""
        services: Services = app.extensions[_EXTENSION]
        return services

    def attach(self, app: Flask) -> None:
        """Make these the services of ``app``."""
        app.extensions[_EXTENSION] = self


def _near_cache(settings: Settings, address: RedisAddress, *, clock: Callable[[], float]) -> NearCache | None:
    if not settings.near_cache_seconds or address.topology == "memory":
        return None
    if address.topology == "cluster":
        logger.info(
            "sessions are looked up in Redis each time: a Cluster's servers tell of their own changes only"
        )
        return None
    return NearCache(seconds=settings.near_cache_seconds, clock=clock)


def _invalidation_listener(
    cache: NearCache | None, settings: Settings, address: RedisAddress, metrics: Metrics
) -> InvalidationListener | None:
    connect_anew = functools.partial(_connect_dedicated, settings, address)
    return InvalidationListener(connect_anew, cache, instrumentation=metrics) if cache else None


def _session_pipeline(
    redis: RedisGateway,
    sessions: SessionStore,
    cache: NearCache | None,
    *,
    settings: Settings,
    address: RedisAddress,
    metrics: Metrics,
) -> SessionLookupPipeline | None:
    """Return what looks sessions up where one connection leads to one server, for as long as it is there."""
    if address.topology not in {"server", "socket"}:
        return None
    connect_anew = functools.partial(_connect_dedicated, settings, address)
    return SessionLookupPipeline(
        connect_anew,
        sessions,
        cache,
        failover_count=redis.failover_count,
        instrumentation=metrics,
    )


def _connect_dedicated(settings: Settings, address: RedisAddress) -> Redis:
    """Return a client of its own, for what needs a connection of its own."""
    client = connect(address, connection_options(settings))
    assert isinstance(client, Redis)
    return client


def _sessions(
    redis: RedisGateway,
    cipher: RecordCipher,
    cache: NearCache | None,
    *,
    settings: Settings,
    metrics: Metrics,
    clock: Callable[[], float],
) -> SessionStore:
    return SessionStore(
        redis,
        cipher,
        lifetimes=Lifetimes(idle=settings.session_idle_seconds, absolute=settings.session_max_seconds),
        max_per_user=settings.max_sessions_per_user,
        clock=clock,
        instrumentation=metrics,
        **({"on_changed": cache.invalidate} if cache else {}),
    )


def _access_tokens(
    redis: RedisGateway, cipher: RecordCipher, *, settings: Settings, metrics: Metrics
) -> AccessTokens:
    return AccessTokens(
        redis,
        cipher,
        api=settings.access_token_api,
        total_seconds=settings.wechat_total_timeout_seconds,
        instrumentation=metrics,
    )


def _rate_limits(redis: RedisGateway, settings: Settings, metrics: Metrics) -> RateLimits:
    return RateLimits(
        redis,
        {
            "login": Allowance(
                per_address=settings.login_limit_per_address, per_user=settings.login_limit_per_user
            ),
            "user_data": Allowance(
                per_address=settings.user_data_limit_per_address, per_user=settings.user_data_limit_per_user
            ),
            "phone_number": Allowance(
                per_address=settings.phone_number_limit_per_address,
                per_user=settings.phone_number_limit_per_user,
            ),
        },
        instrumentation=metrics,
    )


def connection_options(settings: Settings) -> ConnectionOptions:
    """Return how the settings want Redis connected."""
    return ConnectionOptions(
        connect_timeout_seconds=settings.redis_connect_timeout_seconds,
        read_timeout_seconds=settings.redis_read_timeout_seconds,
        max_connections=settings.redis_max_connections,
        ca_file=settings.redis_ca_path,
        cert_file=settings.redis_cert_path,
        key_file=settings.redis_key_path,
    )


def _mini_programs(settings: Settings, known: Mapping[str, str] | None, metrics: Metrics) -> MiniPrograms:
    return MiniPrograms(
        settings.read_credentials,
        make_client=functools.partial(WeChatClient, api=_wechat_api(settings, metrics)),
        version=lambda: fingerprint_of(settings.apps_file) if settings.apps_file else None,
        known=known,
    )


def _wechat_api(settings: Settings, metrics: Metrics) -> WeChatApi:
    return WeChatApi(
        settings.wechat_api_url,
        max_connections=_WECHAT_CONNECTIONS,
        timeouts=Timeouts(
            connect=settings.wechat_connect_timeout_seconds,
            read=settings.wechat_read_timeout_seconds,
            total=settings.wechat_total_timeout_seconds,
        ),
        instrumentation=metrics,
    )
