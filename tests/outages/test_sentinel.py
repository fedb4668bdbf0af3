"""A master that dies, freezes or steps down under Sentinel: a few seconds of 503, and nobody is logged out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.drivers import MiniProgram, Sandbox
from tests.outages.conftest import CLIENTS, NewService, at_once, logged_in, openid_of, traffic
from tests.redis_topologies import DataNode, SentinelGroup, sentinel
from tests.servers import wait_until
from tests.stopwatch import stopwatch

RESTORED_WITHIN_SECONDS = 10


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel(tmp_path) as group:
        yield group


@pytest.fixture
def users(group: SentinelGroup, new_service: NewService, sandbox: Sandbox) -> list[MiniProgram]:
    """Users whose sessions every server knows."""
    users = logged_in(new_service(group.url), sandbox)
    wait_until_replicated(group)
    return users


def wait_until_replicated(group: SentinelGroup) -> None:
    """Return when both replicas have what was written before."""
    with group.master().client() as master:
        master.set("marker", "written last")
        assert master.wait(2, 5000) == 2


def logged_out(user: MiniProgram) -> MiniProgram:
    """Log a user out, who keeps what opened the session."""
    assert user.log_out().status == 204
    return user


@pytest.mark.parametrize("fault", [SentinelGroup.kill_master, SentinelGroup.freeze_master])
def test_a_lost_master_costs_a_few_seconds_and_no_session(
    group: SentinelGroup, users: list[MiniProgram], fault: Callable[[SentinelGroup], DataNode]
) -> None:
    gone = logged_out(users.pop())
    wait_until_replicated(group)
    with traffic(*users) as asking:
        asking.wait_until_all_are_let_in()

        group.wait_for_new_master(fault(group))
        with stopwatch() as seconds:
            asking.wait_until_all_are_let_in()

        assert seconds() < RESTORED_WITHIN_SECONDS
    assert {*asking.statuses} == {204, 503}
    assert at_once(users, "/session") == {200: len(users)}
    assert gone.get("/auth").status == 401
    assert gone.log_in().status == 200


def test_a_planned_failover_loses_no_session_that_was_promised(
    group: SentinelGroup, users: list[MiniProgram], new_service: NewService, sandbox: Sandbox
) -> None:
    gone = logged_out(users.pop())
    send = new_service(group.url)
    promised: list[MiniProgram] = []

    def another_logs_in() -> bool:
        user = MiniProgram(send, sandbox, openid=openid_of(CLIENTS + len(promised)))
        is_promised = user.log_in().status == 200
        promised.extend([user] * is_promised)
        return is_promised

    with traffic(*users) as asking:
        old = group.planned_failover()
        wait_until(lambda: another_logs_in() and group.master() is not old, what="logging in works again")
        asking.wait_until_all_are_let_in()

    late = new_service(group.url)  # which has never heard of the old master
    elsewhere = [dataclasses.replace(user, send=late) for user in (*users, *promised)]
    assert {*asking.statuses} <= {204, 503}
    assert [user.get("/auth").status for user in elsewhere] == [204] * len(elsewhere)
    assert gone.get("/auth").status == 401


def test_a_thawed_master_of_old_is_not_asked_not_even_by_a_process_that_was_idle_meanwhile(
    group: SentinelGroup, users: list[MiniProgram], new_service: NewService
) -> None:
    idle = new_service(group.url)
    elsewhere = [dataclasses.replace(user, send=idle) for user in users]
    assert at_once(elsewhere, "/auth") == {204: len(users)}
    old = group.freeze_master()
    with traffic(*users) as asking:
        group.wait_for_new_master(old)
        asking.wait_until_all_are_let_in()
    for user in users:
        logged_out(user)

    group.thaw()

    assert at_once(users, "/auth") == {401: len(users)}
    assert at_once(elsewhere, "/auth") == {401: len(users)}
    assert old.is_master  # or so it thinks, and would let them in


def test_after_a_planned_failover_a_process_that_only_reads_finds_the_new_master_too(
    group: SentinelGroup, users: list[MiniProgram], new_service: NewService
) -> None:
    reading = new_service(group.url)
    elsewhere = [dataclasses.replace(user, send=reading) for user in users]
    with traffic(*elsewhere[1:]) as asking:
        asking.wait_until_all_are_let_in()
        old = group.planned_failover()
        group.wait_for_new_master(old)
        wait_until(lambda: users[0].log_out().status == 204, what="logging out works")

        wait_until(lambda: elsewhere[0].get("/auth").status == 401, what="the others hear of it")

        assert old.is_master  # or so it thinks, and would let in who has logged out
    assert {*asking.statuses} <= {204, 503}


def test_as_soon_as_a_sentinel_names_another_master_that_one_is_asked(
    group: SentinelGroup, new_service: NewService, sandbox: Sandbox
) -> None:
    leader = group.sentinel_nodes[0]
    send = new_service(f"redis+sentinel://127.0.0.1:{leader.port}/{group.name}")
    old = group.planned_failover()
    wait_until(lambda: leader.view(group.name) != old.port, what="a replica is promoted")

    answer = MiniProgram(send, sandbox).log_in()  # while "SENTINEL MASTERS" still has the old one

    assert answer.status == 200


def test_silent_sentinels_do_not_matter_while_the_master_is_well(
    group: SentinelGroup, users: list[MiniProgram]
) -> None:
    for node in group.sentinel_nodes:
        node.freeze()

    assert [user.get("/auth").status for user in users] == [204] * len(users)


def test_if_everybody_is_silent_every_answer_still_comes_in_time(
    group: SentinelGroup, users: list[MiniProgram], new_service: NewService
) -> None:
    frozen = [*group.nodes, *group.sentinel_nodes]
    for node in frozen:
        node.freeze()

    statuses = at_once(users, "/auth")
    late = new_service(group.url)

    assert statuses == {503: len(users)}
    assert late("GET", "/readyz").status == 503


def test_sentinels_that_know_no_such_master_leave_the_store_unavailable(
    group: SentinelGroup, new_service: NewService, sandbox: Sandbox
) -> None:
    service = new_service(group.url.replace(group.name, "another"))

    assert service("GET", "/readyz").error["code"] == "store_unavailable"
