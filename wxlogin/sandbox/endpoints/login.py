"""Logins, and the `session_key` that comes of them."""

from collections.abc import Mapping

from flask import Request

from wxlogin.sandbox.endpoints.calls import OK, required, seconds_left, signed_call
from wxlogin.sandbox.errcodes import APPID_MISSING, CODE_MISSING, INVALID_GRANT_TYPE, SECRET_MISSING, ApiError
from wxlogin.sandbox.state import EncryptKey, SandboxState

WHERE_PARAMETERS_ARE_SEEN = frozenset({"GET", "POST"})


def jscode2session(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Exchange a code: https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session.

    The order of the checks is not documented. Unknown parameters are ignored, as SDKs send some. A POST may have
    them in the query, or as a form; what comes as JSON is not seen, so that it is short of everything.
    """
    query = request.values if request.method in WHERE_PARAMETERS_ARE_SEEN else {}
    appid = required(query, "appid", errcode=APPID_MISSING)
    secret = required(query, "secret", errcode=SECRET_MISSING)
    js_code = required(query, "js_code", errcode=CODE_MISSING)
    if query.get("grant_type") != "authorization_code":
        raise ApiError(INVALID_GRANT_TYPE)
    state.authenticate_app(appid, secret)
    user = state.exchange_code(js_code, appid)
    unionid = {"unionid": user.unionid} if user.unionid else {}
    return {"session_key": user.session_key, "openid": user.openid, **unionid}


def checksession(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Check a key: https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey.html."""
    state.authenticate_user(signed_call(state, request))
    return {**OK}


def resetusersessionkey(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Replace a `session_key`: its page is api_resetusersessionkey.html, beside that of `checksession`."""
    user = state.reset_session_key(signed_call(state, request))
    return {**OK, "openid": user.openid, "session_key": user.session_key}


def getuserencryptkey(state: SandboxState, request: Request) -> Mapping[str, object]:
    """List the keys that a mini-program encrypts its traffic with, newest first.

    https://developers.weixin.qq.com/minigame/dev/api-backend/open-api/internet/internet.getUserEncryptKey.html
    is about a POST, other pages are about a GET, and SDKs send either.
    """
    keys = state.encrypt_keys(signed_call(state, request))
    return {**OK, "key_info_list": [describe_encrypt_key(state, key) for key in keys]}


def describe_encrypt_key(state: SandboxState, key: EncryptKey) -> Mapping[str, object]:
    return {
        "encrypt_key": key.key,
        "version": key.version,
        "expire_in": seconds_left(state, key.ends_at),
        "iv": key.iv,
        "create_time": int(key.created_at),
    }
