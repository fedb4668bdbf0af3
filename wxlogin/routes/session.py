"""``/session``: who am I, and log out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from wxlogin.auth import identify, log_out
from wxlogin.services import Services

blueprint = Blueprint("session", __name__)


@blueprint.get("/session")
def show() -> Response:
    """Tell the mini-program about its session; times are Unix seconds and seconds from now."""
    services = Services.of(current_app)
    record = identify()
    now, lifetimes = services.sessions.now(), services.sessions.lifetimes
    answer: dict[str, Any] = {
        "appid": record.user.appid,
        "created_at": record.created_at,
        "expires_in": record.created_at + lifetimes.longest - now,
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
