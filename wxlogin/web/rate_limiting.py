"""Limits on how often an address and a user may ask: which resources share one, and who is counted.

An address is counted before anything is read, looked up or sent on; a user only if the session is a real one, or
anybody could use up anybody's limit. Whose a login is, is known after it: `LoginService.log_in` counts that.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from flask import Flask, current_app, request
from flask_limiter import Limiter, RequestLimit

from wxlogin.login.rate_limits import STORAGE_SCHEME, UNLIMITED, Scope, client_key
from wxlogin.services import Services
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.web.session_context import current_session

logger = logging.getLogger(__name__)

_SCOPES: dict[str, Scope] = {
    "login": "login",
    "legacy_login": "login",
    "user_data": "user_data",
    "session_key": "user_data",
    "phone_number": "phone_number",
}


def register(app: Flask) -> None:
    """Count the requests to the blueprints that ``app`` has by now."""
    rate_limits = Services.of(app).rate_limits
    limited: set[str] = set()
    limiter = Limiter(
        _client,
        # Of a request without one, which has no limit, Flask-Limiter looks no further.
        request_identifier=lambda: (request.endpoint or "") if request.blueprint in limited else "",
        strategy="fixed-window",
        headers_enabled=False,  # these would cost two more round trips for each request
        on_breach=_refuse,
        storage_uri=f"{STORAGE_SCHEME}://",
        storage_options={"counters": rate_limits.counters},  # type: ignore[dict-item]  # handed on as it is
    )
    for blueprint in app.blueprints.values():
        scope = _SCOPES.get(blueprint.name)
        if scope and rate_limits.allowances[scope].per_address != UNLIMITED:
            limit = limiter.shared_limit(rate_limits.allowances[scope].per_address, scope=scope)
            limited.add(blueprint.name)
            limit(blueprint)  # type: ignore[call-overload]  # Flask types it by its base class
    limiter.init_app(app)
    app.before_request(_count_user)


def _client() -> str:
    return f"address:{client_key(request.remote_addr or '')}"


def _refuse(breached: RequestLimit) -> NoReturn:
    services = Services.of(current_app)
    if "X-Forwarded-For" in request.headers and not services.settings.trusted_proxies:
        logger.warning(
            "who is over the limit looks like a proxy: if it is yours, set WXLOGIN_TRUSTED_PROXIES, "
            "or all its clients are counted as one"
        )
    services.rate_limits.refuse(breached.key, scope=_SCOPES[request.blueprint or ""], subject="address")


def _count_user() -> None:
    scope = _SCOPES.get(request.blueprint or "")
    if scope is None or scope == "login":
        return
    user_hash = _user_hash()
    if user_hash:
        Services.of(current_app).rate_limits.hit_user(user_hash, scope)


def _user_hash() -> str | None:
    """Return whose session the request has; the view, which needs it as well, won't read it again."""
    try:
        return current_session().stored.session_id.user_hash
    except NotLoggedIn:
        return None
