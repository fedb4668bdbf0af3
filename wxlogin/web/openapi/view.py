"""``GET /openapi.json``: what the API is, for programs and for the page that ``wxlogin dev`` shows to people."""

from __future__ import annotations

import json

from flask import Response, current_app

from wxlogin.web.routing import Operation, Routes

blueprint = Routes("openapi")

_EXTENSION = "wxlogin.openapi"


@blueprint.route_of(
    "GET",
    "/openapi.json",
    Operation(
        tag="Running the service", says="This description.", content={"application/json": {"type": "object"}}
    ),
)
def show() -> Response:
    """Answer with the description of this API."""
    return Response(_document(), mimetype="application/json")


def _document() -> str:
    """Return the document; it is made when it is asked for first, and stays the same as long as the service runs.

    Two requests at the same time may both make it.
    """
    known = current_app.extensions
    if _EXTENSION not in known:
        from wxlogin.web.openapi.document import describe  # what it takes is not loaded at each start

        known[_EXTENSION] = json.dumps(describe(current_app), ensure_ascii=False, separators=(",", ":"))
    document: str = known[_EXTENSION]
    return document
