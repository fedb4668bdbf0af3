"""Answers that more than one route gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, current_app, jsonify

from wxlogin.services import Services
from wxlogin.sessions.store import ListedSession
from wxlogin.web.fetch_metadata import refuse_other_sites
from wxlogin.web.session_context import log_in


def login_answer(code: str, *, appid: str | None) -> Response:
    """Log in and return the answer to the mini-program: how long the session can last at the most, in seconds."""
    refuse_other_sites()
    session = log_in(code, appid=appid)
    services = Services.of(current_app)
    answer: dict[str, Any] = {"expires_in": services.sessions.lifetimes.absolute}
    if services.settings.session_id_in_body and session.session_id:
        answer["session_id"] = session.session_id.text
    if services.settings.expose_openid:
        answer["openid"] = session.record.user.openid
    return jsonify(answer)


def session_list(sessions: Iterable[ListedSession]) -> list[dict[str, Any]]:
    """Return sessions as their user or an operator may see them; times are Unix seconds and seconds from now.

    When a session was last seen is told to the minute: it is kept no better.
    """
    now = Services.of(current_app).sessions.now()
    return [
        {
            "handle": each.handle,
            "created_at": each.record.created_at,
            "last_seen_at": each.record.last_seen_at // 60 * 60,
            "expires_in": each.expires_at - now,
            "user_agent": each.record.user_agent,
        }
        for each in sessions
    ]
