"""The service as a WSGI application: assembly, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.utils import import_string

from wxlogin.config import settings, snapshot
from wxlogin.observability.logging import configure_logging
from wxlogin.services import Services
from wxlogin.storage.client import Client
from wxlogin.web import errors, hooks, rate_limiting
from wxlogin.web.auth_request.middleware import AuthRequestMiddleware
from wxlogin.web.flask_session import SessionInterface
from wxlogin.web.openapi.docs_page import view as docs_page
from wxlogin.web.routes import admin
from wxlogin.web.session_id_extractor import COOKIE_NAME

logger = logging.getLogger(__name__)

# Modules, each of which declares its routes.
_ROUTES = (
    "routes.login",
    "routes.legacy_login",
    "routes.sessions",
    "routes.user_data",
    "routes.phone_number",
    "routes.session_key",
    "auth_request.view",
    "routes.index",
    "routes.health",
    "routes.metrics",
    "openapi.view",
)
_BLUEPRINTS = [import_string(f"wxlogin.web.{module}.blueprint") for module in _ROUTES]


def create_app(services: Services, *, with_docs: bool = False) -> Flask:
    """Return the application around ``services``; ``with_docs`` adds the page that explains it to developers."""
    app = Flask("wxlogin", static_folder=None)
    app.config.update(_config(services.settings))
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider, which it is
    app.url_map.merge_slashes = False  # no redirects: one would carry the old client's query along
    services.attach(app)
    app.session_interface = SessionInterface(app, services.sessions)
    hooks.register(app)
    errors.register(app)
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    if services.admin_token.is_enabled:
        app.register_blueprint(admin.blueprint)
    if with_docs:
        app.register_blueprint(docs_page.blueprint)
    rate_limiting.register(app)
    _apply_proxy_fix(app, proxies=services.settings.trusted_proxies)
    app.wsgi_app = AuthRequestMiddleware(app.wsgi_app, services.verifier, services.metrics)  # type: ignore[method-assign]
    return app


def from_environment(
    *, watch: Callable[[Client], Client] = lambda client: client, with_docs: bool = False
) -> Flask:
    """Return the application that the environment describes, with its logging; raises `InvalidSettings`.

    For ``watch``, see `Services.build`, and for ``with_docs`` `create_app`.
    """
    read = snapshot.shared.current()
    chosen = read.settings
    configure_logging(level=chosen.log_level, style=chosen.log_format)
    for name in settings.unknown_names():
        logger.warning("%s is not a setting of this service: is it misspelt?", name)
    if settings.exposes_secret(chosen):
        logger.warning("WXLOGIN_WECHAT_API_URL is plain http: the app secret can be read on its way")
    return create_app(Services.build(chosen, known_apps=read.apps, watch=watch), with_docs=with_docs)


def _apply_proxy_fix(app: Flask, *, proxies: int) -> None:
    """Believe the nearest ``proxies`` about the client's address, and nothing else."""
    if proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )


def _config(chosen: settings.Settings) -> dict[str, object]:
    return {
        "PROVIDE_AUTOMATIC_OPTIONS": False,
        "SESSION_COOKIE_NAME": COOKIE_NAME,
        "SESSION_COOKIE_PATH": chosen.cookie_path,
        "SESSION_COOKIE_SECURE": chosen.cookie_secure,
        "SESSION_COOKIE_HTTPONLY": chosen.cookie_httponly,
        "SESSION_COOKIE_SAMESITE": chosen.cookie_samesite,
    }
