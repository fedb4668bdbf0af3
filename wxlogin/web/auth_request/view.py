"""``/auth`` in Flask, as any other route: for ``HEAD``, and for the description of the API."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from wxlogin.services import Services
from wxlogin.web.auth_request.decision import PATH, AuthRequest, Denied
from wxlogin.web.auth_request.middleware import decide

blueprint = Blueprint("auth_request", __name__)


@blueprint.get(PATH)
def check() -> Response:
    """Answer with the user's identity in headers; ``?appid=``, repeatable, lets only these apps' users pass."""
    decision = decide(AuthRequest.parse(request.environ), Services.of(current_app).verifier)
    if isinstance(decision, Denied):
        raise decision.error
    return Response(status=204, headers=decision.headers())
