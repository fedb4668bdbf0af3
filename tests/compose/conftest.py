"""The stack of docker-compose.yml as it ships, for tests that run only if asked for: ``make stack``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator

import pytest

from tests.compose.stack import Stack, running_stack
from tests.drivers import MiniProgram

# They take minutes and a Docker engine; .ci/run and `make stack` ask for them.
collect_ignore_glob = [] if os.environ.get("STACK_TESTS") else ["test_*_stack.py"]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack, with the overrides that a module names in ``OVERRIDES``."""
    with running_stack(overrides=getattr(request.module, "OVERRIDES", ())) as running:
        yield running


@pytest.fixture
def stack_to_break(stack: Stack) -> Iterator[Stack]:
    """The stack, for a test that stops a part of it: the next test finds it whole."""
    yield stack
    stack.repair()


@pytest.fixture(scope="module")
def running(stack: Stack) -> set[str]:
    """Return the services that run in a new stack."""
    return set(stack.containers())


@pytest.fixture(autouse=True)
def _leave_it_whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a part of the stack stopped, which the next one, whichever that is, would meet."""
    before = request.getfixturevalue("running") if "stack" in request.fixturenames else set()
    yield
    if before:
        assert set(request.getfixturevalue("stack").containers()) == before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the service logged to the report of a test that failed: its stack is gone afterwards."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        with contextlib.suppress(pytest.fail.Exception):  # of a stack that is not there any more
            report.sections.append(("what the service logged", stack.compose("logs", "--tail", "100", "wxlogin")))
    return report


@pytest.fixture
def mini_program(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MiniProgram:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stack.certificate))
    stack.sandbox.reset()
    return MiniProgram(stack.send, stack.sandbox)
