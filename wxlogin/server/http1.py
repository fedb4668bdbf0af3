"""HTTP/1.1 at its plainest: requests that can be read in one way only, and answers without a body.

What is not plain is gunicorn's to read. Of what is, both make the same (tests/server/test_http1.py), but reading
it here costs a seventh: https://www.rfc-editor.org/rfc/rfc9112 is long because most requests could be something
else.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from email.utils import formatdate

MAX_BYTES = 8_000  # gunicorn.conf.py lets one field have more

# A field is a name that no server maps to another's, a colon and printable ASCII. Nothing follows the empty line.
_REQUEST = re.compile(
    rb"GET (?P<path>/[A-Za-z0-9/_-]{0,100}+)(?:\?(?P<query>[A-Za-z0-9_.~&=%+,:@/-]{0,2000}+))? HTTP/1\.1"
    rb"(?P<fields>(?:\r\n[A-Za-z0-9-]++:[ -~]*+){1,64}+)\r\n\r\n"
)

# What decides about the session, and what says something about the connection or a body.
_FIELD = re.compile(
    rb"\r\n(host|cookie|sessionid|authorization|x-request-id"
    rb"|connection|content-length|transfer-encoding|expect|upgrade|http2-settings):([ -~]*+)",
    re.IGNORECASE,
)
_KEPT = frozenset({"HTTP_HOST", "HTTP_COOKIE", "HTTP_SESSIONID", "HTTP_AUTHORIZATION", "HTTP_X_REQUEST_ID"})
_LINGERS = (b"connection", b"keep-alive")

Environ = dict[str, str]
"""What of a WSGI environment a request comes to: the method, the path, the query and some fields."""


def parse_request(came: bytes) -> Environ | None:
    """Return what a GET request says, or None if it is not all that came, not plain, or long."""
    match = _REQUEST.fullmatch(came) if len(came) <= MAX_BYTES else None
    if match is None:
        return None
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": match["path"].decode(),
        "QUERY_STRING": (match["query"] or b"").decode(),
    }
    for name, value in _FIELD.findall(match["fields"]):
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        if key in environ or (key not in _KEPT and (name.lower(), value.strip().lower()) != _LINGERS):
            return None
        environ[key] = value.decode().strip(" ")
    return environ if "HTTP_HOST" in environ else None


def serialize_response(status: str, headers: Sequence[tuple[str, str]], *, server: str) -> bytes | None:
    """Return an answer without a body, after which the connection is kept; None if a header can't be one."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or not (lines.isascii() and lines.replace("\r\n", "").isprintable()):
        return None
    start = f"HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {_date()}\r\nConnection: keep-alive\r\n"
    return f"{start}{lines}\r\n".encode()


def _date() -> str:
    return _date_of(int(time.time()))


@functools.lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)
