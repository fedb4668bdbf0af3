"""The one place that talks to WeChat."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from wxlogin.wechat.connections import TimelyAdapter, time_limit
from wxlogin.wechat.errors import NoAnswer, NotReached, Refused, UnusableAnswer, WeChatError, refusal_of
from wxlogin.wechat.models import CodeSession, code_session_of

# urllib3 logs whole URLs, and the query has the app secret: each request's at DEBUG, and at WARNING that of an
# answer with a malformed header.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

_ANSWER_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a call may take, in seconds: to connect, to the next byte, and in all."""

    connect: float = 1.0
    read: float = 3.0
    total: float = 4.0


def open_connections(*, most: int) -> requests.Session:
    """Return a pool of at most ``most`` kept connections that does what it is told and nothing else.

    Proxies, credentials and certificates of the environment, cookies and compressed answers are left out.
    """
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


class WeChatClient:
    """WeChat's API for one mini-program. Thread-safe; several may share ``connections``.

    No exception that leaves it, and no log line, has the secret, a code or anything of the answer but its errcode
    and rid. Nothing is tried twice: a code is spent by the first exchange, whatever becomes of the answer.
    """

    def __init__(
        self, appid: str, secret: str, *, api_url: str, connections: requests.Session, timeouts: Timeouts
    ) -> None:
        self.appid = appid
        self._secret = secret
        self._api_url = api_url.rstrip("/")
        self._connections = connections
        self._timeouts = timeouts

    def code2session(self, js_code: str) -> CodeSession:
        """Exchange the code of a ``wx.login()`` for who the user is; each code works once, for five minutes.

        Raises `WeChatError`: `Refused` and its kin where WeChat said no.

        https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session
        """
        query = {
            "appid": self.appid,
            "secret": self._secret,
            "js_code": js_code,
            "grant_type": "authorization_code",
        }
        return code_session_of(_value_of(self._get("/sns/jscode2session", query)))

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        try:
            with time_limit(self._timeouts.total):
                return self._read(self._api_url + path, query)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            failure = _failure_of(error)
        raise failure  # out here, where the original does not become its context

    def _read(self, url: str, query: Mapping[str, str]) -> bytes:
        timeouts = (self._timeouts.connect, self._timeouts.read)
        with self._connections.get(
            url, params=query, timeout=timeouts, allow_redirects=False, stream=True
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


def _failure_of(error: Exception) -> WeChatError:
    """Return what went wrong; the original's text has the URL, and the URL has the secret.

    A bare ValueError is how http.client takes a chunk of negative length.
    """
    name = type(error).__name__
    if isinstance(error, requests.exceptions.SSLError):
        return UnusableAnswer(f"TLS failed: {name}")
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return NotReached(type(reason).__name__)
    return NoAnswer(name)


def _value_of(body: bytes) -> Mapping[str, Any]:
    """Return WeChat's answer, or raise what its errcode stands for. WeChat labels its JSON as text."""
    failure: WeChatError | None
    try:
        answer: Mapping[str, Any] = json.loads(body.decode("utf-8", "replace"), strict=False)
        failure = _refusal_in(answer)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        failure = UnusableAnswer("the answer is not WeChat's JSON")
    if failure:
        raise failure  # out here too: the original has the whole answer
    return answer


def _refusal_in(answer: Mapping[str, Any]) -> Refused | None:
    errcode = int(answer.get("errcode") or 0)
    return refusal_of(errcode, str(answer.get("errmsg"))) if errcode else None
