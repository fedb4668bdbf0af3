"""The service as a WSGI application: assembly, and nothing else."""

from __future__ import annotations

import logging

from flask import Flask

from wxlogin import logs, settings
from wxlogin.routes import admin, auth_request, envelope, errors, legacy, login, operations, session, user_data
from wxlogin.services import Services
from wxlogin.sessions.interface import SessionInterface
from wxlogin.sessions.transport import COOKIE_NAME

logger = logging.getLogger(__name__)

_BLUEPRINTS = (login, legacy, session, user_data, auth_request, operations)


def create_app(services: Services) -> Flask:
    """Return the application around ``services``."""
    app = Flask("wxlogin", static_folder=None)
    app.config.update(_config(services.settings))
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider, which it is
    app.url_map.merge_slashes = False  # no redirects: one would carry the old client's query along
    services.attach(app)
    app.session_interface = SessionInterface(app, services.sessions)
    envelope.register(app)
    errors.register(app)
    for resource in _BLUEPRINTS:
        app.register_blueprint(resource.blueprint)
    if services.admin_gate.is_open:
        app.register_blueprint(admin.blueprint)
    return app


def from_environment() -> Flask:
    """Return the application that the environment describes, with its logging; raises `InvalidSettings`."""
    chosen = settings.load()
    logs.configure(level=chosen.log_level, style=chosen.log_format)
    for name in settings.unknown_names():
        logger.warning("%s is not a setting of this service: is it misspelt?", name)
    if settings.exposes_secret(chosen):
        logger.warning("WXLOGIN_WECHAT_API_URL is plain http: the app secret can be read on its way")
    services = Services.build(chosen)
    if chosen.redis_url != "memory://":
        services.health.warn_of_eviction()
    return create_app(services)


def _config(chosen: settings.Settings) -> dict[str, object]:
    return {
        "PROVIDE_AUTOMATIC_OPTIONS": False,
        "SESSION_COOKIE_NAME": COOKIE_NAME,
        "SESSION_COOKIE_PATH": chosen.cookie_path,
        "SESSION_COOKIE_SECURE": chosen.cookie_secure,
        "SESSION_COOKIE_HTTPONLY": chosen.cookie_httponly,
        "SESSION_COOKIE_SAMESITE": chosen.cookie_samesite,
    }
