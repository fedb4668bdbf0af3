"""What our worker uses of gunicorn's inside, which no version promises: looked at before it is used."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_THREAD_WORKER = "gunicorn.workers.gthread:ThreadWorker"
_CONNECTION = "gunicorn.workers.gthread:TConn"
_QUEUE = "gunicorn.workers.gthread:PollableMethodQueue"
_UNREADER = "gunicorn.http.unreader:SocketUnreader"

_NAMES = ("gunicorn:SERVER", "gunicorn.glogging:Logger.access_log_enabled")

# The parameters of each method that our worker calls or replaces.
_METHODS: Mapping[str, Sequence[str]] = {
    f"{_THREAD_WORKER}.accept": ("self", "listener"),
    f"{_THREAD_WORKER}.enqueue_req": ("self", "conn"),
    f"{_THREAD_WORKER}.finish_request": ("self", "conn", "fs"),
    f"{_THREAD_WORKER}.on_client_socket_readable": ("self", "conn", "client"),
    f"{_THREAD_WORKER}.set_accept_enabled": ("self", "enabled"),
    f"{_THREAD_WORKER}.wait_for_and_dispatch_events": ("self", "timeout"),
    f"{_CONNECTION}.close": ("self", "graceful"),
    f"{_CONNECTION}.set_timeout": ("self",),
    f"{_QUEUE}.defer": ("self", "callback", "args"),
    f"{_UNREADER}.unread": ("self", "data"),
}

# What the instances of each class are given when they are made.
_ATTRIBUTES: Mapping[str, Sequence[str]] = {
    "gunicorn.workers.base:Worker": ("alive", "cfg", "log", "max_requests", "nr", "sockets"),
    _THREAD_WORKER: ("keepalived_conns", "max_keepalived", "method_queue", "nr_conns", "poller"),
    _CONNECTION: ("parser", "sock"),
    _UNREADER: ("mxchunk",),
    "gunicorn.http.parser:Parser": ("unreader",),
}


def find_incompatibilities() -> list[str]:
    """Return what this gunicorn does not have as known, as ``ThreadWorker.accept``; nothing if all is as known."""
    return [path.partition(":")[2] for path in _incompatible_paths()]


def _incompatible_paths() -> Iterator[str]:
    yield from (path for path in _NAMES if _find(path) is None)
    yield from (path for path, parameters in _METHODS.items() if _parameters_of(_find(path)) != parameters)
    for path, attributes in _ATTRIBUTES.items():
        given = _names_in(_find(f"{path}.__init__"))
        yield from (f"{path}.{each}" for each in attributes if each not in given)


def _find(path: str) -> Any:
    """Return what stands at ``package.module:name.name``, or None."""
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError):
        return None


def _parameters_of(function: Any) -> tuple[str, ...] | None:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # it is no function, or does not tell
        return None


def _names_in(function: Any) -> Sequence[str]:
    return function.__code__.co_names if inspect.isfunction(function) else ()
