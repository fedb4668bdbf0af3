"""The stack with Sentinels: it serves, and goes on serving when the master is gone."""

from __future__ import annotations

from tests.compose.stack import Stack, is_served
from tests.drivers import MiniProgram
from tests.servers import wait_until

OVERRIDES = ("sentinel",)
_ASK = "REDISCLI_AUTH=$(cat /run/secrets/admin_password) redis-cli --user admin"


def test_a_replica_takes_over_from_a_stopped_master_which_comes_back_as_a_replica(
    stack_to_break: Stack, mini_program: MiniProgram
) -> None:
    stack = stack_to_break
    mini_program.log_in()
    assert mini_program.get("/api/").status == 200

    stack.compose("stop", "redis")

    wait_until(lambda: is_served(mini_program), what="a replica took over")
    wait_until(lambda: mini_program.log_in().status == 200, what="every worker has noticed")

    stack.compose("start", "redis")

    asked = f"{_ASK} role || true"  # it may not answer yet
    wait_until(lambda: stack.execute("redis", "sh", "-c", asked).startswith("slave"), what="it is told so")


def test_redis_refuses_nobody_what_they_ask(stack: Stack) -> None:
    logs = [stack.execute(service, "sh", "-c", f"{_ASK} acl log").strip() for service in ("redis-2", "redis-3")]

    assert logs == ["", ""]
