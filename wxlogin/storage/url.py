"""The address of Redis, as a URL: one server, a socket, behind TLS, watched by Sentinels, a Cluster, or memory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from urllib.parse import unquote

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
