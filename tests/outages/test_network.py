"""A network between the service and Redis that refuses, resets, swallows, delays and loses what was said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drivers import MiniProgram, Sandbox
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.outages.conftest import NewService, Witness
from tests.redis_topologies import read_only_replica
from tests.servers import RedisServer


def answers_too_late(proxy: FaultProxy) -> None:
    proxy.delay(0.25)  # each way, of which a fifth of a second is waited for


@pytest.mark.parametrize("fault", [FaultProxy.refuse, FaultProxy.reset, FaultProxy.blackhole, answers_too_late])
def test_an_outage_is_told_and_ends_without_a_restart(
    proxy: FaultProxy, witness_behind_proxy: Witness, fault: Callable[[FaultProxy], None]
) -> None:
    fault(proxy)

    witness_behind_proxy.sees_an_outage()

    proxy.pass_on()
    witness_behind_proxy.sees_it_end()


@pytest.mark.parametrize("fault", [FaultProxy.refuse, FaultProxy.reset, FaultProxy.blackhole])
def test_a_service_that_was_never_connected_tells_it_too(
    proxy: FaultProxy,
    new_service: NewService,
    witness_behind_proxy: Witness,
    fault: Callable[[FaultProxy], None],
) -> None:
    witness_behind_proxy.user.send = new_service(proxy.url)
    fault(proxy)

    witness_behind_proxy.sees_an_outage()

    proxy.pass_on()
    witness_behind_proxy.sees_it_end()


def test_a_slow_network_is_waited_for(proxy: FaultProxy, witness_behind_proxy: Witness) -> None:
    proxy.delay(0.04)  # each way

    witness_behind_proxy.sees_it_end()


@pytest.mark.parametrize("reply_bytes", [0, 1, 40])
def test_a_reply_that_breaks_off_is_asked_for_again(
    proxy: FaultProxy, witness_behind_proxy: Witness, reply_bytes: int
) -> None:
    commands_before = proxy.commands["HGET"]
    proxy.cut_after(reply_bytes)

    assert witness_behind_proxy.user.get("/auth").status == 503

    assert proxy.commands["HGET"] - commands_before == 2
    proxy.pass_on()
    witness_behind_proxy.sees_it_end()


def test_after_a_write_was_refused_the_next_one_goes_where_the_address_leads_now(
    server: RedisServer, new_service: NewService, sandbox: Sandbox, tmp_path: Path
) -> None:
    with read_only_replica(tmp_path / "replica") as replica, fault_proxy(replica.port) as proxy:
        user = MiniProgram(new_service(proxy.url), sandbox)
        code = sandbox.issue_code()
        assert user.log_in_with(code).status == 503

        proxy.target_port = server.port  # for new connections, as a name that leads to the new master

        assert user.log_in_with(code).status == 200


# the work is done, but nobody hears so: HSET is in what logs in, HDEL in what logs out


def test_a_login_whose_reply_is_lost_makes_one_session(
    proxy: FaultProxy, new_service: NewService, sandbox: Sandbox
) -> None:
    user = MiniProgram(new_service(proxy.url), sandbox)
    proxy.drop_reply_of("HSET")

    assert user.log_in().status == 200

    assert proxy.dropped_replies == 1
    assert len(sandbox.calls()) == 1
    assert [each["is_current"] for each in user.get("/sessions").json["sessions"]] == [True]


def test_a_login_whose_reply_is_lost_ends_the_session_before_it(
    proxy: FaultProxy, witness_behind_proxy: Witness
) -> None:
    user = witness_behind_proxy.user
    before = {"sessionid": user.stored}
    proxy.drop_reply_of("HSET")

    answer = user.send("POST", "/login", json={"code": witness_behind_proxy.code}, headers=before)

    assert proxy.dropped_replies == 1
    assert answer.status == 200
    assert user.send("GET", "/auth", headers=before).status == 401
    assert user.send("GET", "/auth", headers={"sessionid": answer.set_cookie}).status == 204


@pytest.mark.parametrize("path", ["/session", "/sessions"])
def test_a_logout_whose_reply_is_lost_ends_the_session(
    proxy: FaultProxy, witness_behind_proxy: Witness, path: str
) -> None:
    user = witness_behind_proxy.user
    proxy.drop_reply_of("HDEL")

    answer = user.send("DELETE", path, headers={"sessionid": user.stored})

    assert proxy.dropped_replies == 1
    assert answer.status == 204
    assert user.whoami().status == 401
