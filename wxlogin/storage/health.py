"""Whether Redis serves us: asked before a one-time code is spent on a session that could not be kept."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from redis import ResponseError
from redis.cluster import RedisCluster

from wxlogin.storage.client import Client
from wxlogin.storage.gateway import SPREAD_KEYS, RedisGateway, StoreUnavailable

_SECONDS = 60

_ONE_KEY = ("wxlogin:health",)


logger = logging.getLogger(__name__)


class StoreHealth:
    """Ask Redis to read or to write. A PING tells neither: it fails where reads still work (MISCONF), and
    succeeds where writes don't (a read-only replica, memory full). Both methods raise `StoreUnavailable`.
    """

    def __init__(self, redis: RedisGateway, *, is_cluster: bool = False) -> None:
        self._redis = redis
        self._keys = SPREAD_KEYS if is_cluster else _ONE_KEY

    def check_readable(self) -> None:
        """Return if sessions can be checked, at least some of a Cluster's."""
        self._ask(lambda client, key: client.exists(key))

    def check_writable(self) -> None:
        """Return if sessions can be made, at least some of a Cluster's."""
        self._ask(lambda client, key: client.set(key, "1", ex=_SECONDS))

    def warn_of_eviction(self) -> None:
        """Log a warning if Redis would throw sessions away for want of memory, as far as it can be asked."""
        try:
            policies = self._redis.call(_eviction_policies, key=self._keys[0], retry_safe=True)
        except StoreUnavailable:
            return
        for policy in policies - {"noeviction"}:
            logger.warning(
                "Redis has maxmemory-policy %s: when memory is short, sessions vanish. Set noeviction", policy
            )

    def _ask(self, question: Callable[[Client, str], object]) -> None:
        *most, last = self._keys
        for key in most:
            with contextlib.suppress(StoreUnavailable):
                return self._ask_about(key, question)
        return self._ask_about(last, question)

    def _ask_about(self, key: str, question: Callable[[Client, str], object]) -> None:
        self._redis.call(lambda client: question(client, key), key=key, retry_safe=True)


def _eviction_policies(client: Client) -> set[str]:
    """Return the policies of all servers; INFO tells them, too, where a managed Redis forbids CONFIG."""
    try:
        servers = [client.info("memory", **where) for where in _masters(client)]
    except ResponseError:  # we may not ask, and need not
        return set()
    return {str(server.get("maxmemory_policy", "noeviction")) for server in servers}


def _masters(client: Client) -> list[dict[str, Any]]:
    """Return what to tell ``client`` to ask each master: a Cluster's would be asked one of them otherwise."""
    if isinstance(client, RedisCluster):
        return [{"target_nodes": node} for node in client.get_primaries()]  # type: ignore[no-untyped-call]
    return [{}]
