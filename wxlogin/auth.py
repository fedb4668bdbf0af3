"""Who is calling, and may they; logging in and out."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from flask import current_app, request
from flask import session as current
from werkzeug.exceptions import BadRequest

from wxlogin import events, logs
from wxlogin.apps import UnknownApp
from wxlogin.exchanges import Exchange
from wxlogin.rate_limits import RateLimited
from wxlogin.redis_guard import StoreUnavailable
from wxlogin.services import Services
from wxlogin.sessions.checks import Checks
from wxlogin.sessions.interface import Session
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import hash_of
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.sessions.transport import find_session_id
from wxlogin.wechat.bulkhead import SPARE_SECONDS
from wxlogin.wechat.client import WeChatClient
from wxlogin.wechat.connections import time_left
from wxlogin.wechat.errors import CodeUsed

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

CODE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
CODE_JSON_PATTERN = "^[A-Za-z0-9_-]{1,128}$"
"""The same, as JSON Schema has it."""

# What WeChat puts there and a mini-program can't change; the tail is a version, `devtools` or `0`, and a page.
# https://developers.weixin.qq.com/miniprogram/dev/framework/ability/network.html
_REFERER = re.compile(r"https://servicewechat\.com/(wx[0-9a-f]{16})/")

_DECISION = "wxlogin.decision"  # in the WSGI environment
_CODE_USED = 40163  # WeChat's errcode


class WrongApp(Exception):
    """Raised if a user is logged in, but with a mini-program that is not asked for."""


class AppRemoved(WrongApp):
    """Raised if a user is logged in with a mini-program that is not ours any more, and WeChat has to be asked."""


class LoginLost(StoreUnavailable):
    """Raised if the code is spent, but its session could not be kept: only a new code helps."""


class TooManyLogins(RateLimited):
    """Raised if a user logs in too often, which is known only when the code is spent."""


class SessionKeyLost(StoreUnavailable):
    """Raised if WeChat has replaced the session_key, but the new one could not be kept: only a new login helps."""


def current_session() -> Session:
    """Return the session of this request."""
    return cast(Session, current)


def log_in(code: str, *, appid: str | None) -> Session:
    """Exchange ``code`` and start a session for its user; the session that the request came with ends.

    Whoever sends the same code meanwhile, or soon after, gets the same session. Raises `BadRequest` if the code
    can't be one, `UnknownApp`, `WeChatError` if WeChat does not give a user, `RateLimited` if who that is logs in
    too often, `StoreUnavailable` before the code is spent and `LoginLost` after.
    """
    services = Services.of(current_app)
    client = chosen_client(appid)
    if not CODE_PATTERN.match(code):
        raise BadRequest("code: has to be what wx.login() gave, 1 to 128 letters, digits, _ and -.")
    exchange = services.exchanges.begin(code, appid=client.appid)
    session = current_session()
    if exchange.is_ours:
        with exchange:
            _exchange(session, exchange, client)
    else:
        _follow(session, exchange)
    return session


def _exchange(session: Session, exchange: Exchange, client: WeChatClient) -> None:
    """Ask WeChat and start the session of whom it names."""
    services = Services.of(current_app)
    with services.bulkhead.place():
        told = client.code2session(exchange.code)
    user = User(client.appid, told.openid, told.unionid)
    _count(user)
    agent = request.user_agent.string
    try:
        session.start(user, session_key=told.session_key, user_agent=agent, along=exchange.settlement)
    except StoreUnavailable as error:
        raise LoginLost(str(error)) from error


def _count(user: User) -> None:
    try:
        Services.of(current_app).rate_limits.hit_login_user(hash_of(user))
    except RateLimited as error:
        raise TooManyLogins(error.retry_after_seconds) from None


def _follow(session: Session, exchange: Exchange) -> None:
    """Wait for what another request gets for the same code, and take that."""
    if not exchange.is_settled:
        with Services.of(current_app).bulkhead.place(quick_seconds=SPARE_SECONDS):
            exchange.wait(time_left())
    try:
        session.adopt(exchange.session_id())
        events.note("login_repeated", by=logger)
    except NotLoggedIn:  # it has ended since, so nothing is left of the code
        raise CodeUsed(_CODE_USED) from None


def chosen_client(appid: str | None) -> WeChatClient:
    """Return the client of the mini-program that a login is for: named, else told by WeChat, else the only one.

    Raises `UnknownApp`, or `AppNotNamed` if there are several and nothing says which.
    """
    services = Services.of(current_app)
    # A hint, which anybody can forge, as they can the body: a code is good for nothing but its own mini-program.
    hinted = None if appid else _REFERER.match(request.headers.get("Referer", ""))
    client = services.apps.find(hinted[1]) if hinted else None
    return client or services.client_for(appid)


def users_client() -> WeChatClient:
    """Return the client of the mini-program that the user is logged in with.

    Raises `NotLoggedIn`, `SessionExpired`, `StoreUnavailable` or `AppRemoved`.
    """
    appid = current_session().record.user.appid
    try:
        return Services.of(current_app).client_for(appid)
    except UnknownApp:
        raise AppRemoved from None


def ask_wechat(ask: Callable[[WeChatClient, str], Result]) -> Result:
    """Do ``ask`` with the client, and an access_token, of the mini-program that the user is logged in with.

    Raises what `users_client` and `AccessTokens.call` do.
    """
    services, client = Services.of(current_app), users_client()
    with services.bulkhead.place():
        return services.access_tokens.call(client, functools.partial(ask, client))


def keep_session_key(session_key: str) -> None:
    """Put the session_key that WeChat gave into the session, in place of the one before.

    Raises `SessionKeyLost`, or `NotLoggedIn` if the session has ended meanwhile.
    """
    try:
        current_session().keep_session_key(session_key)
    except StoreUnavailable as error:
        raise SessionKeyLost(str(error)) from error


def log_out() -> None:
    """End the request's session, if it has one; raises `StoreUnavailable`."""
    current_session().end()


def identify() -> SessionRecord:
    """Return whose request this is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
    return current_session().record


def decide(environ: dict[str, Any], checks: Checks) -> User:
    """Return whose request this is, of one of the apps that ``?appid=``, repeatable, names if there are any.

    The gate and the route both ask, and a request is decided once. Raises `NotLoggedIn`, `SessionExpired`,
    `StoreUnavailable` or `WrongApp`.
    """
    decision: User | Exception | None = environ.get(_DECISION)
    if decision is None:
        try:
            decision = _decide(environ, checks)
        except (NotLoggedIn, StoreUnavailable, WrongApp) as error:
            decision = error
        environ[_DECISION] = decision
    if isinstance(decision, Exception):
        raise decision
    return decision


def _decide(environ: dict[str, Any], checks: Checks) -> User:
    session_id = find_session_id(environ)
    if session_id is None:
        raise NotLoggedIn
    user = checks.user_of(session_id)
    logs.note_user(session_id.user_hash)
    if environ["QUERY_STRING"] and user.appid not in (_asked_for(environ["QUERY_STRING"]) or [user.appid]):
        raise WrongApp
    return user


def _asked_for(query: str) -> list[str]:
    return [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "appid"]
