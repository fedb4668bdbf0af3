"""A client of Redis, wherever that is: one server, on a socket, behind TLS, watched by Sentinels, or a Cluster."""

from __future__ import annotations

from collections.abc import Callable

from redis import Redis
from redis.cluster import RedisCluster

from wxlogin.storage.cluster import connect_cluster
from wxlogin.storage.connection import ConnectionOptions, login_arguments, server_at, shared_arguments
from wxlogin.storage.sentinel import connect_sentinel
from wxlogin.storage.url import RedisAddress

Client = Redis | RedisCluster


def connect(address: RedisAddress, options: ConnectionOptions) -> Client:
    """Return a client for ``address``. One for a Cluster has asked it for its nodes, the others nobody yet."""
    return _CONNECTORS[address.topology](address, options)


def _connect_server(address: RedisAddress, options: ConnectionOptions) -> Client:
    ((host, port),) = address.nodes
    return server_at(
        host,
        port,
        is_encrypted=address.is_encrypted,
        options=options,
        **login_arguments(address),
        db=address.number,
    )


def _connect_socket(address: RedisAddress, options: ConnectionOptions) -> Client:
    return Redis(unix_socket_path=address.path, **login_arguments(address), **shared_arguments(options))


def _connect_memory(_address: RedisAddress, _options: ConnectionOptions) -> Client:
    from fakeredis import FakeRedis  # for development only, and heavy

    return FakeRedis()


_CONNECTORS: dict[str, Callable[[RedisAddress, ConnectionOptions], Client]] = {
    "server": _connect_server,
    "socket": _connect_socket,
    "sentinel": connect_sentinel,
    "cluster": connect_cluster,
    "memory": _connect_memory,
}
