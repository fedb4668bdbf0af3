"""Whose request it is that a proxy asks about, and whether that user may pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec

from wxlogin.observability import logging as logs
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.session_id_extractor import find_session_id

PATH = "/auth"


class AppidNotAllowed(Exception):
    """Raised if a user is logged in, but with a mini-program that is not asked for."""


class AuthRequest(msgspec.Struct, frozen=True):
    """What a check asks; ``appids`` are those whose users may pass, all of them if there are none."""

    session_id: SessionId | None
    appids: Sequence[str]
    request_id: str

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> AuthRequest:
        """Return what the request of this WSGI environment asks."""
        query, request_id = environ["QUERY_STRING"], environ.get("HTTP_X_REQUEST_ID", "")
        return cls(
            find_session_id(environ),
            [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "appid"]
            if query
            else (),
            request_id if logs.is_request_id(request_id) else logs.new_request_id(),
        )


class Granted(msgspec.Struct, frozen=True):
    """The request may pass."""

    user: User

    def headers(self) -> dict[str, str]:
        """Return the headers that WeChat Cloud Run sets, so that a back end written for it runs unchanged."""
        user = self.user
        headers = {"X-WX-OPENID": user.openid, "X-WX-APPID": user.appid, "X-WX-SOURCE": "wx_client"}
        return {**headers, "X-WX-UNIONID": user.unionid} if user.unionid else headers


class Denied(msgspec.Struct, frozen=True):
    """The request may not pass, or nobody knows whether it may."""

    error: Exception


Decision = Granted | Denied


def authorize(user: User, appids: Sequence[str]) -> Decision:
    """Decide about a request of ``user``."""
    return Denied(AppidNotAllowed()) if appids and user.appid not in appids else Granted(user)


def decide(asked: AuthRequest, verifier: SessionVerifier) -> Decision:
    """Decide about a request; this waits for Redis, if need be."""
    if asked.session_id is None:
        return Denied(NotLoggedIn())
    try:
        user = verifier.get(asked.session_id)
    except (NotLoggedIn, StoreUnavailable) as error:
        return Denied(error)
    logs.bind_user(asked.session_id.user_hash)
    return authorize(user, asked.appids)
