"""What a request costs nothing for: all that can be imported, compiled and connected is, before the second one."""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.servers import RedisServer
from wxlogin.app import create_app
from wxlogin.services import Services
from wxlogin.settings import Settings


class Watch:
    """Notes what Python tells its auditors, while it is on; they can't be dismissed.

    https://docs.python.org/3/library/audit_events.html
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.thread: int | None = None
        self.port = 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread is None:
            return
        if event == "socket.connect" and arguments[1][1] == self.port:  # on a helper's thread
            self.events.append("connected to Redis")
        elif event in {"import", "compile"} and threading.get_ident() == self.thread:
            self.events.append(f"{event} {arguments[0]}")


_watch = Watch()


@pytest.fixture
def watch(the_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    compile_pattern: Any = re._compile  # type: ignore[attr-defined]

    def noted(pattern: Any, flags: Any) -> Any:
        if _watch.thread == threading.get_ident() and (type(pattern), pattern, flags) not in re._cache:  # type: ignore[attr-defined]
            _watch.events.append(f"pattern {pattern!r}")
        return compile_pattern(pattern, flags)

    monkeypatch.setattr(re, "_compile", noted)
    _watch.events, _watch.port = [], the_redis_server.port
    yield _watch
    _watch.thread = None


@pytest.fixture
def send(settings: Settings, the_redis_server: RedisServer) -> Send:
    return in_process(create_app(Services.build(dataclasses.replace(settings, redis_url=the_redis_server.url))))


REQUESTS: dict[str, Callable[[MiniProgram], object]] = {
    "check": lambda user: user.get("/auth"),
    "who am I": lambda user: user.whoami(),
    "refused": lambda user: user.send("GET", "/auth"),
    "log in": lambda user: user.log_in(),
    "devices": lambda user: user.get("/sessions"),
    "log out": lambda user: (user.log_out(), user.log_in()),
    "not found": lambda user: user.get("/nothing"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_nothing_is_imported_compiled_or_connected(what: str, send: Send, sandbox: Sandbox, watch: Watch) -> None:
    user = MiniProgram(send, sandbox)
    user.log_in()
    REQUESTS[what](user)

    watch.thread = threading.get_ident()
    REQUESTS[what](user)
    watch.thread = None

    assert watch.events == []


def test_the_watch_sees(watch: Watch, the_redis_server: RedisServer) -> None:
    sys.modules.pop("this_is_no_module", None)
    watch.thread = threading.get_ident()

    with pytest.raises(ImportError):
        __import__("this_is_no_module")
    compile("1", "nowhere", "eval")
    re.match("a pattern that nobody has[?]", "")
    with the_redis_server.client() as client:
        client.ping()

    watch.thread = None
    assert watch.events[0] == "import this_is_no_module"
    assert "compile b'1'" in watch.events or "compile 1" in watch.events
    assert "pattern 'a pattern that nobody has[?]'" in watch.events
    assert "connected to Redis" in watch.events
