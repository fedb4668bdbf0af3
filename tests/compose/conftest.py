"""The stack of docker-compose.yml as it ships, for tests that run only if asked for: ``make stack``."""

from __future__ import annotations

import os
from collections.abc import Iterator

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
def mini_program(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MiniProgram:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stack.certificate))
    stack.sandbox.reset()
    return MiniProgram(stack.send, stack.sandbox)
