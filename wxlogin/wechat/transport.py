"""HTTP to WeChat and back: what leaves here is bytes, or what went wrong, and never a URL, for it has secrets."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from wxlogin.wechat.connections import TimelyAdapter
from wxlogin.wechat.errors import NoAnswer, NotReached, UnusableAnswer, WeChatError

# urllib3 logs whole URLs, and the query has secrets: each request's at DEBUG, and at WARNING that of an answer
# with a malformed header.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

_ANSWER_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A request to WeChat; with a ``body``, which is sent as JSON, it is a POST."""

    path: str
    query: Mapping[str, str] = dataclasses.field(repr=False)
    body: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)


class Transport:
    """A pool of kept connections that does what it is told and nothing else; timeouts are in seconds. Thread-safe.

    Proxies, credentials and certificates of the environment, cookies and compressed answers are left out.
    ``authorities_path`` leads to a PEM file of the authorities to trust, instead of the usual ones.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        most_connections: int,
        authorities_path: str | None,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeouts = (connect_timeout, read_timeout)
        self._connections = _open_connections(most=most_connections)
        self._connections.verify = authorities_path or True

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    def send(self, call: Call) -> bytes | WeChatError:
        """Send a call, within a `time_limit`, and return the body of the answer or what went wrong.

        That is a value, lest it be raised where the original, whose text has the URL, would become its context.
        """
        try:
            return self._read(call)
        except WeChatError as failure:
            return failure
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return _failure_of(error)

    def _read(self, call: Call) -> bytes:
        with self._connections.request(
            "GET" if call.body is None else "POST",
            self._url + call.path,
            params=urlencode(call.query, errors="replace"),
            json=call.body,
            timeout=self._timeouts,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != 200:
                raise UnusableAnswer(f"HTTP status {response.status_code}")
            answer = bytes(response.raw.read(_ANSWER_BYTES + 1, decode_content=False))
            missing = response.raw.length_remaining
        if len(answer) > _ANSWER_BYTES:
            raise UnusableAnswer(f"the answer is longer than {_ANSWER_BYTES} bytes")
        if missing:  # urllib3 itself would complain at the next read only
            raise NoAnswer("the answer is cut off")
        return answer


def _open_connections(*, most: int) -> requests.Session:
    connections = _Connections()
    connections.trust_env = False
    connections.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    connections.headers.update({"User-Agent": "wxlogin", "Accept-Encoding": "identity"})
    for scheme in ("https://", "http://"):
        connections.mount(scheme, TimelyAdapter(pool_maxsize=most, max_retries=0))
    return connections


class _Connections(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of no redirect: of one that is not followed, `requests` still reads and unpacks all of the body."""


def _failure_of(error: Exception) -> WeChatError:
    """Return what went wrong, without the original's text.

    A bare ValueError is how http.client takes a chunk of negative length.
    """
    name = type(error).__name__
    if isinstance(error, requests.exceptions.SSLError):
        return UnusableAnswer(f"TLS failed: {name}")
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return NotReached(type(reason).__name__)
    return NoAnswer(name)
