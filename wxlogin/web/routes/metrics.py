"""``GET /metrics``: what Prometheus collects."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from wxlogin.services import Services

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show() -> Response:
    """Answer with the metrics of all workers: https://prometheus.io/docs/instrumenting/exposition_formats/."""
    text, content_type = Services.of(current_app).metrics.exposition(request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)
