"""How a fault drops a connection."""

import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

CONNECTION: Final = "wxlogin.sandbox.connection"
"""Where the server puts the connection, in the environment of a request."""
LINGER_ZERO: Final = struct.pack("ii", 1, 0)


def reset(environ: Mapping[str, Any]) -> Iterator[bytes]:
    """Drop the connection as soon as the server asks for the first bytes of the answer."""
    return map(drop, [environ.get(CONNECTION)])


def drop(connection: socket.socket | None) -> bytes:
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    raise ConnectionResetError("dropped by a fault")
