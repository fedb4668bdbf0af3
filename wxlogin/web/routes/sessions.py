"""``/session`` and ``/sessions``: who am I, on which devices, and log out here, there or everywhere."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated

import msgspec
from flask import current_app, request
from msgspec import UNSET
from werkzeug.exceptions import BadRequest, NotFound

from wxlogin.services import Services
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.responses import OpenidIfExposed, Seconds, UsersSession, session_list
from wxlogin.web.routing import (
    COMMON_ERRORS,
    OF_USER,
    USER,
    Answer,
    Header,
    Operation,
    Routes,
    described,
    in_query,
)
from wxlogin.web.session_context import current_session, identify, log_out

blueprint = Routes("sessions")

_FOR_USERS = functools.partial(Operation, tag="Sessions", callers=USER)
_CLEARS_COOKIE = Header(
    "Set-Cookie", "Clears the cookie.", "sessionid=; Max-Age=0; Secure; HttpOnly; Path=/; SameSite=Lax"
)
_MAY_CLEAR_COOKIE = dataclasses.replace(
    _CLEARS_COOKIE, description="Clears the cookie, if the session that asks has ended.", is_certain=False
)


class Session(Answer):
    """The session that asks."""

    appid: Annotated[str, described("Of the user's mini-program.", "wx4f4bc4dec97d474b")]
    created_at: Annotated[Seconds, described("When the user logged in, in Unix seconds.", 1795341875)]
    expires_in: Annotated[Seconds, described("Seconds from now until it ends, used or not.", 2591990)]
    idle_expires_in: Annotated[Seconds, described("Seconds from now until it ends unless it is used.", 604790)]
    openid: OpenidIfExposed = UNSET


@blueprint.route_of(
    "GET",
    "/session",
    _FOR_USERS(says="The session that asks.", answers=Session, raises=(*COMMON_ERRORS, *OF_USER)),
)
def show() -> Session:
    """Tell the mini-program about its session; times are Unix seconds and seconds from now."""
    services = Services.of(current_app)
    record = identify()
    now, lifetimes = services.sessions.now(), services.sessions.lifetimes
    return Session(
        appid=record.user.appid,
        created_at=record.created_at,
        expires_in=record.created_at + lifetimes.absolute - now,
        idle_expires_in=lifetimes.expires_at(record) - now,
        openid=record.user.openid if services.settings.expose_openid else UNSET,
    )


@blueprint.route_of(
    "DELETE",
    "/session",
    _FOR_USERS(
        says="Logged out, or not logged in anyway.",
        headers=(_CLEARS_COOKIE,),
        is_anonymous_too=True,
        raises=(*COMMON_ERRORS, StoreUnavailable),
    ),
)
def end() -> None:
    """Log out here; logging out again is as good."""
    log_out()


class OwnSession(UsersSession):
    """One of a user's sessions, as the user sees it."""

    is_current: Annotated[bool, described("Whether it is the one that asks.", True)]


class OwnSessions(Answer):
    """All sessions of the user who asks."""

    sessions: Annotated[list[OwnSession], described("The newest first.")]


@blueprint.route_of(
    "GET",
    "/sessions",
    _FOR_USERS(says="The user's sessions.", answers=OwnSessions, raises=(*COMMON_ERRORS, *OF_USER)),
)
def show_all() -> OwnSessions:
    """List the user's sessions, the newest first, and say which one asks."""
    session = current_session()
    own = session.stored.session_id.field
    return OwnSessions(
        sessions=[
            OwnSession(**msgspec.structs.asdict(each), is_current=each.handle == own)
            for each in session_list(session.list_for_user())
        ]
    )


@blueprint.route_of(
    "DELETE",
    "/sessions",
    _FOR_USERS(
        says="Logged out.",
        headers=(_MAY_CLEAR_COOKIE,),
        query=(in_query("except", "`current` spares the session that asks.", enum=["current"]),),
        raises=(*COMMON_ERRORS, *OF_USER),
    ),
)
def end_all() -> None:
    """Log out everywhere, or with ``?except=current`` everywhere else."""
    spares_this = request.query_string == b"except=current"
    if request.query_string and not spares_this:  # a slip of the pen is no reason to log out here
        raise BadRequest("The query can be except=current, or left out.")
    current_session().revoke_all(include_current=not spares_this)


@blueprint.route_of(
    "DELETE",
    "/sessions/<handle>",
    _FOR_USERS(
        says="Logged out there, or there was no such session any more.",
        headers=(_MAY_CLEAR_COOKIE,),
        raises=(*COMMON_ERRORS, *OF_USER, NotFound),
    ),
)
def end_one(handle: str) -> None:
    """Log out on one device; if it is logged out already, that is as good."""
    current_session().revoke(handle)
