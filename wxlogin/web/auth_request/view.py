"""``/auth`` in Flask, as any other route: for ``HEAD``, and for the description of the API."""

from __future__ import annotations

from flask import Response, current_app, request

from wxlogin.services import Services
from wxlogin.web.auth_request.decision import PATH, AppidNotAllowed, AuthRequest, Denied, decide
from wxlogin.web.routing import OF_USER, USER, Header, Operation, Routes, in_query

blueprint = Routes("auth_request")

_IDENTITY = (
    Header("X-WX-OPENID", "The user's openid.", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
    Header("X-WX-APPID", "The AppID of the user's mini-program.", "wx4f4bc4dec97d474b"),
    Header("X-WX-SOURCE", "As WeChat Cloud Run has it.", "wx_client"),
    Header(
        "X-WX-UNIONID", "The user's unionid, if there is one.", "oU5Yyt8QzFG9YyWpPqMBM0h8aXjE", is_certain=False
    ),
)


@blueprint.route_of(
    "GET",
    PATH,
    Operation(
        tag="Back ends behind a proxy",
        callers=USER,
        query=(
            {
                **in_query("appid", "Lets only this mini-program's users pass; repeatable."),
                "schema": {"type": "array", "items": {"type": "string"}},
            },
        ),
        says="The request is a user's: whose, say the headers.",
        headers=_IDENTITY,
        raises=(*OF_USER, AppidNotAllowed),
    ),
)
def check() -> Response:
    """Answer with the user's identity in headers; ``?appid=``, repeatable, lets only these apps' users pass."""
    decision = decide(AuthRequest.parse(request.environ), Services.of(current_app).verifier)
    if isinstance(decision, Denied):
        raise decision.error
    return Response(status=204, headers=decision.headers())
