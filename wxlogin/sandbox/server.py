"""The sandbox behind a socket: connections are kept and no server names itself, as at WeChat."""

import logging
import select
import socket
import threading
from typing import Any, Final, Self

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import WSGITask

from wxlogin.sandbox.app import MESSAGES
from wxlogin.sandbox.connections import CONNECTION

# As many calls as may be delayed by faults at once, and pages of the simulator that may be open.
THREADS: Final = 128
MAX_CONNECTIONS: Final = 2000
BACKLOG: Final = 1024


SILENT: Final = logging.Logger("sandbox", level=logging.CRITICAL)  # noqa: LOG001  # of its own: it stays silent


class _Task(WSGITask):
    def get_environment(self) -> dict[str, Any]:
        """Return the environment, in which `reset` finds the connection."""
        return {**super().get_environment(), CONNECTION: self.channel.socket}


class _Channel(HTTPChannel):
    task_class = _Task


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the first address of a host, or raise `OSError`."""
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


class SandboxServer:
    """Serve `app` on threads of its own while the context lasts; port 0 picks a free one."""

    def __init__(self, app: Flask, *, host: str, port: int) -> None:
        listener = listen(host, port)
        self.port: Final[int] = listener.getsockname()[1]
        self._app = app
        self._dispatchers: dict[int, Any] = {}
        server: Any = create_server(
            app,
            map=self._dispatchers,
            sockets=[listener],
            threads=THREADS,
            connection_limit=MAX_CONNECTIONS,
            asyncore_use_poll=hasattr(select, "poll"),
            ident="",
            log_socket_errors=False,
        )
        server.channel_class = _Channel
        # It would warn of each call that has to wait for a thread, or that is not answered any more at the end.
        server.task_dispatcher.logger = server.task_dispatcher.queue_logger = SILENT
        self._server = server
        self._thread = threading.Thread(target=self._server.run, name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections, and end."""
        self._app.extensions[MESSAGES].close()
        self._server.trigger.pull_trigger(self._end_loop)
        self._thread.join()
        self._server.task_dispatcher.shutdown()
        self._server.trigger.close()  # which calls that were still being answered used until now

    def _end_loop(self) -> None:
        for channel in [*self._server.active_channels.values()]:
            channel.handle_close()  # which a thread that still has something to send takes note of
        wasyncore.dispatcher.close(self._server)  # its own would close the trigger too, which is being pulled
        self._dispatchers.clear()
