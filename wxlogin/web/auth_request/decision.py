"""Whose request it is that a proxy asks about, and whether that user may pass."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from wxlogin.observability import logging as logs
from wxlogin.sessions.record import User
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.sessions.verification.verifier import Verifier
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.session_id_extractor import find_session_id

_DECISION = "wxlogin.decision"  # in the WSGI environment


class AppidNotAllowed(Exception):
    """Raised if a user is logged in, but with a mini-program that is not asked for."""


def decide(environ: dict[str, Any], verifier: Verifier) -> User:
    """Return whose request this is, of one of the apps that ``?appid=``, repeatable, names if there are any.

    The middleware and the view both ask, and a request is decided once. Raises `NotLoggedIn`, `SessionExpired`,
    `StoreUnavailable` or `AppidNotAllowed`.
    """
    decision: User | Exception | None = environ.get(_DECISION)
    if decision is None:
        try:
            decision = _decide(environ, verifier)
        except (NotLoggedIn, StoreUnavailable, AppidNotAllowed) as error:
            decision = error
        environ[_DECISION] = decision
    if isinstance(decision, Exception):
        raise decision
    return decision


def _decide(environ: dict[str, Any], verifier: Verifier) -> User:
    session_id = find_session_id(environ)
    if session_id is None:
        raise NotLoggedIn
    user = verifier.user_of(session_id)
    logs.bind_user(session_id.user_hash)
    if environ["QUERY_STRING"] and user.appid not in (_requested_appids(environ["QUERY_STRING"]) or [user.appid]):
        raise AppidNotAllowed
    return user


def _requested_appids(query: str) -> list[str]:
    return [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "appid"]
