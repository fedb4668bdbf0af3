"""``POST /login``: a code goes in, a session cookie comes out."""

from __future__ import annotations

from flask import Blueprint, Response
from marshmallow import Schema, fields

from wxlogin.web.request_body import read_body
from wxlogin.web.responses import login_answer
from wxlogin.web.session_context import CODE_JSON_PATTERN

blueprint = Blueprint("login", __name__)


class LoginSchema(Schema):
    """What a mini-program sends: the code of ``wx.login()`` and, to a service of several apps, its AppID."""

    code = fields.String(
        required=True,
        metadata={
            "description": "What `wx.login()` gave.",
            "pattern": CODE_JSON_PATTERN,
            "examples": ["0b3Zrh000000000000000000000Zrh0b"],
        },
    )
    appid = fields.String(
        metadata={
            "description": "Which mini-program it is, if the service has several. Without it, the `Referer` that "
            "WeChat sets says it.",
            "examples": ["wx4f4bc4dec97d474b"],
        }
    )


_schema = LoginSchema()


@blueprint.post("/login")
def log_in() -> Response:
    """Exchange the code and start a session."""
    body = read_body(_schema)
    return login_answer(body["code"], appid=body.get("appid"))
