"""``POST /phone-number``: the code of a ``getPhoneNumber`` button goes in, the user's phone number comes out.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/getPhoneNumber.html
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from marshmallow import Schema, fields
from werkzeug.exceptions import BadRequest

from wxlogin.web.request_body import read_body
from wxlogin.web.session_context import CODE_JSON_PATTERN, CODE_PATTERN, call_wechat, identify

blueprint = Blueprint("phone_number", __name__)


class PhoneCodeSchema(Schema):
    """What the button gives a mini-program."""

    code = fields.String(
        required=True,
        metadata={
            "description": "What the `getPhoneNumber` button gave.",
            "pattern": CODE_JSON_PATTERN,
            "examples": ["e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144"],
        },
    )


_schema = PhoneCodeSchema()


@blueprint.post("/phone-number")
def exchange() -> Response:
    """Exchange the code, which works once and costs the operator money; it has to be this very user's."""
    user = identify().user
    code = read_body(_schema)["code"]
    if not CODE_PATTERN.match(code):
        raise BadRequest("code: has to be what the button gave, 1 to 128 letters, digits, _ and -.")
    phone = call_wechat(lambda client, token: client.getuserphonenumber(token, code, openid=user.openid))
    return jsonify(
        phoneNumber=phone.phone_number,
        purePhoneNumber=phone.pure_phone_number,
        countryCode=phone.country_code,
    )
