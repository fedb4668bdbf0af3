"""Redis wherever it is: one server, on a socket, behind TLS, watched by Sentinels, or a Cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from redis import ConnectionPool, Redis, RedisError, Sentinel
from redis.backoff import NoBackoff
from redis.cluster import PRIMARY, ClusterNode, NodesManager, RedisCluster
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from wxlogin.redis_connections import (
    TimelyConnection,
    TimelyMasterConnection,
    TimelyTlsConnection,
    TimelyTlsMasterConnection,
)

Client = Redis | RedisCluster

_ASKED_AT_MOST = 3  # silent nodes of a Cluster, one after the other, are what a request has time for
_TURN_SECONDS = 0.2
_ASK_SENTINELS_SECONDS = 1.0
_NEWS_SECONDS = 0.05  # for threads that wait for the one that asks

_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<username>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<nodes>[^/@?#]*)(?P<path>/[^?#]*)?"
)
_NODE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """What a URL says. ``nodes`` are (host, port) pairs: of the server, the Sentinels, or some of a Cluster."""

    topology: str
    is_encrypted: bool = False
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    number: int = 0
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to connect. Files are paths of PEM files; the client certificate's key may be in its file."""

    connect_timeout_seconds: float = 0.2
    read_timeout_seconds: float = 0.2
    max_connections: int = 32
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def parse_url(url: str) -> RedisAddress:
    """Return what ``url`` says, or raise `ValueError` with a text that doesn't quote it."""
    match = _URL.fullmatch(url)
    parse = _PARSERS.get(url.partition("://")[0])
    if not parse:
        raise ValueError("Not a scheme that is known here.")
    if not match:
        raise ValueError("Not an address: encode what is special in a password and leave out any query.")
    address = parse(match)
    return dataclasses.replace(
        address,
        is_encrypted=match["scheme"].startswith("rediss"),
        username=unquote(match["username"] or "") or None,
        password=unquote(match["password"] or "") or None,
    )


def connect(address: RedisAddress, options: ConnectionOptions) -> Client:
    """Return a client for ``address``. One for a Cluster has asked it for its nodes, the others nobody yet."""
    return _CONNECTORS[address.topology](address, options)


def _parse_server(match: re.Match[str]) -> RedisAddress:
    nodes = _nodes(match["nodes"], default_port=6379)
    if len(nodes) != 1:
        raise ValueError("Not the address of one server.")
    return RedisAddress(topology="server", nodes=nodes, number=_number((match["path"] or "")[1:]))


def _parse_socket(match: re.Match[str]) -> RedisAddress:
    if match["nodes"] or not match["path"] or match["path"] == "/":
        raise ValueError("Not the path of a socket.")
    return RedisAddress(topology="socket", path=unquote(match["path"]))


def _parse_sentinel(match: re.Match[str]) -> RedisAddress:
    service, _, number = (match["path"] or "")[1:].partition("/")
    if not service:
        raise ValueError("The name of the Sentinels' master is missing.")
    nodes = _nodes(match["nodes"], default_port=26379)
    return RedisAddress(topology="sentinel", nodes=nodes, service=service, number=_number(number))


def _parse_cluster(match: re.Match[str]) -> RedisAddress:
    if (match["path"] or "/") not in {"/", "/0"}:
        raise ValueError("A Cluster has no numbered databases.")
    return RedisAddress(topology="cluster", nodes=_nodes(match["nodes"], default_port=6379))


def _parse_memory(match: re.Match[str]) -> RedisAddress:
    if match["nodes"] or match["path"]:
        raise ValueError("Nothing follows memory://.")
    return RedisAddress(topology="memory")


_PARSERS: dict[str, Callable[[re.Match[str]], RedisAddress]] = {
    "redis": _parse_server,
    "rediss": _parse_server,
    "unix": _parse_socket,
    "redis+sentinel": _parse_sentinel,
    "rediss+sentinel": _parse_sentinel,
    "redis+cluster": _parse_cluster,
    "rediss+cluster": _parse_cluster,
    "memory": _parse_memory,
}


def _nodes(text: str, *, default_port: int) -> tuple[tuple[str, int], ...]:
    matches = [_NODE.fullmatch(node) for node in text.split(",")]
    nodes = [(node["host"].strip("[]"), int(node["port"] or default_port)) for node in matches if node]
    if len(nodes) != len(matches) or not all(0 < port < 65536 for _, port in nodes):
        raise ValueError("Not a host and port.")
    return tuple(nodes)


def _number(text: str) -> int:
    if text and not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError("The number of the database is not one.")
    return int(text or 0)


def _connect_server(address: RedisAddress, options: ConnectionOptions) -> Client:
    ((host, port),) = address.nodes
    return _server_at(
        host, port, is_encrypted=address.is_encrypted, options=options, **_login(address), db=address.number
    )


def _connect_socket(address: RedisAddress, options: ConnectionOptions) -> Client:
    return Redis(unix_socket_path=address.path, **_login(address), **_common(options))


def _connect_sentinel(address: RedisAddress, options: ConnectionOptions) -> Client:
    how = {**_common(options), **(_tls(options) if address.is_encrypted else {})}
    sentinels = _Sentinels([], **how)  # type: ignore[no-untyped-call]
    sentinels.sentinels = [
        _server_at(host, port, is_encrypted=address.is_encrypted, options=_hastened(options))
        for host, port in address.nodes
    ]
    master: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        address.service,
        connection_pool_class=_MasterPool,
        connection_class=TimelyTlsMasterConnection if address.is_encrypted else TimelyMasterConnection,
        db=address.number,
        **_login(address),
    )
    return master


def _server_at(host: str, port: int, *, is_encrypted: bool, options: ConnectionOptions, **more: Any) -> Redis:
    how = {**_common(options), **(_tls(options) if is_encrypted else {}), **more}
    kind = TimelyTlsConnection if is_encrypted else TimelyConnection
    return Redis.from_pool(ConnectionPool(connection_class=kind, host=host, port=port, **how))


def _hastened(options: ConnectionOptions) -> ConnectionOptions:
    """Return the options for Sentinels: several silent ones, in turn, are what a request has to have time for."""
    return dataclasses.replace(
        options,
        connect_timeout_seconds=options.connect_timeout_seconds / 2,
        read_timeout_seconds=options.read_timeout_seconds / 2,
    )


class _Sentinels(Sentinel):
    """Sentinels, asked in the way that Redis' guidelines for clients want.

    https://redis.io/docs/latest/develop/reference/sentinel-clients/: redis-py reads ``SENTINEL MASTERS`` instead,
    where the old master stands for some seconds after the new one was promoted.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address that the first Sentinel to answer names, and ask that one first from now on."""
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError):
                address: Any = sentinel.sentinel_get_master_addr_by_name(service_name)
                if address:
                    self.sentinels = sorted(self.sentinels, key=lambda each: each is not sentinel)
                    return address[0].decode(), address[1]
        raise MasterNotFoundError("No Sentinel names a master.")


class _MasterPool(SentinelConnectionPool):
    """Connections to the master, and a second after the Sentinels have named another, to that.

    The old one may go on answering from what it knew, for ten seconds after a planned failover, or after it was
    frozen, replaced and thawed. Then redis-py looks for the new one only once a connection breaks.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._asking, self._asked_at = threading.Lock(), 0.0
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """Return a connection to who is master now; if no Sentinel says who, to who was."""
        if self._has_old_news() and self._asking.acquire(timeout=_NEWS_SECONDS):
            try:
                self._ask()
            finally:
                self._asking.release()
        return super().get_connection(*arguments, **options)

    def _has_old_news(self) -> bool:
        return time.monotonic() - self._asked_at > _ASK_SENTINELS_SECONDS

    def _ask(self) -> None:
        if self._has_old_news():  # and not another thread's, just received
            with contextlib.suppress(RedisError):
                self.get_master_address()  # type: ignore[no-untyped-call]  # lets go of connections to another
            self._asked_at = time.monotonic()


def _connect_cluster(address: RedisAddress, options: ConnectionOptions) -> Client:
    try:
        cluster = _ask_for_cluster(address, options)
    except IndexError:  # nodes that have not met yet
        raise RedisClusterException("Nobody has a slot.") from None
    cluster.set_retry(_common(options)["retry"])
    cluster.nodes_manager.initialize = _in_turn(cluster.nodes_manager)  # type: ignore[method-assign]
    return cluster


def _ask_for_cluster(address: RedisAddress, options: ConnectionOptions) -> _Cluster:
    nodes = random.sample(address.nodes, k=min(len(address.nodes), _ASKED_AT_MOST))
    tls = {"ssl": True, **_tls(options)} if address.is_encrypted else {}
    return _Cluster(
        startup_nodes=[ClusterNode(host, port) for host, port in nodes],  # type: ignore[no-untyped-call]
        require_full_coverage=False,  # a master may be missing for a while: the others' users are served
        **_login(address),
        **{**_common(options), "retry": Retry(NoBackoff(), 1)},  # the master asked for its commands may be down
        **tls,
    )


class _Cluster(RedisCluster):
    """redis-py's client, which would fail with an `AttributeError` if sent to a node that joined since (ASK)."""

    def get_node(self, host: Any = None, port: Any = None, node_name: Any = None) -> Any:
        """Return a node, and remember it if it is new."""
        node = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if node is None and node_name:
            host, _, port = node_name.rpartition(":")
            new = ClusterNode(host, int(port), PRIMARY)  # type: ignore[no-untyped-call]
            node = self.nodes_manager.nodes_cache.setdefault(node_name, new)
        return node


def _in_turn(manager: NodesManager) -> Callable[..., None]:
    """Return how to look for the nodes of a Cluster in time, one thread for all who want to.

    redis-py asks all nodes it knows, and when none answers, each thread does so again after the one before it:
    with six of them and eight threads that takes ten seconds.
    """
    look, turn, looks = manager.initialize, threading.Lock(), 0

    def look_in_turn(**how: Any) -> None:
        nonlocal looks
        seen = looks
        if not turn.acquire(timeout=_TURN_SECONDS):
            raise RedisTimeoutError("another thread is still looking for the Cluster's nodes")
        known = manager.startup_nodes
        try:
            if looks == seen:
                manager.startup_nodes = dict(random.sample([*known.items()], k=min(len(known), _ASKED_AT_MOST)))
                look(**how)
                looks += 1
        except BaseException:
            manager.startup_nodes = known
            raise
        finally:
            turn.release()

    return look_in_turn


def _connect_memory(_address: RedisAddress, _options: ConnectionOptions) -> Client:
    from fakeredis import FakeRedis  # for development only, and heavy

    return FakeRedis()


_CONNECTORS: dict[str, Callable[[RedisAddress, ConnectionOptions], Client]] = {
    "server": _connect_server,
    "socket": _connect_socket,
    "sentinel": _connect_sentinel,
    "cluster": _connect_cluster,
    "memory": _connect_memory,
}


def _login(address: RedisAddress) -> dict[str, Any]:
    return {"username": address.username, "password": address.password}


def _common(options: ConnectionOptions) -> dict[str, Any]:
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


def _tls(options: ConnectionOptions) -> dict[str, Any]:
    return {
        "ssl_ca_certs": options.ca_file or None,
        "ssl_certfile": options.cert_file or None,
        "ssl_keyfile": options.key_file or options.cert_file or None,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }
