"""``/session`` and ``/sessions``: who am I, on which devices, and log out here, there or everywhere."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import BadRequest

from wxlogin.services import Services
from wxlogin.web.responses import session_list
from wxlogin.web.session_context import current_session, identify, log_out

blueprint = Blueprint("sessions", __name__)


@blueprint.get("/session")
def show() -> Response:
    """Tell the mini-program about its session; times are Unix seconds and seconds from now."""
    services = Services.of(current_app)
    record = identify()
    now, lifetimes = services.sessions.now(), services.sessions.lifetimes
    answer: dict[str, Any] = {
        "appid": record.user.appid,
        "created_at": record.created_at,
        "expires_in": record.created_at + lifetimes.absolute - now,
        "idle_expires_in": lifetimes.expires_at(record) - now,
    }
    if services.settings.expose_openid:
        answer["openid"] = record.user.openid
    return jsonify(answer)


@blueprint.delete("/session")
def end() -> Response:
    """Log out here; logging out again is as good."""
    log_out()
    return Response(status=204)


@blueprint.get("/sessions")
def show_all() -> Response:
    """List the user's sessions, the newest first, and say which one asks."""
    session = current_session()
    own = session.stored.session_id.field
    return jsonify(
        sessions=[{**each, "is_current": each["handle"] == own} for each in session_list(session.list_for_user())]
    )


@blueprint.delete("/sessions")
def end_all() -> Response:
    """Log out everywhere, or with ``?except=current`` everywhere else."""
    spares_this = request.query_string == b"except=current"
    if request.query_string and not spares_this:  # a slip of the pen is no reason to log out here
        raise BadRequest("The query can be except=current, or left out.")
    current_session().revoke_all(include_current=not spares_this)
    return Response(status=204)


@blueprint.delete("/sessions/<handle>")
def end_one(handle: str) -> Response:
    """Log out on one device; if it is logged out already, that is as good."""
    current_session().revoke(handle)
    return Response(status=204)
