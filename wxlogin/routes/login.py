"""``POST /login``: a code goes in, a session cookie comes out."""

from __future__ import annotations

from flask import Blueprint, Response
from marshmallow import Schema, fields

from wxlogin.routes.answers import login_answer
from wxlogin.routes.bodies import read_body

blueprint = Blueprint("login", __name__)


class LoginSchema(Schema):
    """What a mini-program sends: the code of ``wx.login()`` and, to a service of several apps, its AppID."""

    code = fields.String(required=True)
    appid = fields.String()


_schema = LoginSchema()


@blueprint.post("/login")
def log_in() -> Response:
    """Exchange the code and start a session."""
    body = read_body(_schema)
    return login_answer(body["code"], appid=body.get("appid"))
