"""The service as a WSGI application: assembly, and nothing else."""

from __future__ import annotations

import functools
import logging
import threading

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from wxlogin import logs, settings, startup
from wxlogin.redis_watch import Reporter, watched
from wxlogin.routes import (
    admin,
    auth_request,
    docs,
    envelope,
    errors,
    legacy,
    limits,
    login,
    openapi,
    operations,
    phone_number,
    session,
    session_key,
    user_data,
)
from wxlogin.routes.gate import Gate
from wxlogin.services import Services
from wxlogin.sessions.interface import SessionInterface
from wxlogin.sessions.transport import COOKIE_NAME

logger = logging.getLogger(__name__)

_BLUEPRINTS = (login, legacy, session, user_data, phone_number, session_key, auth_request, operations, openapi)


def create_app(services: Services, *, with_docs: bool = False) -> Flask:
    """Return the application around ``services``; ``with_docs`` adds the page that explains it to developers."""
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
    if with_docs:
        app.register_blueprint(docs.blueprint)
    limits.register(app)
    _trust(app, proxies=services.settings.trusted_proxies)
    app.wsgi_app = Gate(app.wsgi_app, services.checks, services.metrics)  # type: ignore[method-assign]
    return app


def from_environment(*, simulator_url: str | None = None) -> Flask:
    """Return the application that the environment describes, with its logging; raises `InvalidSettings`.

    With ``simulator_url`` it is one to develop with: it has ``/docs``, and tells the simulator what it asks Redis.
    No setting does that, so that no environment can.
    """
    read = startup.shared.current()
    chosen = read.settings
    logs.configure(level=chosen.log_level, style=chosen.log_format)
    for name in settings.unknown_names():
        logger.warning("%s is not a setting of this service: is it misspelt?", name)
    if settings.exposes_secret(chosen):
        logger.warning("WXLOGIN_WECHAT_API_URL is plain http: the app secret can be read on its way")
    if simulator_url is None:
        return create_app(Services.build(chosen, known_apps=read.apps))
    watch = functools.partial(watched, tell=Reporter(simulator_url).tell)
    return create_app(Services.build(chosen, known_apps=read.apps, watch=watch), with_docs=True)


def warn_of_eviction(app: Flask) -> None:
    """Have the log warned, in a while, if Redis would throw sessions away; a silent one keeps nobody waiting."""
    services = Services.of(app)
    if services.settings.redis_url != "memory://":
        threading.Thread(target=services.health.warn_of_eviction, name="warn-of-eviction", daemon=True).start()


def _trust(app: Flask, *, proxies: int) -> None:
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
