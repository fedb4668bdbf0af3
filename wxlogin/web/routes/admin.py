"""``/admin``: operators see and end the sessions of any user. Without ``WXLOGIN_ADMIN_TOKEN`` it is not there."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import BadRequest

from wxlogin.observability import events
from wxlogin.services import Services
from wxlogin.sessions.store import SessionStore
from wxlogin.web.responses import session_list

blueprint = Blueprint("admin", __name__, url_prefix="/admin/users/<openid>/sessions")

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


@blueprint.before_request
def _check_token() -> None:
    verifier = Services.of(current_app).admin_token
    sent = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    verifier.verify(sent[1] if sent else "", address=_peer())


@blueprint.get("")
def show(openid: str) -> Response:
    """List a user's sessions, the newest first."""
    user_hash = _user_hash(openid)
    found = _sessions().list(user_hash)
    _log("listed", lambda: len(found), user_hash)
    return jsonify(sessions=session_list(found), count=len(found))


@blueprint.delete("")
def end_all(openid: str) -> Response:
    """Log a user out everywhere."""
    user_hash = _user_hash(openid)
    _log("ended all", lambda: _sessions().delete_all(user_hash, cause="operator", retry_safe=False), user_hash)
    return Response(status=204)


@blueprint.delete("/<handle>")
def end_one(openid: str, handle: str) -> Response:
    """Log a user out on one device."""
    user_hash = _user_hash(openid)
    _log(
        "ended one",
        lambda: int(_sessions().delete_by_handle(user_hash, handle, cause="operator", retry_safe=False)),
        user_hash,
    )
    return Response(status=204)


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
