"""Answers that more than one route gives."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated

import msgspec
from flask import current_app
from msgspec import UNSET, UnsetType
from werkzeug.exceptions import Forbidden

from wxlogin.login.service import LoginRateLimited, SessionNotStored
from wxlogin.services import Services
from wxlogin.sessions.session_id import HANDLE_LENGTH, LENGTH
from wxlogin.sessions.store import ListedSession
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.fetch_metadata import refuse_other_sites
from wxlogin.web.routing import OF_APP, OF_WECHAT, Answer, Errors, Header, Operation, described
from wxlogin.web.session_context import log_in
from wxlogin.wechat.api import errors as wechat

Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Count
OpenidIfExposed = (
    Annotated[str, described("Who the user is, with `WXLOGIN_EXPOSE_OPENID`.", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")]
    | UnsetType
)

LOGIN_ERRORS: Errors = (
    *(*OF_APP, *OF_WECHAT),
    *(wechat.InvalidCode, wechat.CodeUsed, wechat.UserBlocked),
    *(Forbidden, LoginRateLimited, StoreUnavailable, SessionNotStored),
)


class LoggedIn(Answer):
    """How long the session can last; the session's id is in `Set-Cookie`."""

    expires_in: Annotated[Seconds, described("Seconds from now, if the session is used.", 2592000)]
    session_id: (
        Annotated[
            str,
            described(
                "The session's id, with `WXLOGIN_SESSION_ID_IN_BODY`.",
                "pQv0a1SmyhNG2rjU7a2dC-kL5Yx9o0Zt3bWqEfHiJsM1nOp4uVcX6gA8Tz_",
                pattern=f"^[A-Za-z0-9_-]{{{LENGTH}}}$",
            ),
        ]
        | UnsetType
    ) = UNSET
    openid: OpenidIfExposed = UNSET


LOGGED_IN = functools.partial(
    Operation,
    tag="Logging in",
    says="Logged in.",
    answers=LoggedIn,
    headers=(
        Header(
            "Set-Cookie",
            "The session's id. Store it, and send it back as it is.",
            "sessionid=pQv0…; Max-Age=2592000; Secure; HttpOnly; Path=/; SameSite=Lax",
        ),
    ),
)


def login_answer(code: str, *, appid: str | None) -> LoggedIn:
    """Log in and return the answer to the mini-program: how long the session can last at the most, in seconds."""
    refuse_other_sites()
    session = log_in(code, appid=appid)
    services = Services.of(current_app)
    in_body = services.settings.session_id_in_body and session.session_id
    return LoggedIn(
        expires_in=services.sessions.lifetimes.absolute,
        session_id=session.session_id.text if in_body and session.session_id else UNSET,
        openid=session.record.user.openid if services.settings.expose_openid else UNSET,
    )


class UsersSession(Answer):
    """One of a user's sessions, as an operator sees it."""

    handle: Annotated[
        str,
        described("Its public name.", "3yGkq0n1J6kYw8lM2sVb5A", pattern=f"^[A-Za-z0-9_-]{{{HANDLE_LENGTH}}}$"),
    ]
    created_at: Annotated[Seconds, described("When the user logged in, in Unix seconds.", 1795341875)]
    last_seen_at: Annotated[
        Seconds, described("When it was last used, in Unix seconds, to the minute.", 1795341840)
    ]
    expires_in: Annotated[Seconds, described("Seconds from now until it ends unless it is used.", 604790)]
    user_agent: Annotated[
        str, described("What the client called itself at the login.", "Mozilla/5.0 … MicroMessenger/8.0.50")
    ]


def session_list(sessions: Iterable[ListedSession]) -> list[UsersSession]:
    """Return sessions as their user or an operator may see them.

    When a session was last seen is told to the minute: it is kept no better.
    """
    now = Services.of(current_app).sessions.now()
    return [
        UsersSession(
            handle=each.handle,
            created_at=each.record.created_at,
            last_seen_at=each.record.last_seen_at // 60 * 60,
            expires_in=each.expires_at - now,
            user_agent=each.record.user_agent,
        )
        for each in sessions
    ]
