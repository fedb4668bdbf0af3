"""Limits on how often an address and a user may ask: who is counted; `Routes` says which routes share one.

An address is counted before anything is read, looked up or sent on; a user only if the session is a real one, or
anybody could use up anybody's limit. Whose a login is, is known after it: `LoginService.log_in` counts that.
"""

from __future__ import annotations

import logging

from flask import Flask, current_app, request

from wxlogin.login.rate_limits import RateLimited, Scope
from wxlogin.services import Services
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.web.routing import Routes
from wxlogin.web.session_context import current_session

logger = logging.getLogger(__name__)


def register(app: Flask) -> None:
    """Count the requests of ``app`` to routes that have a limit."""
    app.before_request(_count)


def _count() -> None:
    routes = current_app.blueprints.get(request.blueprint or "")
    scope = routes.limit if isinstance(routes, Routes) else None
    if scope:
        _count_address(scope)
        if scope != "login" and (user_hash := _user_hash()):
            Services.of(current_app).rate_limits.hit_user(user_hash, scope)


def _count_address(scope: Scope) -> None:
    services = Services.of(current_app)
    try:
        services.rate_limits.hit_address(request.remote_addr or "", scope)
    except RateLimited:
        if "X-Forwarded-For" in request.headers and not services.settings.trusted_proxies:
            logger.warning(
                "who is over the limit looks like a proxy: if it is yours, set WXLOGIN_TRUSTED_PROXIES, "
                "or all its clients are counted as one"
            )
        raise


def _user_hash() -> str | None:
    """Return whose session the request has; the view, which needs it as well, won't read it again."""
    try:
        return current_session().stored.session_id.user_hash
    except NotLoggedIn:
        return None
