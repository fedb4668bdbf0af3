"""``POST /phone-number``: the code of a ``getPhoneNumber`` button goes in, the user's phone number comes out.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/getPhoneNumber.html
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from werkzeug.exceptions import BadRequest

from wxlogin.login.service import MiniProgramRemoved
from wxlogin.web.request_body import read_body
from wxlogin.web.routing import COMMON_ERRORS, OF_USER, OF_WECHAT, USER, Answer, Operation, Routes, described
from wxlogin.web.session_context import CODE_JSON_PATTERN, CODE_PATTERN, call_wechat, identify
from wxlogin.wechat.api.errors import InvalidCode

blueprint = Routes("phone_number", limit="phone_number")


class PhoneCode(msgspec.Struct, forbid_unknown_fields=True):
    """What the button gives a mini-program."""

    code: Annotated[
        str,
        described(
            "What the `getPhoneNumber` button gave.",
            "e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144",
            pattern=CODE_JSON_PATTERN,
        ),
    ]


class PhoneNumber(Answer, rename="camel"):
    """The user's phone number."""

    phone_number: Annotated[str, described("A foreign one begins with the country code.", "13580006666")]
    pure_phone_number: Annotated[str, described("Without the country code.", "13580006666")]
    country_code: Annotated[str, described("Such as 86.", "86")]


@blueprint.route_of(
    "POST",
    "/phone-number",
    Operation(
        tag="User data",
        callers=USER,
        takes=PhoneCode,
        says="The user's phone number.",
        answers=PhoneNumber,
        raises=(*COMMON_ERRORS, *OF_USER, *OF_WECHAT, InvalidCode, MiniProgramRemoved),
    ),
)
def exchange() -> PhoneNumber:
    """Exchange the code, which works once and costs the operator money; it has to be this very user's."""
    user = identify().user
    code = read_body(PhoneCode).code
    if not CODE_PATTERN.match(code):
        raise BadRequest("code: has to be what the button gave, 1 to 128 letters, digits, _ and -.")
    phone = call_wechat(lambda client, token: client.getuserphonenumber(token, code, openid=user.openid))
    return PhoneNumber(
        phone_number=phone.phone_number,
        pure_phone_number=phone.pure_phone_number,
        country_code=phone.country_code,
    )
