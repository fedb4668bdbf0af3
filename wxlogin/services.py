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
from wxlogin.login.rate_limits import SCOPES, Allowance, RateLimits
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
from wxlogin.storage.url import parse_url
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
        parts = _Parts(settings, clock, watch)
        return cls(
            settings=settings,
            sessions=parts.sessions,
            verifier=parts.verifier(),
            health=StoreHealth(parts.redis, is_cluster=parts.is_cluster),
            login=parts.login(known_apps),
            admin_token=AdminTokenVerifier(settings.admin_token),
            rate_limits=parts.rate_limits,
            metrics=parts.metrics,
        )

    @classmethod
    def of(cls, app: Flask) -> Services:
        """Return the services that `attach` gave to ``app``."""
        services: Services = app.extensions[_EXTENSION]
        return services

    def attach(self, app: Flask) -> None:
        """Make these the services of ``app``."""
        app.extensions[_EXTENSION] = self


class _Parts:
    """What several services share, and how each is made of it."""

    def __init__(self, settings: Settings, clock: Callable[[], float], watch: Callable[[Client], Client]) -> None:
        self.settings = settings
        self.clock = clock
        self.address = parse_url(settings.redis_url)
        self.is_cluster = self.address.topology == "cluster"
        self.metrics = Metrics(metrics_files.current())
        self.redis = RedisGateway(lambda: watch(self.connect()), instrumentation=self.metrics)
        self.cipher = RecordCipher(settings.secret_keys)
        self.cache = self.near_cache()
        self.sessions = SessionStore(
            self.redis,
            self.cipher,
            lifetimes=Lifetimes(idle=settings.session_idle_seconds, absolute=settings.session_max_seconds),
            max_per_user=settings.max_sessions_per_user,
            clock=clock,
            instrumentation=self.metrics,
            **({"on_changed": self.cache.invalidate} if self.cache else {}),
        )
        allowances = {
            scope: Allowance(
                per_address=getattr(settings, f"{scope}_limit_per_address"),
                per_user=getattr(settings, f"{scope}_limit_per_user"),
            )
            for scope in SCOPES
        }
        self.rate_limits = RateLimits(self.redis, allowances, instrumentation=self.metrics)

    def connect(self) -> Client:
        return connect(self.address, connection_options(self.settings))

    def connect_dedicated(self) -> Redis:
        """Return a client of its own, for what needs a connection of its own."""
        client = self.connect()
        assert isinstance(client, Redis)
        return client

    def near_cache(self) -> NearCache | None:
        if not self.settings.near_cache_seconds or self.address.topology == "memory":
            return None
        if self.is_cluster:
            logger.info(
                "sessions are looked up in Redis each time: a Cluster's servers tell of their own changes only"
            )
            return None
        return NearCache(seconds=self.settings.near_cache_seconds, clock=self.clock)

    def verifier(self) -> SessionVerifier:
        listener = pipeline = None
        if self.cache:
            listener = InvalidationListener(self.connect_dedicated, self.cache, instrumentation=self.metrics)
        if self.address.topology in {"server", "socket"}:  # where one connection leads to one server, for good
            pipeline = SessionLookupPipeline(
                self.connect_dedicated,
                self.sessions,
                self.cache,
                failover_count=self.redis.failover_count,
                instrumentation=self.metrics,
            )
        return SessionVerifier(self.sessions, self.cache, listener, pipeline)

    def login(self, known_apps: Mapping[str, str] | None) -> LoginService:
        settings, total_seconds = self.settings, self.settings.wechat_total_timeout_seconds
        return LoginService(
            exchanges=CodeExchangeStore(
                redis=self.redis,
                cipher=self.cipher,
                replay_seconds=settings.login_replay_seconds,
                lease_seconds=total_seconds + _STORE_SECONDS,
                clock=RedisClock(),
                is_cluster=self.is_cluster,
            ),
            bulkhead=Bulkhead(settings.threads, seconds=total_seconds, instrumentation=self.metrics),
            rate_limits=self.rate_limits,
            mini_programs=MiniPrograms(
                settings.read_credentials,
                make_client=functools.partial(WeChatClient, api=self.wechat_api()),
                version=lambda: fingerprint_of(settings.apps_file) if settings.apps_file else None,
                known=known_apps,
            ),
            access_tokens=AccessTokens(
                self.redis,
                self.cipher,
                api=settings.access_token_api,
                total_seconds=total_seconds,
                instrumentation=self.metrics,
            ),
            sessions=self.sessions,
        )

    def wechat_api(self) -> WeChatApi:
        return WeChatApi(
            self.settings.wechat_api_url,
            max_connections=_WECHAT_CONNECTIONS,
            timeouts=Timeouts(
                connect=self.settings.wechat_connect_timeout_seconds,
                read=self.settings.wechat_read_timeout_seconds,
                total=self.settings.wechat_total_timeout_seconds,
            ),
            instrumentation=self.metrics,
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
