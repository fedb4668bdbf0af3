"""Connections to Redis that come about in time, or not at all.

A connection's timeouts don't bound the look-up of its server's name, and a resolver that is silent takes ten
seconds. So connecting, the look-up included, happens on a helper thread that is waited for no longer than agreed.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future, ThreadPoolExecutor

from redis.connection import Connection, SSLConnection
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

_connecting = ThreadPoolExecutor(max_workers=8, thread_name_prefix="redis-connect")


class TimelyConnection(Connection):
    """A connection that is there within its connect timeout, and over TLS its read timeout more."""

    def _connect(self) -> socket.socket:
        connected: Future[socket.socket] = _connecting.submit(super()._connect)
        tls_seconds = (self.socket_timeout or 0) if isinstance(self, SSLConnection) else 0
        try:
            return connected.result(timeout=(self.socket_connect_timeout or 0) + tls_seconds)
        except TimeoutError:
            if not connected.cancel():
                connected.add_done_callback(_close)
            raise RedisTimeoutError("not connected in time") from None


class TimelyTlsConnection(TimelyConnection, SSLConnection):
    """The same over TLS."""


class TimelyMasterConnection(TimelyConnection, SentinelManagedConnection):
    """The same to the master that Sentinels name."""


class TimelyTlsMasterConnection(TimelyConnection, SentinelManagedSSLConnection):
    """The same over TLS."""


def _close(connected: Future[socket.socket]) -> None:
    if connected.exception() is None:
        connected.result().close()
