"""A client of the master that Sentinels name."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import Any

from redis import Redis, RedisError, Sentinel
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from wxlogin.storage.connection import (
    ConnectionOptions,
    DeadlineMasterConnection,
    DeadlineTlsMasterConnection,
    login_arguments,
    server_at,
    shared_arguments,
    tls_arguments,
)
from wxlogin.storage.url import RedisAddress

_ASK_SENTINELS_SECONDS = 1.0
_LOOKUP_WAIT_SECONDS = 0.05  # for threads that wait for the one that asks


def connect_sentinel(address: RedisAddress, options: ConnectionOptions) -> Redis:
    """Return a client, which asks the Sentinels when it is first used."""
    how = {**shared_arguments(options), **(tls_arguments(options) if address.is_encrypted else {})}
    sentinels = _Sentinels([], **how)  # type: ignore[no-untyped-call]
    sentinels.sentinels = [
        server_at(host, port, is_encrypted=address.is_encrypted, options=_with_shorter_timeouts(options))
        for host, port in address.nodes
    ]
    master: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        address.service,
        connection_pool_class=_MasterPool,
        connection_class=DeadlineTlsMasterConnection if address.is_encrypted else DeadlineMasterConnection,
        db=address.number,
        **login_arguments(address),
    )
    return master


def _with_shorter_timeouts(options: ConnectionOptions) -> ConnectionOptions:
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
        if self._is_stale() and self._asking.acquire(timeout=_LOOKUP_WAIT_SECONDS):
            try:
                self._ask()
            finally:
                self._asking.release()
        return super().get_connection(*arguments, **options)

    def _is_stale(self) -> bool:
        return time.monotonic() - self._asked_at > _ASK_SENTINELS_SECONDS

    def _ask(self) -> None:
        if self._is_stale():  # and not another thread's, just received
            with contextlib.suppress(RedisError):
                self.get_master_address()  # type: ignore[no-untyped-call]  # lets go of connections to another
            self._asked_at = time.monotonic()
