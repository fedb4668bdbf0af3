"""What each endpoint of api.weixin.qq.com does."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from flask import Request

from wxlogin.sandbox.errcodes import (
    APPID_MISSING,
    CODE_MISSING,
    DATA_FORMAT,
    EMPTY_POST_DATA,
    GET_REQUIRED,
    INVALID_ARGUMENTS,
    INVALID_GRANT_TYPE,
    INVALID_URL,
    POST_REQUIRED,
    SECRET_MISSING,
    ApiError,
)
from wxlogin.sandbox.json_text import parse_json
from wxlogin.sandbox.state import EncryptKey, SandboxState, SignedCall
from wxlogin.sandbox.tokens import AccessToken

WRONG_METHOD: Final[Mapping[str, int]] = MappingProxyType({"GET": GET_REQUIRED, "POST": POST_REQUIRED})
SHA256_HEX: Final = re.compile("[0-9a-f]{64}")
OK: Final[Mapping[str, object]] = MappingProxyType({"errcode": 0, "errmsg": "ok"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What answers the calls of a path, those with another method than `method` apart; None is any.

    `lists` are those that an error has too, but empty.
    """

    answer: Callable[[SandboxState, Request], Mapping[str, object]]
    method: str | None = None
    content_type: str = "application/json"
    lists: tuple[str, ...] = ()


def endpoint_at(path: str) -> Endpoint:
    return ENDPOINTS.get(path, NOWHERE)


def carry_out(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Do what the call asks for and return the answer, or raise `ApiError`."""
    endpoint = endpoint_at(request.path)
    if endpoint.method is not None and endpoint.method != request.method:
        raise ApiError(WRONG_METHOD[endpoint.method])
    return endpoint.answer(state, request)


def nowhere(_state: SandboxState, _request: Request) -> Mapping[str, object]:
    raise ApiError(INVALID_URL)


def jscode2session(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Exchange a code: https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session.

    The order of the checks is not documented. Unknown parameters are ignored, as SDKs send some. What is
    posted is not seen at all, so that a POST is short of everything.
    """
    query = request.args if request.method == "GET" else {}
    appid = required(query, "appid", errcode=APPID_MISSING)
    secret = required(query, "secret", errcode=SECRET_MISSING)
    js_code = required(query, "js_code", errcode=CODE_MISSING)
    if query.get("grant_type") != "authorization_code":
        raise ApiError(INVALID_GRANT_TYPE)
    state.authenticate_app(appid, secret)
    user = state.exchange_code(js_code, appid)
    unionid = {"unionid": user.unionid} if user.unionid else {}
    return {"session_key": user.session_key, "openid": user.openid, **unionid}


def token(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Fetch a token: https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getAccessToken.html."""
    appid = authenticated_appid(state, request.args)
    return describe_token(state, state.fetch_token(appid))


def stable_token(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Fetch the stable token: its page is getStableAccessToken.html, beside that of `token`.

    The query is not seen, so that who sends the parameters there and no body is short of the first.
    """
    types = {"grant_type": str, "appid": str, "secret": str, "force_refresh": bool}
    fields = read_fields(request.get_data() or b"{}", types)
    appid = authenticated_appid(state, fields)
    force_refresh = fields.get("force_refresh", False)
    return describe_token(state, state.fetch_stable_token(appid, force_refresh=force_refresh))


def authenticated_appid(state: SandboxState, fields: Mapping[str, str]) -> str:
    appid = required(fields, "appid", errcode=APPID_MISSING)
    secret = required(fields, "secret", errcode=SECRET_MISSING)
    if fields.get("grant_type") != "client_credential":
        raise ApiError(INVALID_GRANT_TYPE)
    state.authenticate_app(appid, secret)
    return appid


def describe_token(state: SandboxState, issued: AccessToken) -> Mapping[str, object]:
    return {"access_token": issued.text, "expires_in": seconds_left(state, issued.ends_at)}


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


def signed_call(state: SandboxState, request: Request) -> SignedCall:
    return SignedCall(
        appid=caller_appid(state, request),
        openid=request.args.get("openid", ""),
        signature=request.args.get("signature", ""),
        sig_method=request.args.get("sig_method", ""),
        message=request.get_data() if request.method == "POST" else b"",
    )


def getuserphonenumber(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Exchange a phone code.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/phone-number/getPhoneNumber.html
    """
    appid = caller_appid(state, request)
    if not request.get_data():
        raise ApiError(EMPTY_POST_DATA)
    fields = read_fields(request.get_data(), {"code": str, "openid": str})
    phone = state.exchange_phone_code(fields.get("code", ""), appid, openid=fields.get("openid"))
    phone_info = {
        "phoneNumber": phone.phone_number,
        "purePhoneNumber": phone.phone_number,
        "countryCode": "86",
        "watermark": {"timestamp": int(phone.issued_at), "appid": appid},
    }
    return {**OK, "phone_info": phone_info}


def checkencryptedmsg(state: SandboxState, request: Request) -> Mapping[str, object]:
    """Tell whether a phone number was encrypted here: the answer's `vaild` is WeChat's spelling.

    https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/basic-info/checkEncryptedData.html
    """
    appid = caller_appid(state, request)
    if not request.get_data():
        raise ApiError(EMPTY_POST_DATA)
    fields = read_fields(request.get_data(), {"encrypted_msg_hash": str})
    digest = fields.get("encrypted_msg_hash", "").lower()
    if not SHA256_HEX.fullmatch(digest):
        raise ApiError(INVALID_ARGUMENTS)
    return {**OK, "vaild": True, "create_time": int(state.encrypted_at(digest, appid))}


def caller_appid(state: SandboxState, request: Request) -> str:
    """Return the app whose access_token the query has, or raise `ApiError`."""
    return state.appid_of_token(request.args.get("access_token", ""))


def required(fields: Mapping[str, str], name: str, *, errcode: int) -> str:
    value = fields.get(name)
    if not value:
        raise ApiError(errcode)
    return value


def read_fields(body: bytes, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the fields of a JSON object that have a type here; null is as good as nothing."""
    try:
        given = parse_json(body)
    except ValueError:
        raise ApiError(DATA_FORMAT) from None
    if not isinstance(given, dict):
        raise ApiError(DATA_FORMAT)
    fields = {name: given[name] for name in types if given.get(name) is not None}
    if not all(isinstance(value, types[name]) for name, value in fields.items()):
        raise ApiError(DATA_FORMAT)
    return fields


def seconds_left(state: SandboxState, ends_at: float) -> int:
    return max(0, round(ends_at - state.clock()))


NOWHERE: Final = Endpoint(answer=nowhere, content_type="text/plain")
ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {
        "/sns/jscode2session": Endpoint(answer=jscode2session, content_type="text/plain"),
        "/cgi-bin/token": Endpoint(answer=token, method="GET"),
        "/cgi-bin/stable_token": Endpoint(answer=stable_token, method="POST"),
        "/wxa/checksession": Endpoint(answer=checksession, method="GET"),
        "/wxa/resetusersessionkey": Endpoint(answer=resetusersessionkey, method="GET"),
        "/wxa/business/getuserphonenumber": Endpoint(answer=getuserphonenumber, method="POST"),
        "/wxa/business/checkencryptedmsg": Endpoint(answer=checkencryptedmsg, method="POST"),
        "/wxa/business/getuserencryptkey": Endpoint(answer=getuserencryptkey, lists=("key_info_list",)),
    }
)
