"""Who is calling, and may they; logging in and out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import cast

from flask import current_app, request
from flask import session as current
from werkzeug.exceptions import BadRequest

from wxlogin.redis_guard import StoreUnavailable
from wxlogin.services import Services
from wxlogin.sessions.interface import Session
from wxlogin.sessions.record import SessionRecord, User

CODE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class WrongApp(Exception):
    """Raised if a user is logged in, but with a mini-program that is not asked for."""


class LoginLost(StoreUnavailable):
    """Raised if the code is spent, but its session could not be kept: only a new code helps."""


def current_session() -> Session:
    """Return the session of this request."""
    return cast(Session, current)


def log_in(code: str, *, appid: str | None) -> Session:
    """Exchange ``code`` and start a session for its user; the session that the request came with ends.

    Raises `BadRequest` if the code can't be one, `UnknownApp`, `WeChatError` if WeChat does not give a user,
    `StoreUnavailable` before the code is spent and `LoginLost` after.
    """
    services = Services.of(current_app)
    client = services.client_for(appid)
    if not CODE_PATTERN.match(code):
        raise BadRequest("code: has to be what wx.login() gave, 1 to 128 letters, digits, _ and -.")
    services.health.check_writable()
    exchanged = client.code2session(code)
    user = User(client.appid, exchanged.openid, exchanged.unionid)
    return _start_session(user, exchanged.session_key)


def log_out() -> None:
    """End the request's session, if it has one; raises `StoreUnavailable`."""
    current_session().end()


def identify(appids: Collection[str] = ()) -> SessionRecord:
    """Return whose request this is, of one of ``appids`` if there are any.

    Raises `NotLoggedIn`, `SessionExpired`, `StoreUnavailable` or `WrongApp`.
    """
    record = current_session().record
    if appids and record.user.appid not in appids:
        raise WrongApp
    return record


def _start_session(user: User, session_key: str) -> Session:
    session = current_session()
    try:
        session.start(user, session_key=session_key, user_agent=request.user_agent.string)
    except StoreUnavailable as error:
        raise LoginLost(str(error)) from error
    return session
