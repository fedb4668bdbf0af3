"""HTTP to WeChat and back: what leaves here is bytes, or what went wrong, and never a URL, for it has secrets."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import certifi
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from wxlogin.resilience.deadline import Deadline
from wxlogin.wechat.api.errors import ConnectionFailed, InvalidResponse, ResponseLost, WeChatError
from wxlogin.wechat.api.pool import DeadlinePoolManager, DeadlineTimeout

# urllib3 logs whole URLs, and the query has secrets: each request's at DEBUG, and at WARNING that of an answer
# with a malformed header.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

_ANSWER_BYTES = 64 * 1024
_HEADERS = {"User-Agent": "wxlogin", "Accept-Encoding": "identity", "Accept": "*/*", "Connection": "keep-alive"}


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A request to WeChat; with a ``body``, which is sent as JSON, it is a POST."""

    path: str
    query: Mapping[str, str] = dataclasses.field(repr=False)
    body: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)


class Transport:
    """A pool of kept connections that does what it is told and nothing else; timeouts are in seconds. Thread-safe.

    Proxies, credentials and certificates of the environment, cookies, redirects and compressed answers are left
    out. ``authorities_path`` leads to a PEM file of the authorities to trust, instead of the usual ones.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        max_connections: int,
        authorities_path: str | None,
    ) -> None:
        self._url = url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._pools = DeadlinePoolManager(
            max_connections=max_connections, authorities_path=authorities_path or certifi.where()
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pools.clear()

    def send(self, call: Call, deadline: Deadline) -> bytes | WeChatError:
        """Send a call, and return the body of the answer or what went wrong: that it took too long, perhaps.

        That is a value, lest it be raised where the original, whose text has the URL, would become its context.
        """
        try:
            response = self._request(call, deadline)
            try:
                return _read(response)
            finally:
                response.close()  # if it was read to its end, the connection is back in its pool by now
        except WeChatError as failure:
            return failure
        except (HTTPError, OSError, ValueError) as error:
            return _failure_of(error)

    def _request(self, call: Call, deadline: Deadline) -> BaseHTTPResponse:
        query = urlencode(call.query, errors="replace")
        body, headers = None, _HEADERS
        if call.body is not None:
            body, headers = json.dumps(call.body).encode(), {**_HEADERS, "Content-Type": "application/json"}
        return self._pools.urlopen(
            "GET" if body is None else "POST",
            f"{self._url}{call.path}?{query}" if query else f"{self._url}{call.path}",
            body=body,
            headers=headers,
            timeout=DeadlineTimeout(deadline, connect=self._connect_timeout, read=self._read_timeout),
            retries=False,
            redirect=False,
            preload_content=False,
        )


def _read(response: BaseHTTPResponse) -> bytes:
    if response.status != 200:
        raise InvalidResponse(f"HTTP status {response.status}")
    answer = response.read(_ANSWER_BYTES + 1, decode_content=False)
    if len(answer) > _ANSWER_BYTES:
        raise InvalidResponse(f"the answer is longer than {_ANSWER_BYTES} bytes")
    if response.length_remaining:  # urllib3 itself would complain at the next read only
        raise ResponseLost("the answer is cut off")
    return answer


def _failure_of(error: Exception) -> WeChatError:
    """Return what went wrong, without the original's text.

    A bare ValueError is how http.client takes a chunk of negative length.
    """
    name = type(error).__name__
    if isinstance(error, SSLError):
        return InvalidResponse(f"TLS failed: {name}")
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return ConnectionFailed(name)
    return ResponseLost(name)
