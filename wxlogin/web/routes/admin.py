"""``/admin``: operators see and end the sessions of any user. Without ``WXLOGIN_ADMIN_TOKEN`` it is not there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Annotated

from flask import current_app, request
from werkzeug.exceptions import BadRequest, NotFound

from wxlogin.login.admin_token import AdminAuthThrottled, InvalidAdminToken
from wxlogin.observability import events
from wxlogin.services import Services
from wxlogin.sessions.store import SessionStore
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.responses import Count, UsersSession, session_list
from wxlogin.web.routing import COMMON_ERRORS, OF_APP, OPERATOR, Answer, Operation, Routes, described, in_query

blueprint = Routes("admin", url_prefix="/admin/users/<openid>/sessions")

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_FOR_OPERATORS = functools.partial(
    Operation,
    tag="Operators",
    callers=OPERATOR,
    query=(in_query("appid", "Of which mini-program the user is, if the service has several."),),
    raises=(*COMMON_ERRORS, InvalidAdminToken, AdminAuthThrottled, StoreUnavailable, *OF_APP, NotFound),
)


class UsersSessions(Answer):
    """All sessions of a user."""

    sessions: Annotated[list[UsersSession], described("The newest first.")]
    count: Annotated[Count, described("How many there are.", 1)]


@blueprint.before_request
def _check_token() -> None:
    verifier = Services.of(current_app).admin_token
    sent = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    verifier.verify(sent[1] if sent else "", address=_peer())


@blueprint.route_of("GET", "", _FOR_OPERATORS(says="The user's sessions.", answers=UsersSessions))
def show(openid: str) -> UsersSessions:
    """List a user's sessions, the newest first."""
    user_hash = _user_hash(openid)
    found = _sessions().list(user_hash)
    _log("listed", lambda: len(found), user_hash)
    return UsersSessions(sessions=session_list(found), count=len(found))


@blueprint.route_of("DELETE", "", _FOR_OPERATORS(says="The user is logged out."))
def end_all(openid: str) -> None:
    """Log a user out everywhere."""
    user_hash = _user_hash(openid)
    _log("ended all", lambda: _sessions().delete_all(user_hash, cause="operator", retry_safe=False), user_hash)


@blueprint.route_of(
    "DELETE",
    "/<handle>",
    _FOR_OPERATORS(says="The user is logged out there, or was not logged in there any more."),
)
def end_one(openid: str, handle: str) -> None:
    """Log a user out on one device."""
    user_hash = _user_hash(openid)
    _log(
        "ended one",
        lambda: int(_sessions().delete_by_handle(user_hash, handle, cause="operator", retry_safe=False)),
        user_hash,
    )


def _sessions() -> SessionStore:
    return Services.of(current_app).sessions


def _user_hash(openid: str) -> str:
    appids = request.args.getlist("appid")
    if len(appids) > 1:
        raise BadRequest("appid: is there twice.")
    return Services.of(current_app).login.user_hash_of(openid, appid=appids[0] if appids else None)


def _peer() -> str:
    """Return the address that connects. Operators come directly, and could name any address as a proxy would."""
    before_proxies: dict[str, str] = request.environ.get("werkzeug.proxy_fix.orig", request.environ)
    return before_proxies.get("REMOTE_ADDR") or ""


def _log(action: str, work: Callable[[], int], user_hash: str) -> None:
    events.log_admin_action(action, work, operator=f"admin token from {_peer()}", user_hash=user_hash)
