"""The request's session: who is calling, logging in and out, and calls to WeChat for who is logged in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar, cast

from flask import current_app, request, session
from werkzeug.exceptions import BadRequest

from wxlogin.services import Services
from wxlogin.sessions.record import SessionRecord
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.flask_session import Session
from wxlogin.web.session_id_extractor import find_session_id
from wxlogin.wechat.api.client import WeChatClient

Result = TypeVar("Result")

CODE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
CODE_JSON_PATTERN = "^[A-Za-z0-9_-]{1,128}$"
"""The same, as JSON Schema has it."""


class SessionKeyNotStored(StoreUnavailable):
    """Raised if WeChat has replaced the session_key, but the new one could not be kept: only a new login helps."""


def current_session() -> Session:
    """Return the session of this request."""
    return cast(Session, session)


def identify() -> SessionRecord:
    """Return whose request this is; raises `NotLoggedIn`, `SessionExpired` or `StoreUnavailable`."""
    return current_session().record


def log_in(code: str, *, appid: str | None) -> Session:
    """Exchange ``code`` and start a session for its user; the session that the request came with ends.

    Raises `BadRequest` if the code can't be one, and what `LoginService.choose_client` and `log_in` do.
    """
    login = Services.of(current_app).login
    client = login.choose_client(appid, referer=request.headers.get("Referer", ""))
    if not CODE_PATTERN.match(code):
        raise BadRequest("code: has to be what wx.login() gave, 1 to 128 letters, digits, _ and -.")
    # Not from `flask.session`: an answer without a session would be said to vary with it.
    replaced = find_session_id(request.environ)
    stored = login.log_in(code, client=client, user_agent=request.user_agent.string, replaced=replaced)
    current = current_session()
    current.start(stored)
    return current


def log_out() -> None:
    """End the request's session, if it has one; raises `StoreUnavailable`."""
    current_session().end()


def call_wechat(call: Callable[[WeChatClient, str], Result]) -> Result:
    """Return what ``call`` returns, given the client and an access_token of the user's mini-program.

    Raises what `identify` and `LoginService.call_wechat` do.
    """
    return Services.of(current_app).login.call_wechat(identify().user.appid, call)


def update_session_key(session_key: str) -> None:
    """Put the session_key that WeChat gave into the session, in place of the one before.

    Raises `SessionKeyNotStored`, or `NotLoggedIn` if the session has ended meanwhile.
    """
    try:
        current_session().update_session_key(session_key)
    except StoreUnavailable as error:
        raise SessionKeyNotStored(str(error)) from error
