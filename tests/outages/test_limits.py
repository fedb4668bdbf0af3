"""Limits when Redis does not count: nobody is refused or kept waiting for want of a count."""

from __future__ import annotations

import dataclasses

import pytest

from tests.drivers import MiniProgram, Sandbox
from tests.outages.conftest import NewService, Witness
from tests.outages.test_one_server import Fault, frozen, killed
from tests.servers import RedisServer
from wxlogin.config.settings import Settings

SIGNED = {"rawData": "{}", "signature": "0" * 40}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Limits for all, that nobody reaches here unless a test lowers them."""
    return dataclasses.replace(
        settings,
        login_limit_per_address="1000/minute",
        login_limit_per_user="1000/minute",
        user_data_limit_per_address="1000/minute",
        user_data_limit_per_user="1000/minute",
    )


def status_of_verify(user: MiniProgram) -> int:
    return user.send("POST", "/user-data/verify", headers={"sessionid": user.stored}, json=SIGNED).status


@pytest.mark.parametrize("fault", [killed, frozen])
def test_with_limits_an_outage_is_told_as_soon_and_ends_as_well(
    server: RedisServer, witness: Witness, fault: Fault
) -> None:
    with fault(server):
        witness.sees_an_outage()
        assert status_of_verify(witness.user) == 503

    witness.sees_it_end()
    assert status_of_verify(witness.user) == 200


@pytest.mark.parametrize("fault", [killed, frozen])
def test_the_first_login_that_meets_an_outage_is_told_as_soon(
    server: RedisServer, witness: Witness, fault: Fault
) -> None:
    with fault(server):
        witness.can_not_log_in()


def test_while_only_the_limits_are_not_counted_all_else_is_served(
    server: RedisServer, new_service: NewService, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as operator:
        operator.execute_command("ACL SETUSER default -incrby")
    user = MiniProgram(new_service(server.url), sandbox)

    assert {user.log_in().status for _ in range(3)} == {200}
    assert {status_of_verify(user) for _ in range(3)} == {200}
    assert caplog.messages.count("the limits are not counted: requests are let through") == 1
