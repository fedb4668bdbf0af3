"""For those who keep the service running: is it alive, can it serve, how does it fare."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify, request

from wxlogin.services import Services

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
def is_alive() -> Response:
    """Answer, and ask nobody: restarting this process mends nothing that is wrong elsewhere."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def is_ready() -> Response:
    """Answer 200 if sessions can be checked, and 503 while the store does not let us."""
    Services.of(current_app).health.check_readable()
    return jsonify(status="ok")


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Answer with what Prometheus collects: https://prometheus.io/docs/instrumenting/exposition_formats/."""
    text, content_type = Services.of(current_app).metrics.exposition(request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)
