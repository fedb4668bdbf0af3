"""A stand-in for WeChat's servers: plays any answer, or none, on loopback sockets; nothing waits for ever."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator

TIMEOUT_SECONDS = 30  # longer than `wait_until` waits for a client to leave
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class Upstream:
    """What the stand-in saw. A connection is ``open`` until its behaviour ended or the client left."""

    def __init__(self, port: int, *, scheme: str) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.connections = 0
        self.open = 0
        self.received = b""
        self.requests: list[bytes] = []
        self.stopped = threading.Event()


class Peer:
    """One connection to a client, as a behaviour handles it."""

    def __init__(self, connection: socket.socket, upstream: Upstream) -> None:
        self._connection = connection
        self._upstream = upstream
        self._unread = b""

    def read_request(self) -> bytes:
        """Return the next request, head and body; empty if the client left."""
        while b"\r\n\r\n" not in self._unread:
            if not self.read():
                return b""
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        request = b"\r\n\r\n".join(filter(None, [head, self._read_body(_length_in(head))]))
        self._upstream.requests.append(request)
        return request

    def _read_body(self, length: int) -> bytes:
        while len(self._unread) < length and self.read():
            pass
        body, self._unread = self._unread[:length], self._unread[length:]
        return body

    def read(self) -> bytes:
        """Return what comes next; empty if the client left."""
        data = self._connection.recv(65536)
        self._unread += data
        self._upstream.received += data
        return data

    def send(self, data: bytes) -> None:
        """Send all of it; an OSError if the client left."""
        self._connection.sendall(data)

    def send_slowly(self, pieces: Iterable[bytes], *, every_seconds: float = 0.02) -> None:
        """Send the pieces one by one, until there are no more or the stand-in stops."""
        for piece in pieces:
            if self._upstream.stopped.wait(every_seconds):
                return
            self.send(piece)

    def wait(self, seconds: float) -> None:
        """Be slow."""
        self._upstream.stopped.wait(seconds)

    def wait_until_asked(self) -> None:
        """Leave a request where it is when it comes."""
        self._connection.recv(1, socket.MSG_PEEK)

    def wait_until_left(self) -> None:
        """Say nothing until the client goes."""
        while self.read():
            pass

    def reset(self) -> None:
        """End the connection without a goodbye."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
        self._connection.close()


def _length_in(head: bytes) -> int:
    found = re.search(rb"\r\nContent-Length: (\d+)", head)
    return int(found[1]) if found else 0


Behaviour = Callable[[Peer], None]


@contextlib.contextmanager
def upstream(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, scheme: str = "") -> Iterator[Upstream]:
    """Let every connection be handled by ``behaviour``, until the context ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        seen = Upstream(listener.getsockname()[1], scheme=scheme or ("https" if tls else "http"))
        server = _Server(listener, behaviour, tls, seen)
        server.start()
        try:
            yield seen
        finally:
            server.stop()


class _Server:
    def __init__(
        self, listener: socket.socket, behaviour: Behaviour, tls: ssl.SSLContext | None, seen: Upstream
    ) -> None:
        self._listener = listener
        self._behaviour = behaviour
        self._tls = tls
        self._seen = seen
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def start(self) -> None:
        self._threads[0].start()

    def stop(self) -> None:
        self._seen.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._threads[0].join(TIMEOUT_SECONDS)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS)
            assert not thread.is_alive(), "a behaviour does not end"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._seen.connections += 1
                self._count_open(+1)
                thread = threading.Thread(target=self._handle, args=(connection,))
                self._connections.append(connection)
                self._threads.append(thread)
                thread.start()

    def _handle(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            with contextlib.suppress(OSError), self._secured(connection) as secured:
                self._behaviour(Peer(secured, self._seen))
        finally:
            connection.close()
            self._count_open(-1)

    def _secured(self, connection: socket.socket) -> socket.socket:
        # The copy of the descriptor is the TLS socket's, so that stop() can still shut the connection down.
        return self._tls.wrap_socket(connection.dup(), server_side=True) if self._tls else connection

    def _count_open(self, change: int) -> None:
        with self._lock:
            self._seen.open += change


def answer(body: bytes, *, status: str = "200 OK", headers: str = "Content-Type: text/plain") -> bytes:
    """Return an HTTP answer; WeChat labels its JSON as text."""
    head = f"HTTP/1.1 {status}\r\nConnection: keep-alive\r\nContent-Length: {len(body)}\r\n{headers}\r\n\r\n"
    return head.encode("latin-1") + body


def chunked(*chunks: bytes) -> bytes:
    """Return an HTTP answer whose length is not told ahead; an empty chunk ends it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def plays(*answers: bytes) -> Behaviour:
    """Answer the requests of each connection in turn; the last answer is for all that follow."""

    def behaviour(peer: Peer) -> None:
        coming = itertools.chain(answers, itertools.repeat(answers[-1]))
        while peer.read_request():
            peer.send(next(coming))

    return behaviour


def plays_and_closes(data: bytes) -> Behaviour:
    """Answer one request with exactly this, and close."""

    def behaviour(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return behaviour


def drips(data: bytes, *, after: bytes = b"") -> Behaviour:
    """Answer with ``after`` at once and then ``data``, over and over, byte by byte."""

    def behaviour(peer: Peer) -> None:
        peer.read_request()
        peer.send(after)
        peer.send_slowly(bytes([byte]) for byte in itertools.cycle(data))

    return behaviour


def floods(data: bytes, *, after: bytes = b"") -> Behaviour:
    """Answer with ``after`` and then ``data``, over and over, as fast as the client takes it."""

    def behaviour(peer: Peer) -> None:
        peer.read_request()
        peer.send(after)
        while True:
            peer.send(data)

    return behaviour


def resets_unread(peer: Peer) -> None:
    """Reset the connection when the request is there, and before it is read."""
    peer.wait_until_asked()
    peer.reset()


def resets_after_request(peer: Peer) -> None:
    """Read the request, which spends the code, and reset the connection."""
    peer.read_request()
    peer.reset()


def resets_within(data: bytes) -> Behaviour:
    """Answer with ``data`` and reset the connection as soon as the client had the time to read it."""

    def behaviour(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        peer.wait(0.1)
        peer.reset()

    return behaviour


def closes_after_request(peer: Peer) -> None:
    """Read the request and close the connection."""
    peer.read_request()


def closes_after_hello(peer: Peer) -> None:
    """Close the connection after the first bytes, whatever they are."""
    peer.read()


def resets_after_hello(peer: Peer) -> None:
    """Reset the connection after the first bytes, whatever they are."""
    peer.read()
    peer.reset()


def talks_no_tls(peer: Peer) -> None:
    """Answer the first bytes, whatever they are, as an HTTP server that knows no TLS."""
    peer.read()
    peer.send(answer(b"plain HTTP", status="400 Bad Request"))


def stalls(peer: Peer) -> None:
    """Take whatever comes and say nothing."""
    peer.wait_until_left()
