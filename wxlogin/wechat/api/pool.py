"""Connections that end on time.

A read timeout bounds the wait for the next byte: an answer that drips never meets it. And no timeout of urllib3's
bounds the DNS lookup. So here connecting, the lookup included, happens on a helper thread that is waited for no
longer than agreed, and every read gets what is left of the call's time.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, SSLError
from urllib3.util.ssl_ import create_urllib3_context

from wxlogin.resilience.bounded_connect import BoundedConnector
from wxlogin.resilience.deadline import NEVER, Deadline

_connector = BoundedConnector(thread_name="wechat-connect")


class DeadlineTimeout(Timeout):
    """urllib3's timeouts, in seconds, and the deadline of the call."""

    def __init__(self, deadline: Deadline, *, connect: Any, read: Any) -> None:
        super().__init__(connect=connect, read=read)
        self.deadline = deadline

    def clone(self) -> Timeout:
        """Return a copy, as a pool makes one for each request."""
        return DeadlineTimeout(self.deadline, connect=self._connect, read=self._read)


class DeadlinePoolManager(PoolManager):
    """urllib3's pools of ``max_connections`` kept connections each; each call is made with a `DeadlineTimeout`.

    The certificates of the authorities to trust are read once, from ``authorities_path``, a PEM file.
    """

    def __init__(self, *, max_connections: int, authorities_path: str) -> None:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        context.load_verify_locations(authorities_path)
        context.sslsocket_class = _DeadlineTlsSocket
        super().__init__(maxsize=max_connections, ssl_context=context)
        self.pool_classes_by_scheme = {"http": _DeadlinePool, "https": _DeadlineTlsPool}


class _DeadlineSocket(socket.socket):
    deadline = NEVER

    def recv_into(self, *args: Any) -> int:
        self.settimeout(self.deadline.timeout(self.gettimeout()))
        return super().recv_into(*args)


class _DeadlineTlsSocket(ssl.SSLSocket):
    deadline = NEVER

    def recv_into(self, *args: Any) -> int:
        self.settimeout(self.deadline.timeout(self.gettimeout()))
        return super().recv_into(*args)


class _DeadlineConnection(HTTPConnection):
    deadline = NEVER

    def set_deadline(self, deadline: Deadline) -> None:
        """Bound what happens on this connection from now on."""
        self.deadline = deadline
        sock: Any = self.sock
        if sock is not None:
            sock.deadline = deadline

    def connect(self) -> None:
        """Connect, within the deadline."""
        super().connect()
        self.set_deadline(self.deadline)

    def _new_conn(self) -> socket.socket:
        try:
            plain = _connector.connect(super()._new_conn, timeout_seconds=self.deadline.timeout(self.timeout))
        except TimeoutError:
            raise ConnectTimeoutError(self, "not connected in time") from None
        timely = _DeadlineSocket(fileno=plain.detach())
        timely.settimeout(self.deadline.timeout(self.timeout))  # of a TLS handshake, as a whole
        return timely


class _DeadlineTlsConnection(_DeadlineConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connect, and say for a failed handshake that no request was sent; urllib3 would leave that open."""
        try:
            super().connect()
        except TimeoutError:
            raise ConnectTimeoutError(self, "no TLS in time") from None
        except ConnectionError as error:
            raise SSLError(error) from None


class _DeadlinePool(HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection

    def _make_request(self, conn: Any, *arguments: Any, **options: Any) -> Any:
        conn.set_deadline(options["timeout"].deadline)
        return super()._make_request(conn, *arguments, **options)


class _DeadlineTlsPool(_DeadlinePool, HTTPSConnectionPool):
    ConnectionCls = _DeadlineTlsConnection
