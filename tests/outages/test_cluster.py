"""A Cluster that loses a master, moves slots or is gone: the users of the masters that are well notice nothing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_session import Session
from redis import RedisCluster
from redis.crc import key_slot

from tests.drivers import MiniProgram, Sandbox
from tests.outages.conftest import NewService, Witness, at_once, logged_in, traffic
from tests.redis_topologies import Cluster, ClusterNode, cluster, free_ports, running
from tests.servers import wait_until
from tests.stopwatch import stopwatch
from wxlogin.sessions.session_id import SessionId

RESTORED_WITHIN_SECONDS = 10
ONLY_A_THIRD_FAILS = ("cluster-require-full-coverage no",)
NODE_TIMEOUT_MS = 1000


@pytest.fixture(scope="module")
def the_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with cluster(folder, node_timeout_ms=NODE_TIMEOUT_MS, options=ONLY_A_THIRD_FAILS) as formed:
        yield formed


@pytest.fixture
def formed(the_cluster: Cluster) -> Iterator[Cluster]:
    """A Cluster that is empty and well, and will be well after the test."""
    for master in the_cluster._masters():
        master.call("FLUSHALL")
    yield the_cluster
    for node in the_cluster.nodes:
        if node.is_frozen:
            node.thaw()
        elif not node.is_up:
            node.start()
    the_cluster.wait_until_ok()


def key_of(user: MiniProgram) -> str:
    """Return the key of a logged-in user's sessions."""
    session_id = SessionId.parse(user.stored.partition("=")[2].partition(";")[0])
    assert session_id
    return session_id.key


def first_master(formed: Cluster) -> ClusterNode:
    """Return the one that redis-py asks for what concerns no key."""
    return formed._node_on(formed.nodes[0].owners()[0])


def wait_until_replicated(formed: Cluster) -> None:
    """Return when the replicas have what was written before."""
    offsets = {master: master.replication()["master_repl_offset"] for master in formed._masters()}
    for master, offset in offsets.items():
        replica = formed.replica_of(master)
        wait_until(functools.partial(has_read_to, replica, offset), what=f"{replica} has what {master} had")


def has_read_to(replica: ClusterNode, offset: int) -> bool:
    return bool(replica.replication()["slave_repl_offset"] >= offset)


# a master is lost


@pytest.mark.parametrize("fault", [Cluster.kill, Cluster.freeze])
def test_a_lost_master_costs_its_own_users_a_few_seconds_and_nobody_a_session(
    formed: Cluster, new_service: NewService, sandbox: Sandbox, fault: Callable[[Cluster, ClusterNode], None]
) -> None:
    send = new_service(formed.url)
    users = logged_in(send, sandbox)
    lost = formed.master_of(key_of(users[0]))
    affected = [user for user in users if formed.master_of(key_of(user)) is lost]
    others = [user for user in users if user not in affected]
    gone = affected.pop()
    assert gone.log_out().status == 204
    wait_until_replicated(formed)
    with (
        traffic(*affected) as asking,
        traffic(*others) as asking_others,
        traffic(MiniProgram(send, sandbox), path="/readyz") as asking_readiness,
    ):
        asking.wait_until_all_are_let_in()

        fault(formed, lost)
        wait_until(lambda: 503 in asking.statuses, what="the master is missed")
        formed.wait_until_ok()
        with stopwatch() as seconds:
            asking.wait_until_all_are_let_in()

        assert seconds() < RESTORED_WITHIN_SECONDS
    assert {*asking.statuses} == {204, 503}
    assert {*asking_others.statuses} == {204}
    assert {*asking_readiness.statuses} == {200}
    assert at_once([*affected, *others], "/session") == {200: len(users) - 1}
    assert gone.get("/auth").status == 401


@pytest.mark.parametrize("fault", [Cluster.kill, Cluster.freeze])
def test_while_a_master_is_lost_users_of_the_others_come_and_go(
    formed: Cluster, new_service: NewService, sandbox: Sandbox, fault: Callable[[Cluster, ClusterNode], None]
) -> None:
    send = new_service(formed.url)
    users = logged_in(send, sandbox)
    lost = first_master(formed)
    others = [user for user in users if formed.master_of(key_of(user)) is not lost]
    fault(formed, formed.replica_of(lost))  # nobody is to take over
    fault(formed, lost)

    for user in others:
        statuses = [user.log_in().status, user.get("/auth").status, user.get("/sessions").status]
        assert [*statuses, user.log_out().status, user.get("/auth").status] == [200, 204, 200, 204, 401]
    assert send("GET", "/readyz").status == 200


def test_a_process_that_starts_while_a_master_is_lost_serves_the_others(
    formed: Cluster, new_service: NewService, sandbox: Sandbox
) -> None:
    users = logged_in(new_service(formed.url), sandbox)
    lost = first_master(formed)
    others = [user for user in users if formed.master_of(key_of(user)) is not lost]
    formed.kill(formed.replica_of(lost))  # nobody is to take over
    formed.kill(lost)

    late = new_service(formed.url)

    assert late("GET", "/readyz").status == 200
    assert {late("GET", "/auth", headers={"sessionid": user.stored}).status for user in others} == {204}


# a slot is moved


def test_a_slot_that_is_moved_is_not_noticed(formed: Cluster, new_service: NewService, sandbox: Sandbox) -> None:
    users = logged_in(new_service(formed.url), sandbox)
    with traffic(*users) as asking:
        asking.wait_until_all_are_let_in()

        for user in users[:3]:
            formed.move_slot_of(key_of(user))

        asking.wait_until_all_are_let_in()
    assert {*asking.statuses} == {204}


def test_while_a_slot_is_moved_its_users_come_and_go(
    formed: Cluster, new_service: NewService, sandbox: Sandbox
) -> None:
    witness = Witness.of(new_service(formed.url), sandbox)
    user = witness.user
    key = key_of(user)

    with formed.moving_slot_of(key) as target:
        witness.sees_it_end()
        assert user.log_out().status == 204
        assert user.get("/auth").status == 401
        assert user.log_in().status == 200
        assert target.call("CLUSTER COUNTKEYSINSLOT", target.call("CLUSTER KEYSLOT", key)) == 1

    assert user.get("/auth").status == 204


@contextlib.contextmanager
def joining(formed: Cluster, folder: Path) -> Iterator[ClusterNode]:
    """Let one more master join, as yet without a slot."""
    port, bus_port = free_ports(2)
    config = [f"cluster-node-timeout {NODE_TIMEOUT_MS}", "cluster-announce-ip 127.0.0.1", *ONLY_A_THIRD_FAILS]
    new = ClusterNode(folder, config, port=port, bus_port=bus_port)
    with running(new):
        for node in formed.nodes:
            new.call("CLUSTER MEET", "127.0.0.1", node.port, node.bus_port)
        everybody = [*formed.nodes, new]
        wait_until(lambda: all(node.knows() == len(everybody) for node in everybody), what="they have met")
        wait_until(new.says_ok, what="it is one of them")
        yield new


def test_a_slot_may_be_on_its_way_to_a_node_that_nobody_knew(
    new_service: NewService, sandbox: Sandbox, tmp_path: Path
) -> None:
    with cluster(tmp_path, node_timeout_ms=NODE_TIMEOUT_MS, options=ONLY_A_THIRD_FAILS) as formed:
        user = logged_in(new_service(formed.url), sandbox, count=1)[0]
        with joining(formed, tmp_path / "new") as new:
            source = formed.master_of(key_of(user))
            slot = source.call("CLUSTER KEYSLOT", key_of(user))
            new.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id())
            source.call("CLUSTER SETSLOT", slot, "MIGRATING", new.id())
            source.call("MIGRATE", "127.0.0.1", new.port, key_of(user), 0, 5000)

            during = user.get("/auth").status
            for node in (new, source):
                node.call("CLUSTER SETSLOT", slot, "NODE", new.id())

            assert [during, user.get("/auth").status] == [204, 204]


@contextlib.contextmanager
def with_nobody(formed: Cluster, slot: int) -> Iterator[None]:
    """Let a slot have no master at all."""
    owner = formed._node_on(formed.nodes[0].owners()[slot])
    for node in formed.nodes:
        node.call("CLUSTER DELSLOTS", slot)
    try:
        yield
    finally:
        owner.call("CLUSTER ADDSLOTS", slot)


def test_a_slot_that_nobody_has_costs_nobody_else_anything_and_comes_back_without_a_restart(
    formed: Cluster, new_service: NewService, sandbox: Sandbox
) -> None:
    send = new_service(formed.url)
    user, *others = logged_in(send, sandbox)
    late = new_service(formed.url)
    with with_nobody(formed, key_slot(key_of(user).encode())):
        for each in (send, late):
            assert each("GET", "/auth", headers={"sessionid": user.stored}).status == 503
            assert each("GET", "/readyz").status == 200
            assert {each("GET", "/auth", headers={"sessionid": other.stored}).status for other in others} == {204}

    for each in (send, late):
        user.send = each
        wait_until(lambda: user.get("/auth").status == 204, what="the slot is back")


# all of it is lost


@pytest.mark.parametrize("fault", [Cluster.kill, Cluster.freeze])
def test_a_cluster_that_is_gone_is_an_outage_that_ends_without_a_restart(
    formed: Cluster, new_service: NewService, sandbox: Sandbox, fault: Callable[[Cluster, ClusterNode], None]
) -> None:
    witness = Witness.of(new_service(formed.url), sandbox)
    for node in formed.nodes:
        fault(formed, node)

    crowd = at_once([witness.user] * 8, "/auth")
    witness.sees_an_outage()

    assert crowd == {503: 8}
    for node in formed.nodes:
        node.thaw() if node.is_frozen else node.start()
    witness.sees_it_end()


# why not stock Flask-Session


def test_stock_flask_session_ignores_a_cluster_for_a_server_on_this_machine_and_we_do_not(
    formed: Cluster, new_service: NewService, sandbox: Sandbox
) -> None:
    app = Flask(__name__)
    with RedisCluster(host="127.0.0.1", port=formed.nodes[0].port) as client:
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
        with pytest.warns(RuntimeWarning, match="attempting to create a new instance on localhost"):
            Session(app)
    user = logged_in(new_service(formed.url), sandbox, count=1)[0]

    # Flask types the interface by its base class, which has no client.
    stock = app.session_interface.client.connection_pool.connection_kwargs  # type: ignore[attr-defined]
    assert (stock.get("host", "localhost"), stock.get("port", 6379)) == ("localhost", 6379)
    assert formed.master_of(key_of(user)).call("EXISTS", key_of(user)) == 1
