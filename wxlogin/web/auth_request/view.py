"""``GET /auth``: nginx asks, about every request to the other back ends, whose it is.

https://nginx.org/en/docs/http/ngx_http_auth_request_module.html: 2xx lets the request pass, 401 and 403 refuse it,
anything else is an error.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.web.auth_request.decision import decide

PATH = "/auth"

blueprint = Blueprint("auth_request", __name__)


@blueprint.get(PATH)
def check() -> Response:
    """Answer with the user's identity in headers; ``?appid=``, repeatable, lets only these apps' users pass."""
    user = decide(request.environ, Services.of(current_app).verifier)
    return Response(status=204, headers=identity_headers(user))


def identity_headers(user: User) -> dict[str, str]:
    """Return the headers that WeChat Cloud Run sets, so that a back end written for it runs unchanged."""
    headers = {"X-WX-OPENID": user.openid, "X-WX-APPID": user.appid, "X-WX-SOURCE": "wx_client"}
    return {**headers, "X-WX-UNIONID": user.unionid} if user.unionid else headers
