"""Faults of a network, between a client and a real Redis server: what a store says well, but nobody hears."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hiredis

CHUNK_BYTES = 65536
SEND_TIMEOUT_SECONDS = 5  # to somebody who does not read
NOTHING_YET = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Mode:
    """What happens to connections."""

    accepts: bool = True
    resets: bool = False
    swallows: bool = False
    latency_seconds: float = 0
    drops_reply_of: bytes | None = None
    cuts_after_bytes: int | None = None


class FaultProxy:
    """A TCP proxy in front of a Redis server; a mode holds for connections old and new, from the next byte on.

    What is under TLS passes as well, but its commands are not seen: neither counted nor recognised.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.mode = Mode()
        self.is_over = threading.Event()
        self.connections = 0  # accepted, also if reset at once
        self.commands: Counter[str] = Counter()  # forwarded, by their names, a connection's greetings included
        self.dropped_replies = 0
        self.lock = threading.Lock()
        self._live: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._accepting = self._accept_on_a_thread()

    def pass_on(self) -> None:
        """Be no fault at all; a connection that lost something to `blackhole` stays lost."""
        self._switch_to(Mode())

    def refuse(self) -> None:
        """Stop listening, and reset the connections there are: a server that went."""
        self._switch_to(Mode(accepts=False, resets=True))

    def reset(self) -> None:
        """Accept connections and reset them, those there are as well."""
        self._switch_to(Mode(resets=True))

    def blackhole(self) -> None:
        """Accept connections, read what comes, and forward nothing in either direction."""
        self._switch_to(Mode(swallows=True))

    def delay(self, seconds: float) -> None:
        """Let what comes wait for so long, each way: an answer takes twice as long."""
        self._switch_to(Mode(latency_seconds=seconds))

    def drop_reply_of(self, text: str) -> None:
        """Let the next command that contains the text be executed, then reset its connection; once.

        A command's words are joined by blanks; "SET" alone is also in the greeting "CLIENT SETINFO". What came
        before in the same pipeline goes unanswered, too.
        """
        self._switch_to(Mode(drops_reply_of=text.encode()))

    def cut_after(self, reply_bytes: int) -> None:
        """Let each connection have so many bytes of replies from now on, then reset it."""
        self._switch_to(Mode(cuts_after_bytes=reply_bytes))

    def close(self) -> None:
        """End, with all connections and threads."""
        self.is_over.set()
        self.refuse()

    def forwards(self, commands: list[bytes]) -> int | None:
        """Count commands; return the place of the one whose reply is to be dropped, if it is among them."""
        with self.lock:
            self.commands.update(command.split(b" ")[0].decode(errors="replace") for command in commands)
            text = self.mode.drops_reply_of
            if text is None or not any(text in command for command in commands):
                return None
            self.mode = Mode()
            return next(place for place, command in enumerate(commands) if text in command)

    def counts_a_dropped_reply(self) -> None:
        """Count it, when its command has been executed."""
        with self.lock:
            self.dropped_replies += 1

    def forgets(self, connection: Connection) -> None:
        """Drop a connection that is over."""
        with self.lock:
            self._live.pop(connection, None)

    def _switch_to(self, mode: Mode) -> None:
        with self.lock:
            was, self.mode = self.mode, mode
        if was.accepts and not mode.accepts:
            self._stop_listening()
        if mode.resets:
            self._end_live_connections()
        if mode.accepts and not was.accepts:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._accepting = self._accept_on_a_thread()

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread
        self._accepting.join()
        self._listener.close()

    def _end_live_connections(self) -> None:
        with self.lock:
            live = list(self._live.items())
        for connection, thread in live:
            connection.wake()
            thread.join()

    def _accept_on_a_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        connection = Connection(self, client)
        thread = threading.Thread(target=connection.serve, daemon=True)
        with self.lock:
            self.connections += 1
            self._live[connection] = thread
            thread.start()


class Connection:
    """A client's connection, with the one to the server that belongs to it; all on one thread."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._mode = proxy.mode
        self._is_lost = False
        self._requests, self._replies = (hiredis.Reader(notEnoughData=NOTHING_YET) for _ in range(2))
        self._forwarded = self._answered = 0
        self._ends_with_reply: int | None = None
        self._reply_bytes = 0

    def serve(self) -> None:
        """Forward until one side ends it, or the mode does."""
        try:
            with contextlib.suppress(OSError), self._connect() as server:
                while not self._proxy.mode.resets and self._forwards_a_chunk(server):
                    pass
        finally:
            reset(self._client)
            self._proxy.forgets(self)

    def wake(self) -> None:
        """Let its thread look at the mode; the client notices nothing."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RD)

    def _connect(self) -> socket.socket:
        self._client.settimeout(SEND_TIMEOUT_SECONDS)
        return socket.create_connection(("127.0.0.1", self._proxy.target_port), timeout=SEND_TIMEOUT_SECONDS)

    def _forwards_a_chunk(self, server: socket.socket) -> bool:
        for source in select.select([self._client, server], [], [])[0]:
            data = source.recv(CHUNK_BYTES)
            if self._proxy.mode.resets:
                return False
            if not data:
                self._client.close()  # as one side said goodbye, so does the proxy
                return False
            if not (self._sends(server, data) if source is self._client else self._returns(data)):
                return False
        return True

    def _sends(self, server: socket.socket, data: bytes) -> bool:
        if self._passes():
            commands = [b" ".join(command) for command in parsed(self._requests, data)]
            place = self._proxy.forwards(commands)
            if place is not None:
                self._ends_with_reply = self._forwarded + place + 1
            self._forwarded += len(commands)
            server.sendall(data)
        return True

    def _returns(self, data: bytes) -> bool:
        self._answered += sum(not isinstance(r, hiredis.PushNotification) for r in parsed(self._replies, data))
        if self._ends_with_reply is not None:
            return self._holds_back()
        if not self._passes():
            return True
        limit = self._mode.cuts_after_bytes
        self._client.sendall(data if limit is None else data[: limit - self._reply_bytes])
        self._reply_bytes += len(data)
        return limit is None or self._reply_bytes < limit

    def _holds_back(self) -> bool:
        assert self._ends_with_reply is not None
        if self._answered < self._ends_with_reply:
            return True
        self._proxy.counts_a_dropped_reply()
        return False

    def _passes(self) -> bool:
        """Wait for the latency of the mode there is now, and say whether bytes get through at all."""
        if self._proxy.mode is not self._mode:  # an equal one, chosen again, begins anew
            self._mode, self._reply_bytes = self._proxy.mode, 0
        self._proxy.is_over.wait(self._mode.latency_seconds)
        self._is_lost = self._is_lost or self._mode.swallows
        return not self._is_lost


def parsed(reader: hiredis.Reader, data: bytes) -> list[Any]:
    """Return what is complete with this data; nothing of what is no Redis protocol, such as TLS."""
    reader.feed(data)
    with contextlib.suppress(hiredis.ProtocolError):
        return list(iter(reader.gets, NOTHING_YET))
    return []


def reset(client: socket.socket) -> None:
    """Close a connection with a reset, not with a goodbye."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextlib.contextmanager
def fault_proxy(target_port: int) -> Iterator[FaultProxy]:
    """Run a proxy in front of the Redis server on a port of this machine, for as long as the context lasts."""
    proxy = FaultProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
