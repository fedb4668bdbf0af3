"""A test fails if it leaves the process changed: what it leaves behind decides how later tests end.

The process is looked at before the first fixture of a test and after the last one, likewise around the tests of a
module, and around all. What a fixture of a wider scope changes is that scope's to put back.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import time_machine

from wxlogin.config import snapshot
from wxlogin.observability import logging as logs

Part = dict[Any, Any]
State = dict[str, Part]
Look = Callable[[], Part]

SCOPES = ("function", "class", "module", "package", "session")
THREAD_ENDS_WITHIN_SECONDS = 20
_LOOKS_FOR_A_COMMAND = 5_000  # a process of a busy machine waits for its turn to begin

# The service's pools, and what runs the tests: they live as long as the process.
_LASTING_THREADS = ("redis-connect", "wechat-connect", "execnet")
_LASTING_PROCESS = "multiprocessing.resource_tracker"
_PYTESTS_HANDLERS = "_pytest.logging"  # which come and go with each phase of a test
_AS_MADE = (logging.NOTSET, True, False, (), ())
_SIGNALS = sorted(signal.valid_signals() & set(signal.Signals) - {signal.SIGRTMIN, signal.SIGRTMAX})
_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")  # of the main thread, and of threads that have ended


def _environment() -> Part:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _loggers() -> Part:
    """Return the loggers that somebody configured; those that only exist change nothing."""
    known = {"root": logging.root, **logging.root.manager.loggerDict}
    return {
        name: configured
        for name, logger in known.items()
        if isinstance(logger, logging.Logger) and (configured := _configured(logger)) != _AS_MADE
    }


def _configured(logger: logging.Logger) -> tuple[object, ...]:
    handlers = tuple(each for each in logger.handlers if _does_something(each))
    return logger.level, logger.propagate, logger.disabled, handlers, tuple(logger.filters)


def _does_something(handler: logging.Handler) -> bool:
    return type(handler) is not logging.NullHandler and type(handler).__module__ != _PYTESTS_HANDLERS


def _signal_handlers() -> Part:
    return {number.name: signal.getsignal(number) for number in _SIGNALS}


def _threads() -> Part:
    """Return the threads that keep the process from ending."""
    running = threading.enumerate()
    return {each: 1 for each in running if not (each.daemon or each.name.startswith(_LASTING_THREADS))}


class _ChildProcesses:
    """How many processes of each command were not waited for: by command, because a test may restart a server.

    There are none where the system does not tell.
    """

    def __init__(self) -> None:
        self._commands: dict[str, str] = {}

    def __call__(self) -> Part:
        try:
            numbers = _CHILDREN.read_text().split()
        except OSError:
            return {}
        self._commands = {number: self._commands.get(number) or _command_of(number) for number in numbers}
        return Counter(command for command in self._commands.values() if _LASTING_PROCESS not in command)


def _command_of(number: str) -> str:
    """Return what a process runs; Linux tells it a moment after `subprocess.Popen` has returned."""
    process = Path(f"/proc/{number}")
    try:
        for _ in range(_LOOKS_FOR_A_COMMAND):
            if command := (process / "cmdline").read_text().replace("\0", " ").strip():
                return command
            if _has_ended(process):
                return "(ended)"
            time.sleep(0.001)
    except OSError:
        return "(ended)"
    return "(nameless)"


def _has_ended(process: Path) -> bool:
    state = (process / "stat").read_text().rpartition(") ")[2][:1]
    return state in "ZX"


def _process() -> Part:
    return {
        "working directory": Path.cwd(),
        "default timeout of sockets": socket.getdefaulttimeout(),
        "logging.disable": logging.root.manager.disable,
        "class of loggers": logging.getLoggerClass(),
        "factory of log records": logging.getLogRecordFactory(),
        "sys.path": tuple(sys.path),
        "sys.argv": tuple(sys.argv),
        "switch interval": sys.getswitchinterval(),
        "recursion limit": sys.getrecursionlimit(),
        "limit of open files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "time machine": time_machine.escape_hatch.is_travelling(),
    }


def _service() -> Part:
    return {
        "what to start with": snapshot.shared._kept,
        "request id": logs.request_id.get(),
        "user hash": logs.user_hash.get(),
    }


def _modules() -> Part:
    return dict(sys.modules)


def _permissions() -> Part:
    before = os.umask(0o077)
    os.umask(before)
    return {"umask": before}


def _metrics() -> Part:
    return dict.fromkeys((family.name for family in prometheus_client.REGISTRY.collect()), 1)


_QUICK: dict[str, Look] = {
    "environment": _environment,
    "logger": _loggers,
    "signal handler": _signal_handlers,
    "thread": _threads,
    "child process": _ChildProcesses(),
    "process": _process,
    "service": _service,
}
_ALL: dict[str, Look] = {
    **_QUICK,
    "module": _modules,
    "permissions": _permissions,
    "metric of prometheus_client": _metrics,
}
_MAY_END = {"thread", "child process"}
_MAY_BEGIN = {"module"}  # to be imported late is no change


def look(parts: Mapping[str, Look]) -> State:
    """Return what tests can change in the process, part by part."""
    return {name: part() for name, part in parts.items()}


def changes(before: State, after: State) -> list[str]:
    """Return how the process differs from what it was before."""
    return [
        f"{part} {key}: {then!r} became {now!r}"
        for part in before
        if before[part] != after[part]
        for key in {**before[part], **after[part]}
        if _matters(part, then := before[part].get(key), now := after[part].get(key))
    ]


def _matters(part: str, then: Any, now: Any) -> bool:
    if part in _MAY_END:
        return bool((now or 0) > (then or 0))
    if part in _MAY_BEGIN and then is None:
        return False
    return bool(then != now)


class Watch:
    """The state of the process when each scope began that has not ended."""

    def __init__(self) -> None:
        self._starts: dict[str, State] = {}

    @contextmanager
    def over(self, scope: str) -> Iterator[None]:
        """Fail if the process is changed when the context ends; each change is told once."""
        parts = _QUICK if scope == "function" else _ALL
        self._starts[scope] = look(parts)
        yield
        start = self._starts.pop(scope)
        _wait_for_threads(start)
        end = look(parts)
        if found := changes(start, end):
            self._carry_over(start, end, self._starts)
            pytest.fail(f"this {scope} leaves behind:\n" + "\n".join(found), pytrace=False)

    @contextmanager
    def allowing(self, scope: str) -> Iterator[None]:
        """Let what changes until the context ends outlast the scopes that are narrower than this one."""
        before = look(_ALL)
        yield
        self._carry_over(before, look(_ALL), SCOPES[: SCOPES.index(scope)])

    def _carry_over(self, before: State, after: State, scopes: Iterable[str]) -> None:
        for scope in self._starts.keys() & set(scopes):
            _carry_over(before, after, self._starts[scope])


def _wait_for_threads(start: State) -> None:
    """Let those end that were told to."""
    for thread in _threads().keys() - start["thread"].keys():
        thread.join(THREAD_ENDS_WITHIN_SECONDS)


def _carry_over(before: State, after: State, start: State) -> None:
    for part in start.keys() & after.keys():
        if before[part] != after[part]:
            changed = {key: value for key, value in after[part].items() if before[part].get(key) != value}
            gone = before[part].keys() - after[part].keys()
            start[part] = {key: value for key, value in (start[part] | changed).items() if key not in gone}


_WATCH = pytest.StashKey[Watch]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_WATCH] = Watch()
    logging.getLogger("werkzeug").setLevel(logging.INFO)  # as werkzeug does when it logs its first line


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Look at fixtures of wider scopes: one that a test asks for in its middle may outlast the test."""
    if fixturedef.scope == "function":
        return (yield)
    with request.config.stash[_WATCH].allowing(fixturedef.scope):
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _all_tests_leave_nothing_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    with pytestconfig.stash[_WATCH].over("session"):
        yield


@pytest.fixture(autouse=True, scope="module")
def _a_module_leaves_nothing_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    with pytestconfig.stash[_WATCH].over("module"):
        yield


@pytest.fixture(autouse=True)
def _a_test_leaves_nothing_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    with pytestconfig.stash[_WATCH].over("function"):
        yield
