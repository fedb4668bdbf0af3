"""``GET /metrics``: what Prometheus collects."""

from __future__ import annotations

from flask import Response, current_app, request

from wxlogin.services import Services
from wxlogin.web.routing import Operation, Routes

blueprint = Routes("metrics")


@blueprint.route_of(
    "GET",
    "/metrics",
    Operation(
        tag="Running the service",
        says="The metrics, in the format that `Accept` asks for.",
        content={"text/plain": {"type": "string"}, "application/openmetrics-text": {"type": "string"}},
    ),
)
def show() -> Response:
    """Answer with the metrics of all workers: https://prometheus.io/docs/instrumenting/exposition_formats/."""
    text, content_type = Services.of(current_app).metrics.exposition(request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)
