"""Clients of a stand-in for WeChat, and certificates for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from tests.wechat.drivers import APPID, PATIENT, SECRET, BadDay, Certificates, Outcome, api_at, live_through
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.http import Timeouts, WeChatApi


class ApiOf(Protocol):
    """``api_of(url)``: a way to a stand-in, without pauses, that is closed after the test."""

    def __call__(self, url: str, *, timeouts: Timeouts = ..., most: int = ..., **more: Any) -> WeChatApi: ...


class ClientOf(Protocol):
    """``client_of(url)``: a client with an `ApiOf` of its own."""

    def __call__(self, url: str, *, timeouts: Timeouts = ..., most: int = ..., **more: Any) -> WeChatClient: ...


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def outcome_of(certificates: Certificates) -> Callable[[BadDay], Outcome]:
    """``outcome_of(day)``: each bad day is lived through once, for all the tests that look at what came of it."""
    return functools.cache(lambda day: live_through(day, certificates))


@pytest.fixture
def api_of(certificates: Certificates) -> Iterator[ApiOf]:
    with contextlib.ExitStack() as ends:

        def api_of(url: str, *, timeouts: Timeouts = PATIENT, most: int = 4, **more: Any) -> WeChatApi:
            api = api_at(url, certificates, timeouts=timeouts, most=most, **more)
            return ends.enter_context(contextlib.closing(api))

        yield api_of


@pytest.fixture
def client_of(api_of: ApiOf) -> ClientOf:
    def client_of(url: str, *, timeouts: Timeouts = PATIENT, most: int = 4, **more: Any) -> WeChatClient:
        return WeChatClient(APPID, SECRET, api=api_of(url, timeouts=timeouts, most=most, **more))

    return client_of
