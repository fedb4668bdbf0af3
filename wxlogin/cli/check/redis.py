"""Whether Redis will do: all that the service asks of it is tried, and what it says of itself is read."""

from __future__ import annotations

import dataclasses
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from redis import Redis, RedisError
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from wxlogin.cli.check.report import OK, PROBLEM, WARNING, Finding
from wxlogin.sessions.verification.invalidation import open_push_connection
from wxlogin.storage.client import Client, connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.url import RedisAddress

_AREA = "redis"
_KEY = "wxlogin:health:check"
_HASH = "wxlogin:health:check:hash"
_TIME_SCRIPT = "return redis.call('TIME')"
_SLOTS = 16384
_SLOW_SECONDS = 0.05
_FULL = 0.8

_NO_PERMISSION_IN_SCRIPT = re.compile(r"permission|can't run this command")

_Server = tuple[str, Mapping[str, Any]]
"""The name of a master, and its INFO."""


@dataclasses.dataclass(frozen=True, slots=True)
class _ErrorHint:
    """What an error means, and what to do about it."""

    what: str
    todo: str


# In this order: the first that fits.
_ERROR_HINTS: tuple[tuple[type[Exception], _ErrorHint], ...] = (
    (
        AuthenticationError,
        _ErrorHint(
            "Redis does not accept the user or the password", "Correct WXLOGIN_REDIS_URL, or the ACL user."
        ),
    ),
    (BusyLoadingError, _ErrorHint("Redis is still reading its file", "Wait, and check again.")),
    (
        MasterNotFoundError,
        _ErrorHint(
            "no Sentinel answers and knows the master of that name",
            "Correct hosts, ports and the name in WXLOGIN_REDIS_URL, or start the Sentinels.",
        ),
    ),
    (
        RedisClusterException,
        _ErrorHint(
            "no node of the Cluster answers and knows who has the keys",
            "Correct WXLOGIN_REDIS_URL, give its user +cluster|slots, or see `redis-cli --cluster check`.",
        ),
    ),
    (
        RedisTimeoutError,
        _ErrorHint(
            "Redis is silent: no answer in time",
            "See that it runs, and that no firewall drops what is sent to it. Far away, it needs longer timeouts.",
        ),
    ),
    (
        RedisConnectionError,
        _ErrorHint(
            "Redis can't be connected to: it refuses, or its name is unknown",
            "Start it, or correct the host and port in WXLOGIN_REDIS_URL.",
        ),
    ),
    (ReadOnlyError, _ErrorHint("this Redis is a read-only replica", "Name the master, or the Sentinels.")),
    (OutOfMemoryError, _ErrorHint("Redis is full", "Raise maxmemory (docs/operations.md, Redis full).")),
    (
        ResponseError,
        _ErrorHint(
            "Redis refuses to write: it can't save, or has too few replicas",
            "See Redis's own log; `INFO persistence` and `INFO replication` tell.",
        ),
    ),
)


def check_redis(address: RedisAddress, options: ConnectionOptions) -> Iterator[Finding]:
    """Give what is found at ``address``, with the timeouts that the service has."""
    try:
        client = connect(address, options)
        yield _permission_finding(forbidden := _forbidden_to(client))
        if not forbidden:
            yield from _check_latency(client)
            yield from _check_tracking(client)
        yield from _check_info(client, address)
    except (RedisError, RedisClusterException, OSError) as error:
        yield _error_finding(error)


def _error_finding(error: Exception) -> Finding:
    """Say what an error means. Its text stays out: it may quote what it was given."""
    if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
        hint = _ErrorHint(
            "TLS with Redis fails",
            "See that its certificate is good for that name, and WXLOGIN_REDIS_CA_PATH its CA.",
        )
    else:
        unforeseen = _ErrorHint(f"Redis fails: {type(error).__name__}", "See Redis's own log.")
        hint = next((hint for kind, hint in _ERROR_HINTS if isinstance(error, kind)), unforeseen)
    return Finding(_AREA, PROBLEM, hint.what, "Nobody can log in, or is recognised.", hint.todo)


def _commands() -> tuple[tuple[str | int, ...], ...]:
    """Return all that sessions, limits and tokens need, such as it does no harm, and leave nothing."""
    return (
        ("SET", _KEY, 1, "EX", 60),
        ("GET", _KEY),
        ("EXISTS", _KEY),
        ("INCRBY", _KEY, 1),
        ("EXPIRE", _KEY, 60),
        ("PTTL", _KEY),
        ("TYPE", _KEY),
        ("HSET", _HASH, "field", 1),
        ("HGET", _HASH, "field"),
        ("HGETALL", _HASH),
        ("EXPIREAT", _HASH, int(time.time()) + 60),
        ("HDEL", _HASH, "field"),
        ("EVAL", "return 1", 1, _KEY),
        ("EVAL", _TIME_SCRIPT, 1, _KEY),
        ("DEL", _KEY),
    )


def _forbidden_to(client: Client) -> list[str]:
    """Write, read and delete; return the names of the commands that are not allowed."""
    names = {name for command in _commands() if (name := _forbidden_in(client, command))}
    return sorted(names)


def _forbidden_in(client: Client, command: tuple[str | int, ...]) -> str:
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return str(command[0])
    except ResponseError as error:
        if command[1] == _TIME_SCRIPT and _NO_PERMISSION_IN_SCRIPT.search(str(error)):
            return "TIME"
        raise
    return ""


def _permission_finding(forbidden: list[str]) -> Finding:
    if not forbidden:
        return Finding(_AREA, OK, "written, read and deleted")
    return Finding(
        _AREA,
        PROBLEM,
        f"the user of WXLOGIN_REDIS_URL may not use {', '.join(forbidden)} on keys wxlogin:*",
        "What needs them answers 503.",
        "Give it the rights in docs/operations.md, An ACL user.",
    )


def _check_tracking(client: Client) -> Iterator[Finding]:
    """See whether Redis would tell of sessions that change; a Cluster is not asked to."""
    if not isinstance(client, Redis):
        return
    try:
        connection = open_push_connection(client)
        try:
            connection.send_command("PING")
            connection.read_response()
        finally:
            connection.disconnect()
    except ResponseError:
        yield Finding(
            _AREA,
            WARNING,
            "Redis does not tell of sessions that change",
            "Each check of a session asks Redis, and none is answered from memory.",
            "Give its user +ping +client|tracking (docs/operations.md, An ACL user), and be it Redis 6 or newer.",
        )


def _check_latency(client: Client) -> Iterator[Finding]:
    """Time a read, several times, and compare the clocks."""
    times = sorted(_seconds_of(lambda: client.exists(_KEY)) for _ in range(5))
    median = times[2]
    if median > _SLOW_SECONDS:
        yield Finding(
            _AREA,
            WARNING,
            f"a round trip takes {median * 1000:.0f} ms",
            "Every request that is checked takes that long and more.",
            "Run Redis near the service.",
        )
    else:
        yield Finding(_AREA, OK, f"a round trip takes {median * 1000:.1f} ms")
    yield from _check_clock(client)


def _seconds_of(work: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at


def _check_clock(client: Client) -> Iterator[Finding]:
    skew = abs(_time_at(client) - time.time())
    if skew > 2:
        yield Finding(
            _AREA,
            WARNING,
            f"the clocks of Redis and of this machine differ by {skew:.0f} s",
            "Sessions end so much too early or too late, and hosts don't agree about it.",
            "Let NTP set the clocks of all machines.",
        )


def _time_at(client: Client) -> float:
    seconds, microseconds = client.eval(_TIME_SCRIPT, 1, _KEY)
    return int(seconds) + int(microseconds) / 1e6


def _check_info(client: Client, address: RedisAddress) -> Iterator[Finding]:
    if isinstance(client, RedisCluster):
        yield from _check_slots(client)
    try:
        servers = _servers(client)
    except NoPermissionError:
        yield Finding(
            _AREA,
            WARNING,
            "the user of WXLOGIN_REDIS_URL may not use INFO",
            "Whether this Redis keeps sessions when memory is short, or over a restart, can't be seen.",
            "Add +info to the user's rights.",
        )
        return
    for name, info in servers:
        yield Finding(_AREA, OK, f"{name} is Redis {info.get('redis_version', 'of an unknown version')}")
        yield from evaluate_info(name, info)
        if address.topology in {"sentinel", "cluster"}:
            yield from _replicas(name, info)


def evaluate_info(name: str, info: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with a server by what its INFO says."""
    looks = (_version, _role, _eviction, _memory, _persistence)
    return [opinion for look in looks for opinion in look(name, info)]


def _servers(client: Client) -> list[_Server]:
    if isinstance(client, RedisCluster):
        nodes = client.get_primaries()  # type: ignore[no-untyped-call]
        return [(f"the master {node.name}", client.info(target_nodes=node)) for node in nodes]
    return [("it", client.info())]


def _check_slots(client: RedisCluster) -> Iterator[Finding]:
    missing = _SLOTS - len(client.nodes_manager.slots_cache)
    if missing:
        yield Finding(
            _AREA,
            PROBLEM,
            f"{missing} of the Cluster's {_SLOTS} slots are nobody's",
            "The users whose keys are there can't log in, and are not recognised.",
            "See what `redis-cli --cluster check` says; `--cluster fix` mends it.",
        )


def _version(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    major = str(info.get("redis_version", "6")).partition(".")[0]
    if major.isdigit() and int(major) < 6:
        yield Finding(
            _AREA, PROBLEM, f"{name} is older than Redis 6", "The service is not tested with it.", "Update Redis."
        )


def _role(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") == "slave":
        yield Finding(
            _AREA,
            PROBLEM,
            f"{name} is a replica",
            "Nobody can log in or out there, and what it has may be old.",
            "Name the master in WXLOGIN_REDIS_URL, or the Sentinels (redis+sentinel://).",
        )


def _eviction(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            _AREA,
            PROBLEM,
            f"{name} has maxmemory-policy {policy}",
            "When memory is short, sessions vanish: users are logged out, and nothing tells.",
            "CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE.",
        )


def _memory(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not most:
        yield Finding(
            _AREA,
            WARNING,
            f"{name} has no maxmemory",
            "When memory is short, the system ends Redis instead of Redis refusing logins.",
            "CONFIG SET maxmemory to twice what docs/operations.md, Sizing, says, then CONFIG REWRITE.",
        )
    elif used > most * _FULL:
        yield Finding(
            _AREA,
            WARNING,
            f"{name} has used {used / most:.0%} of maxmemory",
            "When it is full, nobody can log in.",
            "Raise maxmemory (docs/operations.md, Redis full).",
        )


def _persistence(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    if not int(info.get("aof_enabled", 1)):
        yield Finding(
            _AREA,
            WARNING,
            f"{name} has no append-only file",
            "A restart, or a crash, logs out everybody who came since the last snapshot, or everybody.",
            "CONFIG SET appendonly yes, then CONFIG REWRITE.",
        )
    failed = [each for each in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(each, "ok") != "ok"]
    if failed:
        yield Finding(
            _AREA,
            PROBLEM,
            f"{name} can't save: {' and '.join(failed)} is not ok",
            "It may refuse to write, so that nobody can log in, and loses sessions when it restarts.",
            "See its log: a full disk, or rights. Then BGREWRITEAOF, or BGSAVE.",
        )


def _replicas(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    if not int(info.get("connected_slaves", 0)):
        yield Finding(
            _AREA,
            WARNING,
            f"{name} has no replica",
            "If its machine is gone, so are its sessions.",
            "Add a replica, or see why it is not connected.",
        )
