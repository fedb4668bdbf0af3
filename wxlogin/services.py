"""The long-lived objects, built once from the settings: the only place that connects to anything."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

from flask import Flask
from redis import Redis

from wxlogin import redis_guard
from wxlogin.health import StoreHealth
from wxlogin.sessions.seal import Seal
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.settings import Settings
from wxlogin.wechat.client import Timeouts, WeChatClient, open_connections

_EXTENSION = "wxlogin"
_WECHAT_CONNECTIONS = 32


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes work with; all of it is thread-safe. ``wechat`` has a client for each of our AppIDs."""

    settings: Settings
    sessions: SessionStore
    health: StoreHealth
    wechat: Mapping[str, WeChatClient]

    @classmethod
    def build(cls, settings: Settings, *, clock: Callable[[], float] = time.time) -> Services:
        """Make the objects; nothing is connected before it is used."""
        redis = _redis(settings)
        lifetimes = Lifetimes(idle=settings.session_idle_seconds, longest=settings.session_max_seconds)
        return cls(
            settings=settings,
            sessions=SessionStore(redis, Seal(settings.secret_keys), lifetimes=lifetimes, clock=clock),
            health=StoreHealth(redis),
            wechat={settings.appid: _wechat_client(settings)},
        )

    @classmethod
    def of(cls, app: Flask) -> Services:
        """Return the services that `attach` gave to ``app``."""
        services: Services = app.extensions[_EXTENSION]
        return services

    def attach(self, app: Flask) -> None:
        """Make these the services of ``app``."""
        app.extensions[_EXTENSION] = self


def _redis(settings: Settings) -> Redis:
    if settings.redis_url.startswith("memory:"):
        from fakeredis import FakeRedis  # for development only, and heavy

        return FakeRedis()
    return redis_guard.connect(
        settings.redis_url,
        connect_timeout_seconds=settings.redis_connect_timeout_seconds,
        read_timeout_seconds=settings.redis_read_timeout_seconds,
    )


def _wechat_client(settings: Settings) -> WeChatClient:
    return WeChatClient(
        settings.appid,
        settings.app_secret,
        api_url=settings.wechat_api_url,
        connections=open_connections(most=_WECHAT_CONNECTIONS),
        timeouts=Timeouts(
            connect=settings.wechat_connect_timeout_seconds,
            read=settings.wechat_read_timeout_seconds,
            total=settings.wechat_total_timeout_seconds,
        ),
    )
