"""A client of a Redis Cluster, whose nodes are found in time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from redis.backoff import NoBackoff
from redis.cluster import PRIMARY, ClusterNode, NodesManager, RedisCluster
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from wxlogin.storage.connection import ConnectionOptions, login_arguments, shared_arguments, tls_arguments
from wxlogin.storage.url import RedisAddress

_MAX_NODES_ASKED = 3  # silent nodes of a Cluster, one after the other, are what a request has time for
_TURN_SECONDS = 0.2


def connect_cluster(address: RedisAddress, options: ConnectionOptions) -> RedisCluster:
    """Return a client that has asked the Cluster for its nodes; raises redis-py's errors."""
    try:
        cluster = _ask_for_cluster(address, options)
    except IndexError:  # nodes that have not met yet
        raise RedisClusterException("Nobody has a slot.") from None
    cluster.set_retry(shared_arguments(options)["retry"])
    cluster.nodes_manager.initialize = _serialized(cluster.nodes_manager)  # type: ignore[method-assign]
    return cluster


def _ask_for_cluster(address: RedisAddress, options: ConnectionOptions) -> _Cluster:
    nodes = random.sample(address.nodes, k=min(len(address.nodes), _MAX_NODES_ASKED))
    tls = {"ssl": True, **tls_arguments(options)} if address.is_encrypted else {}
    return _Cluster(
        startup_nodes=[ClusterNode(host, port) for host, port in nodes],  # type: ignore[no-untyped-call]
        require_full_coverage=False,  # a master may be missing for a while: the others' users are served
        **login_arguments(address),
        **{
            **shared_arguments(options),
            "retry": Retry(NoBackoff(), 1),
        },  # the master asked for its commands may be down
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


def _serialized(manager: NodesManager) -> Callable[..., None]:
    """Return how to look for the nodes of a Cluster in time, one thread for all who want to.

    redis-py asks all nodes it knows, and when none answers, each thread does so again after the one before it:
    with six of them and eight threads that takes ten seconds.
    """
    look, turn, looks = manager.initialize, threading.Lock(), 0

    def initialize_in_turn(**how: Any) -> None:
        nonlocal looks
        seen = looks
        if not turn.acquire(timeout=_TURN_SECONDS):
            raise RedisTimeoutError("another thread is still looking for the Cluster's nodes")
        known = manager.startup_nodes
        try:
            if looks == seen:
                manager.startup_nodes = dict(random.sample([*known.items()], k=min(len(known), _MAX_NODES_ASKED)))
                look(**how)
                looks += 1
        except BaseException:
            manager.startup_nodes = known
            raise
        finally:
            turn.release()

    return initialize_in_turn
