"""Connections that end on time.

A read timeout bounds the wait for the next byte: an answer that drips never meets it. And no timeout of urllib3's
bounds the DNS lookup. So here connecting, the lookup included, happens on a helper thread that is waited for no
longer than agreed, and every read gets what is left of the call's time.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, SSLError
from urllib3.util.ssl_ import create_urllib3_context

_call = threading.local()
_connecting = ThreadPoolExecutor(max_workers=8, thread_name_prefix="wechat-connect")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let what this thread does inside, over `TimelyPools`, take ``seconds`` in all.

    Limits nest: an inner one shortens the time that is left, and never extends it.
    """
    outer = _deadline()
    _call.deadline = min(outer, time.monotonic() + seconds)
    try:
        yield
    finally:
        _call.deadline = outer


def time_left() -> float:
    """Return how many seconds are left within this thread's limit; endless outside of any."""
    return max(0.0, _deadline() - time.monotonic())


class TimelyPools(PoolManager):
    """urllib3's pools of ``most`` kept connections each, whose calls have to be made inside a `time_limit`.

    The certificates of the authorities to trust are read once, from ``authorities_path``, a PEM file.
    """

    def __init__(self, *, most: int, authorities_path: str) -> None:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        context.load_verify_locations(authorities_path)
        context.sslsocket_class = _TimelyTlsSocket
        super().__init__(maxsize=most, ssl_context=context)
        self.pool_classes_by_scheme = {"http": _TimelyPool, "https": _TimelyTlsPool}


def _within_call(seconds: float | None) -> float:
    """Return ``seconds``, or what is left of the call's time if that is less.

    A call whose time is over gets no last chance: a flood of bytes that count for nothing would take it each time.
    """
    left = time_left()
    if not left:
        raise TimeoutError("the call's time is over")
    return min(seconds or left, left)


def _deadline() -> float:
    deadline: float = getattr(_call, "deadline", math.inf)
    return deadline


class _TimelySocket(socket.socket):
    def recv_into(self, *args: Any) -> int:
        self.settimeout(_within_call(self.gettimeout()))
        return super().recv_into(*args)


class _TimelyTlsSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_within_call(self.gettimeout()))
        super().do_handshake(block)

    def recv_into(self, *args: Any) -> int:
        self.settimeout(_within_call(self.gettimeout()))
        return super().recv_into(*args)


class _TimelyConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connected = _connecting.submit(super()._new_conn)
        try:
            plain = connected.result(timeout=_within_call(self.timeout))
        except TimeoutError:
            if not connected.cancel():
                connected.add_done_callback(_close)
            raise ConnectTimeoutError(self, "not connected in time") from None
        timely = _TimelySocket(fileno=plain.detach())
        timely.settimeout(self.timeout)
        return timely


class _TimelyTlsConnection(_TimelyConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connect, and say for a failed handshake that no request was sent; urllib3 would leave that open."""
        try:
            super().connect()
        except TimeoutError:
            raise ConnectTimeoutError(self, "no TLS in time") from None
        except ConnectionError as error:
            raise SSLError(error) from None


class _TimelyPool(HTTPConnectionPool):
    ConnectionCls = _TimelyConnection


class _TimelyTlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimelyTlsConnection


def _close(connected: Future[socket.socket]) -> None:
    if connected.exception() is None:
        connected.result().close()
