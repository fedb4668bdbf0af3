"""The long-lived objects, built once from the settings: the only place that connects to anything."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping

from flask import Flask

from wxlogin.admin_gate import AdminGate
from wxlogin.health import StoreHealth
from wxlogin.redis_clients import ConnectionOptions, connect, parse_url
from wxlogin.redis_guard import RedisGuard
from wxlogin.sessions.record import User
from wxlogin.sessions.seal import Seal
from wxlogin.sessions.session_id import hash_of
from wxlogin.sessions.store import Lifetimes, SessionStore
from wxlogin.settings import Settings
from wxlogin.wechat.client import Timeouts, WeChatClient, open_connections

_EXTENSION = "wxlogin"
_WECHAT_CONNECTIONS = 32


class UnknownApp(Exception):
    """Raised if an AppID is none of ours."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes work with; all of it is thread-safe. ``wechat`` has a client for each of our AppIDs."""

    settings: Settings
    sessions: SessionStore
    health: StoreHealth
    wechat: Mapping[str, WeChatClient]
    admin_gate: AdminGate

    @classmethod
    def build(cls, settings: Settings, *, clock: Callable[[], float] = time.time) -> Services:
        """Make the objects; nothing is connected before it is used."""
        address = parse_url(settings.redis_url)
        redis = RedisGuard(functools.partial(connect, address, _connection_options(settings)))
        lifetimes = Lifetimes(idle=settings.session_idle_seconds, longest=settings.session_max_seconds)
        return cls(
            settings=settings,
            sessions=SessionStore(
                redis,
                Seal(settings.secret_keys),
                lifetimes=lifetimes,
                most_per_user=settings.max_sessions_per_user,
                clock=clock,
            ),
            health=StoreHealth(redis, is_cluster=address.topology == "cluster"),
            wechat={settings.appid: _wechat_client(settings)},
            admin_gate=AdminGate(settings.admin_token),
        )

    @classmethod
    def of(cls, app: Flask) -> Services:
        """Return the services that `attach` gave to ``app``."""
        services: Services = app.extensions[_EXTENSION]
        return services

    def client_for(self, appid: str | None) -> WeChatClient:
        """Return the client of one of our mini-programs, or of the only one; raises `UnknownApp`."""
        try:
            return self.wechat[appid or self.settings.appid]
        except KeyError:
            raise UnknownApp from None

    def user_hash_of(self, openid: str, *, appid: str | None) -> str:
        """Return what stands for a user of one of our mini-programs in Redis; raises `UnknownApp`."""
        return hash_of(User(self.client_for(appid).appid, openid))

    def attach(self, app: Flask) -> None:
        """Make these the services of ``app``."""
        app.extensions[_EXTENSION] = self


def _connection_options(settings: Settings) -> ConnectionOptions:
    return ConnectionOptions(
        connect_timeout_seconds=settings.redis_connect_timeout_seconds,
        read_timeout_seconds=settings.redis_read_timeout_seconds,
        max_connections=settings.redis_max_connections,
        ca_file=settings.redis_ca_path,
        cert_file=settings.redis_cert_path,
        key_file=settings.redis_key_path,
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
