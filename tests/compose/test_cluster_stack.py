"""The stack with a Redis Cluster: it serves, and goes on serving when a master is gone."""

from __future__ import annotations

from functools import partial

from tests.compose.stack import Stack, is_served
from tests.drivers import MiniProgram
from tests.servers import wait_until

OVERRIDES = ("cluster",)


def test_users_log_in_on_any_part_of_the_cluster(stack: Stack, mini_program: MiniProgram) -> None:
    users = [MiniProgram(mini_program.send, stack.sandbox, openid=f"oUser{number}") for number in range(12)]

    assert {user.log_in().status for user in users} == {200}

    assert [user.get("/api/").json["openid"] for user in users] == [user.openid for user in users]
    assert stack.ask_redis("acl", "log").strip() == ""


def test_users_stay_logged_in_when_a_master_is_stopped(stack_to_break: Stack, mini_program: MiniProgram) -> None:
    stack = stack_to_break
    users = [MiniProgram(mini_program.send, stack.sandbox, openid=f"oUser{number}") for number in range(12)]
    assert {user.log_in().status for user in users} == {200}

    stack.compose("stop", "redis-2")

    for user in users:
        wait_until(partial(is_served, user), what="a replica took over")


def test_starting_again_leaves_the_cluster_as_it_is(stack: Stack) -> None:
    before = stack.ask_redis("cluster", "myid")

    stack.compose("up", "--detach")

    assert stack.ask_redis("cluster", "myid") == before
