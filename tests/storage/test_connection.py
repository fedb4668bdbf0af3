"""Connecting to Redis takes no longer than it may, whatever it is that takes its time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wxlogin.storage.client import connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable
from wxlogin.storage.url import parse_url


class Resolver:
    """A resolver that says nothing until it is let go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self._look_up = socket.getaddrinfo

    def getaddrinfo(self, *question: Any, **how: Any) -> Any:
        """Answer in the end that it is here."""
        self.goes_on.wait()
        return self._look_up("127.0.0.1", *question[1:], **how)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Patched: no name server of ours could be silent for every host."""
    silent = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", silent.getaddrinfo)
    yield silent
    silent.goes_on.set()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.usefixtures("resolver")
def test_a_name_that_is_looked_up_for_ever_is_an_outage(scheme: str) -> None:
    address = parse_url(f"{scheme}://redis.example:6379")
    gateway = RedisGateway(lambda: connect(address, ConnectionOptions()))

    with pytest.raises(StoreUnavailable):
        gateway.call(lambda client: client.get("name"), key="name", retry_safe=True)


@pytest.mark.usefixtures("resolver")
def test_sentinels_that_are_looked_up_for_ever_are_an_outage() -> None:
    address = parse_url("redis+sentinel://one.example,two.example/mymaster")
    gateway = RedisGateway(lambda: connect(address, ConnectionOptions()))

    with pytest.raises(StoreUnavailable):
        gateway.call(lambda client: client.get("name"), key="name", retry_safe=True)


@pytest.mark.usefixtures("resolver")
def test_when_many_look_it_up_nobody_waits_for_the_others() -> None:
    address = parse_url("redis://redis.example:6379")

    for _ in range(10):
        gateway = RedisGateway(lambda: connect(address, ConnectionOptions(connect_timeout_seconds=0.05)))
        with pytest.raises(StoreUnavailable):
            gateway.call(lambda client: client.get("name"), key="name", retry_safe=False)


def test_a_connection_that_comes_about_too_late_is_closed(resolver: Resolver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = parse_url(f"redis://redis.example:{listener.getsockname()[1]}")
        gateway = RedisGateway(lambda: connect(address, ConnectionOptions()))
        with pytest.raises(StoreUnavailable):
            gateway.call(lambda client: client.get("name"), key="name", retry_safe=False)

        resolver.goes_on.set()

        listener.settimeout(20)
        late, _ = listener.accept()
        with late:
            late.settimeout(20)
            assert late.recv(1) == b""
