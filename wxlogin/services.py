"""The long-lived objects, built once from the settings: the only place that connects to anything."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping

from flask import Flask
from redis import Redis

from wxlogin import metrics_folder
from wxlogin.access_tokens import AccessTokens
from wxlogin.admin_gate import AdminGate
from wxlogin.apps import Apps
from wxlogin.apps_file import version_of
from wxlogin.exchanges import Exchanges, RedisClock
from wxlogin.health import StoreHealth
from wxlogin.metrics import Metrics
from wxlogin.rate_limits import Allowance, RateLimits
from wxlogin.redis_clients import Client, ConnectionOptions, RedisAddress, connect, parse_url
from wxlogin.redis_guard import RedisGuard
from wxlogin.seal import Seal
from wxlogin.sessions.checks import SessionChecks
from wxlogin.sessions.invalidations import Invalidations
from wxlogin.sessions.lookups import Lookups
from wxlogin.sessions.near_cache import NearCache
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import hash_of
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.settings import Settings
from wxlogin.wechat.api import Timeouts, WeChatApi
from wxlogin.wechat.bulkhead import Bulkhead
from wxlogin.wechat.client import WeChatClient

logger = logging.getLogger(__name__)

_EXTENSION = "wxlogin"
_WECHAT_CONNECTIONS = 32
_STORE_SECONDS = 2.0  # more than is spent on Redis by whoever waits for WeChat


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes work with; all of it is thread-safe."""

    settings: Settings
    sessions: SessionStore
    checks: SessionChecks
    health: StoreHealth
    access_tokens: AccessTokens
    exchanges: Exchanges
    bulkhead: Bulkhead
    apps: Apps
    admin_gate: AdminGate
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
        metrics = Metrics(metrics_folder.current())
        redis = RedisGuard(
            lambda: watch(connect(address, connection_options(settings))),
            on_call=metrics.redis_answered,
            on_fuse=metrics.fuse_changed,
        )
        seal, is_cluster = Seal(settings.secret_keys), address.topology == "cluster"
        cache = _near_cache(settings, address, clock=clock)
        sessions = _sessions(redis, seal, cache, settings=settings, metrics=metrics, clock=clock)
        return cls(
            settings=settings,
            sessions=sessions,
            checks=SessionChecks(
                sessions,
                cache,
                _invalidations(cache, settings, address, metrics),
                _lookups(redis, sessions, cache, settings=settings, address=address, metrics=metrics),
            ),
            health=StoreHealth(redis, is_cluster=is_cluster),
            access_tokens=_access_tokens(redis, seal, settings=settings, metrics=metrics),
            exchanges=Exchanges(
                redis=redis,
                seal=seal,
                replay_seconds=settings.login_replay_seconds,
                lease_seconds=settings.wechat_total_timeout_seconds + _STORE_SECONDS,
                clock=RedisClock(),
                is_cluster=is_cluster,
            ),
            bulkhead=Bulkhead(
                settings.threads,
                seconds=settings.wechat_total_timeout_seconds,
                on_turned_away=functools.partial(metrics.wechat_turned_away, "bulkhead"),
            ),
            apps=_apps(settings, known_apps, metrics),
            admin_gate=AdminGate(settings.admin_token),
            rate_limits=_rate_limits(redis, settings, metrics),
            metrics=metrics,
        )

    @classmethod
    def of(cls, app: Flask) -> Services:
        """Return the services that `attach` gave to ``app``."""
        services: Services = app.extensions[_EXTENSION]
        return services

    def client_for(self, appid: str | None) -> WeChatClient:
        """Return the client of one of our mini-programs, or of the only one.

        Raises `UnknownApp`, or `AppNotNamed` if there are several.
        """
        return self.apps.client_for(appid) if appid else self.apps.only_client()

    def user_hash_of(self, openid: str, *, appid: str | None) -> str:
        """Return what stands for a user of one of our mini-programs in Redis; raises `UnknownApp`."""
        return hash_of(User(self.client_for(appid).appid, openid))

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


def _invalidations(
    cache: NearCache | None, settings: Settings, address: RedisAddress, metrics: Metrics
) -> Invalidations | None:
    connect_anew = functools.partial(_connect_anew, settings, address)
    return Invalidations(connect_anew, cache, on_change=metrics.near_cache_changed) if cache else None


def _lookups(
    redis: RedisGuard,
    sessions: SessionStore,
    cache: NearCache | None,
    *,
    settings: Settings,
    address: RedisAddress,
    metrics: Metrics,
) -> Lookups | None:
    """Return what looks sessions up where one connection leads to one server, for as long as it is there."""
    if address.topology not in {"server", "socket"}:
        return None
    connect_anew = functools.partial(_connect_anew, settings, address)
    return Lookups(
        connect_anew,
        sessions,
        cache,
        moves=redis.moves,
        on_call=metrics.redis_answered,
        on_change=metrics.lookups_changed,
    )


def _connect_anew(settings: Settings, address: RedisAddress) -> Redis:
    """Return a client of its own, for what needs a connection of its own."""
    client = connect(address, connection_options(settings))
    assert isinstance(client, Redis)
    return client


def _sessions(
    redis: RedisGuard,
    seal: Seal,
    cache: NearCache | None,
    *,
    settings: Settings,
    metrics: Metrics,
    clock: Callable[[], float],
) -> SessionStore:
    return SessionStore(
        redis,
        seal,
        lifetimes=Lifetimes(idle=settings.session_idle_seconds, longest=settings.session_max_seconds),
        most_per_user=settings.max_sessions_per_user,
        clock=clock,
        on_created=metrics.session_created,
        on_ended=metrics.sessions_ended,
        **({"on_changed": cache.forget} if cache else {}),
    )


def _access_tokens(redis: RedisGuard, seal: Seal, *, settings: Settings, metrics: Metrics) -> AccessTokens:
    return AccessTokens(
        redis,
        seal,
        api=settings.access_token_api,
        total_seconds=settings.wechat_total_timeout_seconds,
        on_refreshed=metrics.token_refreshed,
        on_failed=metrics.token_not_refreshed,
    )


def _rate_limits(redis: RedisGuard, settings: Settings, metrics: Metrics) -> RateLimits:
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
        on_refused=metrics.limit_refused,
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


def _apps(settings: Settings, known: Mapping[str, str] | None, metrics: Metrics) -> Apps:
    return Apps(
        settings.read_apps,
        make_client=functools.partial(WeChatClient, api=_wechat_api(settings, metrics)),
        version=lambda: version_of(settings.apps_file) if settings.apps_file else None,
        known=known,
    )


def _wechat_api(settings: Settings, metrics: Metrics) -> WeChatApi:
    return WeChatApi(
        settings.wechat_api_url,
        most_connections=_WECHAT_CONNECTIONS,
        timeouts=Timeouts(
            connect=settings.wechat_connect_timeout_seconds,
            read=settings.wechat_read_timeout_seconds,
            total=settings.wechat_total_timeout_seconds,
        ),
        on_call=metrics.wechat_answered,
        on_turned_away=functools.partial(metrics.wechat_turned_away, "breaker"),
        on_breaker=metrics.breaker_changed,
    )
