"""The control plane under /_sandbox: how tests, people and the simulator's page drive the imitation.

JSON in, JSON out. An `appid` that is left out is the first app's.

* `POST /codes` `{openid?, appid?, unionid?}` -> `{"code", "openid"}`: what `wx.login()` would give.
* `POST /user-data` `{openid, appid?, kind: user_info/phone_number/share/werun, data?}` -> `{"encryptedData",
  "iv", "rawData", "signature"}`, under the user's live key; `data` replaces and adds to the payload's fields.
* `POST /phone-codes` `{phoneNumber?, openid?, appid?}` -> `{"code"}` for `getuserphonenumber`; with any
  `openid` there, if none is given here.
* `POST /tokens` `{appid?, expire?: true / void?: true}` -> `{"ended": n}`: ends the app's n access_tokens that
  work, those of both endpoints, as if their time were up (42001) or newer ones had replaced them (40001).
* `POST /faults` `{path, times?, errcode? / status? / body? / delay_seconds? / reset?}`: what the next calls get.
* `DELETE /faults` `{path?}`: the faults that are still to be shown are not, at that path or any.
* `GET /calls` -> `[{"path", "query", "errcode", "at"}]`, secrets masked.
* `DELETE` of the prefix: forget everything.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from wxlogin.sandbox.errcodes import (
    ACCESS_TOKEN_EXPIRED,
    INVALID_APPID,
    INVALID_CREDENTIAL,
    INVALID_OPENID,
    ApiError,
)
from wxlogin.sandbox.fields import TEXT, WECHAT_ID, Field, is_whole, matching, read_fields, whole_number
from wxlogin.sandbox.state import Fault, SandboxState
from wxlogin.sandbox.user_data import KINDS, make_user_data

PREFIX: Final = "/_sandbox"
ERROR_CODES: Final[Mapping[int, str]] = {
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    502: "service_unreachable",
    500: "internal_error",
}
REFUSALS: Final[Mapping[int, str]] = {
    INVALID_APPID: "appid has to be one that the sandbox was started with",
    INVALID_OPENID: "openid has to be that of a user who was given a code",
}


def add_control_plane(app: Flask, state: SandboxState) -> None:
    """Serve the control plane of `state`, and give every HTTP error of the app its shape."""
    for method, path, view in ROUTES:
        app.add_url_rule(PREFIX + path, view.__name__, partial(view, state), methods=[method])
    app.register_error_handler(HTTPException, describe_error)
    app.register_error_handler(ApiError, describe_refusal)


def is_control_path(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def issue_code(state: SandboxState) -> ResponseReturnValue:
    issued = state.issue_code(**read_fields(CODE_FIELDS))
    return {"code": issued.code, "openid": issued.openid}


def hand_out_user_data(state: SandboxState) -> ResponseReturnValue:
    fields = read_fields(USER_DATA_FIELDS, required=("openid", "kind"))
    user = state.find_user(appid=fields.get("appid"), openid=fields["openid"])
    made = make_user_data(user, fields["kind"], changes=fields.get("data", {}), now=state.clock())
    if fields["kind"] == "phone_number":  # the only data that WeChat confirms
        state.note_encrypted(made["encryptedData"], user.appid)
    return made


def issue_phone_code(state: SandboxState) -> ResponseReturnValue:
    fields = read_fields(PHONE_CODE_FIELDS)
    issued = state.issue_phone_code(
        appid=fields.get("appid"), openid=fields.get("openid"), phone_number=fields.get("phoneNumber")
    )
    return {"code": issued.code}


def end_tokens(state: SandboxState) -> ResponseReturnValue:
    fields = read_fields(TOKEN_FIELDS)
    if ("expire" in fields) == ("void" in fields):
        raise BadRequest("one of expire and void has to be given")
    ended_as = ACCESS_TOKEN_EXPIRED if "expire" in fields else INVALID_CREDENTIAL
    return {"ended": state.end_tokens(appid=fields.get("appid"), ended_as=ended_as)}


def arm_fault(state: SandboxState) -> ResponseReturnValue:
    fault = Fault(**read_fields(FAULT_FIELDS, required=("path",)))
    check_effects(fault)
    state.arm_fault(fault)
    return asdict(fault), 201


def disarm_faults(state: SandboxState) -> ResponseReturnValue:
    state.disarm_faults(read_fields(DISARM_FIELDS).get("path"))
    return "", 204


def check_effects(fault: Fault) -> None:
    if not (fault.replaces_answer or fault.delay_seconds or fault.reset):
        raise BadRequest("one of errcode, status, body, delay_seconds and reset has to be given")
    if fault.errcode is not None and fault.body is not None:
        raise BadRequest("errcode and body are two answers: give one")
    if fault.reset and fault.replaces_answer:
        raise BadRequest("reset loses the answer: give no errcode, status or body with it")


def list_calls(state: SandboxState) -> ResponseReturnValue:
    return [asdict(call) for call in state.calls()]


def forget_everything(state: SandboxState) -> ResponseReturnValue:
    state.forget_everything()
    return "", 204


ROUTES: Final = (
    ("POST", "/codes", issue_code),
    ("POST", "/user-data", hand_out_user_data),
    ("POST", "/phone-codes", issue_phone_code),
    ("POST", "/tokens", end_tokens),
    ("POST", "/faults", arm_fault),
    ("DELETE", "/faults", disarm_faults),
    ("GET", "/calls", list_calls),
    ("DELETE", "", forget_everything),
)


def describe_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    described = {
        "code": ERROR_CODES.get(status, "invalid_request"),
        "message": error.description,
        "request_id": None,
        "retryable": False,
    }
    # What is left of Werkzeug's headers is the Allow of a 405.
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return {"error": described}, status, headers


def describe_refusal(error: ApiError) -> ResponseReturnValue:
    return describe_error(BadRequest(REFUSALS[error.errcode]))


def is_api_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and not is_control_path(value)


def is_errcode(value: Any) -> bool:
    return is_whole(value) and value != 0 and abs(value) < 2**31


def is_delay(value: Any) -> bool:
    return (is_whole(value) or isinstance(value, float)) and 0 <= value <= 60


TRUE: Final = Field(lambda value: value is True, "true")
CODE_FIELDS: Final[Mapping[str, Field]] = {"openid": WECHAT_ID, "appid": TEXT, "unionid": WECHAT_ID}
USER_DATA_FIELDS: Final[Mapping[str, Field]] = {
    "openid": WECHAT_ID,
    "appid": TEXT,
    "kind": Field(lambda value: isinstance(value, str) and value in KINDS, f"one of {', '.join(KINDS)}"),
    "data": Field(lambda value: isinstance(value, dict), "an object"),
}
PHONE_CODE_FIELDS: Final[Mapping[str, Field]] = {
    "phoneNumber": matching("[0-9+-]{1,32}", "a string of 1 to 32 digits, + and -"),
    "openid": WECHAT_ID,
    "appid": TEXT,
}
TOKEN_FIELDS: Final[Mapping[str, Field]] = {"appid": TEXT, "expire": TRUE, "void": TRUE}
API_PATH: Final = Field(is_api_path, f"a string that starts with / and is not under {PREFIX}")
DISARM_FIELDS: Final[Mapping[str, Field]] = {"path": API_PATH}
FAULT_FIELDS: Final[Mapping[str, Field]] = {
    "path": API_PATH,
    "times": whole_number(1, 1_000_000),
    "errcode": Field(is_errcode, "a whole number of 32 bits, and not 0"),
    "status": whole_number(200, 599),
    "body": TEXT,
    "delay_seconds": Field(is_delay, "a number from 0 to 60"),
    "reset": Field(lambda value: isinstance(value, bool), "true or false"),
}
