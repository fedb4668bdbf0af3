"""``POST /login``: a code goes in, a session cookie comes out."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wxlogin.web.request_body import read_body
from wxlogin.web.responses import LOGGED_IN, LOGIN_ERRORS, LoggedIn, login_answer
from wxlogin.web.routing import COMMON_ERRORS, Routes, described
from wxlogin.web.session_context import CODE_JSON_PATTERN

blueprint = Routes("login", limit="login")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """What a mini-program sends: the code of ``wx.login()`` and, to a service of several apps, its AppID."""

    code: Annotated[
        str, described("What `wx.login()` gave.", "0b3Zrh000000000000000000000Zrh0b", pattern=CODE_JSON_PATTERN)
    ]
    appid: Annotated[
        str,
        described(
            "Which mini-program it is, if the service has several. Without it, the `Referer` that WeChat sets "
            "says it.",
            "wx4f4bc4dec97d474b",
        ),
    ] = ""


@blueprint.route_of("POST", "/login", LOGGED_IN(takes=Login, raises=(*COMMON_ERRORS, *LOGIN_ERRORS)))
def log_in() -> LoggedIn:
    """Exchange the code and start a session."""
    body = read_body(Login)
    return login_answer(body.code, appid=body.appid or None)
