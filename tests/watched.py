"""The service in a process whose auditors can't be dismissed: says what requests import, compile and connect.

``python -m tests.watched`` prints, as JSON, what each kind of request does the second time. Its settings, and with
them Redis and the sandbox, are in the environment.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import redis

from tests.drivers import MiniProgram, Sandbox, in_process
from wxlogin.config.settings import load
from wxlogin.services import Services
from wxlogin.web.app import create_app

REQUESTS: dict[str, Callable[[MiniProgram], object]] = {
    "check": lambda user: user.get("/auth"),
    "who am I": lambda user: user.whoami(),
    "refused": lambda user: user.send("GET", "/auth"),
    "log in": lambda user: user.log_in(),
    "devices": lambda user: user.get("/sessions"),
    "log out": lambda user: (user.log_out(), user.log_in()),
    "not found": lambda user: user.get("/nothing"),
}


@dataclasses.dataclass
class Watch:
    """Notes what Python tells its auditors: https://docs.python.org/3/library/audit_events.html."""

    port: int
    events: list[str] = dataclasses.field(default_factory=list)
    thread: int | None = None

    def start(self) -> None:
        sys.addaudithook(self._hear)
        compile_pattern: Any = re._compile  # type: ignore[attr-defined]  # there is no event for patterns

        def noted(pattern: Any, flags: Any) -> Any:
            known = re._cache  # type: ignore[attr-defined]  # likewise
            if self.thread == threading.get_ident() and (type(pattern), pattern, flags) not in known:
                self.events.append(f"pattern {pattern!r}")
            return compile_pattern(pattern, flags)

        re._compile = noted  # type: ignore[attr-defined]  # likewise

    def during(self, work: Callable[[], object]) -> list[str]:
        self.events, self.thread = [], threading.get_ident()
        try:
            work()
        finally:
            self.thread = None
        return self.events

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread is None:
            return
        if event == "socket.connect" and arguments[1][1] == self.port:  # on a helper's thread
            self.events.append("connected to Redis")
        elif event in {"import", "compile"} and threading.get_ident() == self.thread:
            self.events.append(f"{event} {arguments[0]}")


def do_all_of_it(redis_url: str) -> None:
    """Do what is not to be done for a request, so that the watch is seen to see it."""
    try:
        __import__("this_is_no_module")
    except ImportError:
        compile("1", "nowhere", "eval")
    re.match("a pattern that nobody has[?]", "")
    redis.Redis.from_url(redis_url).ping()


def main() -> None:
    """Ask for everything twice, and print what the second time took."""
    settings = load()
    user = MiniProgram(in_process(create_app(Services.build(settings))), Sandbox(settings.wechat_api_url))
    watch = Watch(port=urlsplit(settings.redis_url).port or 0)
    watch.start()
    user.log_in()
    seen = {}
    for what, ask in REQUESTS.items():
        ask(user)
        seen[what] = watch.during(lambda ask=ask: ask(user))  # type: ignore[misc]  # mypy knows no such default
    seen["all of it"] = watch.during(lambda: do_all_of_it(settings.redis_url))
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
