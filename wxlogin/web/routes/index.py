"""``GET /``: what this is, for who opens the address in a browser."""

from __future__ import annotations

from flask import Response

from wxlogin import __version__
from wxlogin.web.routing import Operation, Routes

blueprint = Routes("index")

_TEXT = f"""\
wxlogin {__version__} logs WeChat mini-program users in.

POST /login {{"code": "..."}}   the code of wx.login() goes in, a session cookie comes out
GET  /session                who the cookie is
GET  /auth                   whose request it is, for nginx's auth_request
GET  /openapi.json           all of the API
GET  /healthz, /readyz       whether it is alive, and whether sessions can be checked
"""


@blueprint.route_of(
    "GET",
    "/",
    Operation(
        tag="Running the service",
        says="What this is, and where to look.",
        content={"text/plain": {"type": "string"}},
    ),
)
def show() -> Response:
    """Say what this service is, and where to look."""
    return Response(_TEXT, mimetype="text/plain")
