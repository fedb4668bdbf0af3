import sys
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.sandbox.drivers import APPID, OTHER_APPID, OTHER_SECRET, SECRET, Clock, Sandbox
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import SandboxState


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> SandboxState:
    return SandboxState({APPID: SECRET, OTHER_APPID: OTHER_SECRET}, clock=clock)


@pytest.fixture
def naps() -> list[float]:
    """The delays that calls were given, none of which takes any time."""
    return []


@pytest.fixture
def app(state: SandboxState, naps: list[float]) -> Flask:
    return create_sandbox(state, sleep=naps.append)


@pytest.fixture
def sandbox(app: Flask) -> Sandbox:
    return Sandbox(app.test_client())


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Have threads switch as often as Python can, so that what is not atomic shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # less, and twenty threads may do nothing but take turns
    yield
    sys.setswitchinterval(before)
