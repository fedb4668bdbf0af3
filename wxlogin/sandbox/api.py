"""What api.weixin.qq.com answers, endpoint by endpoint, and in WeChat's words where it refuses."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from flask import Request

from wxlogin.sandbox.errcodes import (
    APPID_MISSING,
    CODE_MISSING,
    ERRMSGS,
    INVALID_GRANT_TYPE,
    INVALID_URL,
    SECRET_MISSING,
    UNKNOWN_ERRMSG,
)
from wxlogin.sandbox.state import ApiError, Fault, SandboxState

Endpoint = Callable[[SandboxState, Request], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of WeChat's; `errcode` is 0 for a success, None if a fault gave none."""

    errcode: int | None
    text: str
    status: int = 200


def answer_call(state: SandboxState, request: Request, *, fault: Fault) -> Answer:
    """Return what the fault makes of the call, or else what WeChat would answer."""
    if fault.replaces_answer:
        return answer_of_fault(fault, now=state.clock())
    try:
        return Answer(0, compact_json(find_endpoint(request.path)(state, request)))
    except ApiError as error:
        return Answer(error.errcode, error_text(request.path, error.errcode, now=state.clock()))


def answer_of_fault(fault: Fault, *, now: float) -> Answer:
    status = fault.status or 200
    if fault.errcode is None:
        return Answer(None, fault.body or "", status)
    return Answer(fault.errcode, error_text(fault.path, fault.errcode, now=now), status)


def find_endpoint(path: str) -> Endpoint:
    if path not in ENDPOINTS:
        raise ApiError(INVALID_URL)
    return ENDPOINTS[path]


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


def required(query: Mapping[str, str], name: str, *, errcode: int) -> str:
    value = query.get(name)
    if not value:
        raise ApiError(errcode)
    return value


def error_text(path: str, errcode: int, *, now: float) -> str:
    """Return the JSON of an error. Only under /sns is there a comma in front of the rid."""
    comma = "," if path.startswith("/sns/") else ""
    errmsg = f"{ERRMSGS.get(errcode, UNKNOWN_ERRMSG)}{comma} rid: {new_rid(now)}"
    return compact_json({"errcode": errcode, "errmsg": errmsg})


def new_rid(now: float) -> str:
    """Return the id WeChat gives a request: the unix seconds, then two random numbers, in hex."""
    return f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"


def compact_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType({"/sns/jscode2session": jscode2session})
