"""What WeChat knows of users: phone numbers, other ids, risks."""

import re
import secrets
from collections.abc import Mapping
from typing import Final

from flask import Request

from wxlogin.sandbox.endpoints.calls import OK, caller_appid, derived_id, posted_fields
from wxlogin.sandbox.errcodes import (
    APPID_MISMATCH,
    INVALID_ARGUMENTS,
    INVALID_ORDER,
    INVALID_SCENE,
    NOT_BOUND,
    PLUGIN_BAD_CODE,
    PLUGIN_BAD_PARAMETER,
    USER_WAS_NOT_HERE,
    ApiError,
)
from wxlogin.sandbox.phone_numbers import split_phone_number
from wxlogin.sandbox.state import SandboxState

SHA256_HEX: Final = re.compile("[0-9a-f]{64}")
SCENES: Final = frozenset({0, 1, 2})
VISIT_SECONDS: Final = 1800


def getuserphonenumber(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Exchange a phone code.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/phone-number/getPhoneNumber.html
    """
    appid = caller_appid(state, request)
    fields = posted_fields(request, {"code": str, "openid": str})
    phone = state.exchange_phone_code(fields.get("code", ""), appid, openid=fields.get("openid"))
    watermark = {"timestamp": int(phone.issued_at), "appid": appid}
    return {**OK, "phone_info": {**split_phone_number(phone.phone_number), "watermark": watermark}}


def checkencryptedmsg(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Tell whether a phone number was encrypted here: the answer's `vaild` is WeChat's spelling.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/basic-info/checkEncryptedData.html
    """
    appid = caller_appid(state, request)
    fields = posted_fields(request, {"encrypted_msg_hash": str})
    digest = fields.get("encrypted_msg_hash", "").lower()
    if not SHA256_HEX.fullmatch(digest):
        raise ApiError(INVALID_ARGUMENTS)
    return {**OK, "vaild": True, "create_time": int(state.encrypted_at(digest, appid))}


def getpaidunionid(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Tell the unionid of a user who has paid. Every order that is named as a whole is one, and was paid.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/basic-info/getPaidUnionid.html
    """
    user = state.find_user(appid=caller_appid(state, request), openid=request.args.get("openid", ""))
    if bool(request.args.get("mch_id")) != bool(request.args.get("out_trade_no")):
        raise ApiError(INVALID_ORDER)
    if not user.unionid:
        raise ApiError(NOT_BOUND)
    return {**OK, "unionid": user.unionid}


def getpluginopenpid(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Exchange a code of `wx.pluginLogin()`, for which one of `wx.login()` does here.

    https://developers.weixin.qq.com/miniprogram/dev/server/API/user-info/basic-info/api_getpluginopenpid.html
    """
    appid = caller_appid(state, request)
    code = posted_fields(request, {"code": str}).get("code")
    if not code:
        raise ApiError(PLUGIN_BAD_PARAMETER)
    try:
        user = state.exchange_code(code, appid)
    except ApiError:
        raise ApiError(PLUGIN_BAD_CODE) from None
    return {**OK, "openpid": derived_id("plugin", appid, user.openid)}


def getuserriskrank(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Tell how risky a user is, which is 0 here. `unoin_id`, as WeChat spells it, is a number of the call.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/sec-center/safety-control-capability/getUserRiskRank.html
    """
    appid = caller_appid(state, request)
    fields = posted_fields(request, {"appid": str, "openid": str, "scene": int, "client_ip": str})
    if fields.get("scene") not in SCENES:
        raise ApiError(INVALID_SCENE)
    if fields.get("appid") != appid:
        raise ApiError(APPID_MISMATCH)
    user = state.find_user(appid=appid, openid=fields.get("openid", ""))
    if state.clock() - user.session_key_issued_at >= VISIT_SECONDS:
        raise ApiError(USER_WAS_NOT_HERE)
    return {"errcode": 0, "errmsg": "getuserriskrank succ", "risk_rank": 0, "unoin_id": secrets.randbits(31)}
