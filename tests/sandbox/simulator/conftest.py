"""The simulator with a real service: the sandbox and the service as servers on threads, the store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import environment, logging_put_back
from tests.sandbox.simulator.drivers import Simulator, serving, simulator_of
from tests.servers import free_port
from wxlogin.cli.dev.app import create_dev_app


@pytest.fixture(scope="package")
def simulator() -> Iterator[Simulator]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with logging_put_back(), simulator_of(address) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(redis_url="memory://", wechat_api_url=running.url).items():
            patch.setenv(name, value)
        app = create_dev_app(simulator_url=f"{running.url}/simulator")
        with serving(app, port):
            yield running
