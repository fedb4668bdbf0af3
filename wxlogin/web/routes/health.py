"""``/healthz`` and ``/readyz``: is the process alive, and can it serve."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from wxlogin.services import Services

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def is_alive() -> Response:
    """Answer, and ask nobody: restarting this process mends nothing that is wrong elsewhere."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def is_ready() -> Response:
    """Answer 200 if sessions can be checked, and 503 while the store does not let us."""
    Services.of(current_app).health.check_readable()
    return jsonify(status="ok")
