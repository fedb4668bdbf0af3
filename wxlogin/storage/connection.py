"""Connections to Redis that come about in time, or not at all.

A connection's timeouts don't bound the look-up of its server's name, and a resolver that is silent takes ten
seconds. So connecting, the look-up included, happens on a helper thread that is waited for no longer than agreed.
"""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from wxlogin.resilience.bounded_connect import BoundedConnector
from wxlogin.storage.url import RedisAddress

_connector = BoundedConnector(thread_name="redis-connect")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to connect. Files are paths of PEM files; the client certificate's key may be in its file."""

    connect_timeout_seconds: float = 0.2
    read_timeout_seconds: float = 0.2
    max_connections: int = 32
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def server_at(host: str, port: int, *, is_encrypted: bool, options: ConnectionOptions, **more: Any) -> Redis:
    """Return a client of one server; it connects when it is first used."""
    how = {**shared_arguments(options), **(tls_arguments(options) if is_encrypted else {}), **more}
    kind = DeadlineTlsConnection if is_encrypted else DeadlineConnection
    return Redis.from_pool(ConnectionPool(connection_class=kind, host=host, port=port, **how))


def login_arguments(address: RedisAddress) -> dict[str, Any]:
    """Return whom to log in to Redis as."""
    return {"username": address.username, "password": address.password}


def shared_arguments(options: ConnectionOptions) -> dict[str, Any]:
    """Return what all connections share.

    redis-py's own retries are off: ten of them, each with a five-second timeout, hold a worker for a minute. RESP2
    without library info spares a new connection three round trips. redis-py looks at an idle connection before it
    is used again; its PINGs are left out, because they fail where reads still work (MISCONF).
    """
    return {
        "socket_connect_timeout": options.connect_timeout_seconds,
        "socket_timeout": options.read_timeout_seconds,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": options.max_connections,
        "protocol": 2,
        "driver_info": None,
    }


def tls_arguments(options: ConnectionOptions) -> dict[str, Any]:
    """Return what connections over TLS have in addition."""
    return {
        "ssl_ca_certs": options.ca_file or None,
        "ssl_certfile": options.cert_file or None,
        "ssl_keyfile": options.key_file or options.cert_file or None,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }


class DeadlineConnection(Connection):
    """A connection that is there within its connect timeout, and over TLS its read timeout more."""

    def _connect(self) -> socket.socket:
        tls_seconds = (self.socket_timeout or 0) if isinstance(self, SSLConnection) else 0
        seconds = (self.socket_connect_timeout or 0) + tls_seconds
        try:
            return _connector.connect(super()._connect, timeout_seconds=seconds)
        except TimeoutError:
            raise RedisTimeoutError("not connected in time") from None


class DeadlineTlsConnection(DeadlineConnection, SSLConnection):
    """The same over TLS."""


class DeadlineMasterConnection(DeadlineConnection, SentinelManagedConnection):
    """The same to the master that Sentinels name."""


class DeadlineTlsMasterConnection(DeadlineConnection, SentinelManagedSSLConnection):
    """The same over TLS."""
