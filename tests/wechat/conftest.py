"""Clients of a stand-in for WeChat, and certificates for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from tests.wechat.drivers import APPID, PATIENT, SECRET, BadDay, Certificates, Outcome, live_through
from wxlogin.wechat.client import Timeouts, WeChatClient, open_connections


class ClientOf(Protocol):
    """``client_of(url)``: a client whose connections are closed after the test."""

    def __call__(self, url: str, *, timeouts: Timeouts = ..., most: int = ...) -> WeChatClient: ...


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def outcome_of(certificates: Certificates) -> Callable[[BadDay], Outcome]:
    """``outcome_of(day)``: each bad day is lived through once, for all the tests that look at what came of it."""
    return functools.cache(lambda day: live_through(day, certificates))


@pytest.fixture
def client_of(certificates: Certificates) -> Iterator[ClientOf]:
    with contextlib.ExitStack() as ends:

        def client_of(url: str, *, timeouts: Timeouts = PATIENT, most: int = 4) -> WeChatClient:
            connections = ends.enter_context(open_connections(most=most))
            connections.verify = str(certificates.authority)
            return WeChatClient(APPID, SECRET, api_url=url, connections=connections, timeouts=timeouts)

        yield client_of
