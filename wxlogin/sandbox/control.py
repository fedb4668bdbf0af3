"""The control plane under /_sandbox: how tests, people and the simulator's page drive the imitation.

JSON in, JSON out. An `appid` that is left out is the first app's. `docs/sandbox.md` has every request with its
fields, and a test compares them.
"""

import re
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
    MINUTE_QUOTA_REACHED,
    ApiError,
)
from wxlogin.sandbox.faults import Fault
from wxlogin.sandbox.fields import TEXT, WECHAT_ID, Field, is_whole, matching, read_fields, whole_number
from wxlogin.sandbox.limits import Limit
from wxlogin.sandbox.state import CODE_LIFETIME_SECONDS, SandboxState
from wxlogin.sandbox.user_data import KINDS, make_user_data

PREFIX: Final = "/_sandbox"
PARTIES: Final = ("user", "app")
API_PATTERN: Final = re.compile("/[^?#]*")
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
    fields = read_fields(CODE_FIELDS)
    lifetime_seconds = fields.pop("expires_in", CODE_LIFETIME_SECONDS)
    issued = state.issue_code(**fields, lifetime_seconds=lifetime_seconds)
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
    state.faults.arm(fault)
    return asdict(fault), 201


def disarm_faults(state: SandboxState) -> ResponseReturnValue:
    state.faults.disarm(read_fields(PATH_FIELDS).get("path"))
    return "", 204


def list_faults(state: SandboxState) -> ResponseReturnValue:
    return [asdict(fault) for fault in state.faults.armed()]


def set_limit(state: SandboxState) -> ResponseReturnValue:
    limit = Limit(**{**LIMIT_DEFAULTS, **read_fields(LIMIT_FIELDS, required=("path", "calls"))})
    state.limits.set(limit)
    return asdict(limit), 201


def remove_limits(state: SandboxState) -> ResponseReturnValue:
    state.limits.remove(read_fields(PATH_FIELDS).get("path"))
    return "", 204


def list_limits(state: SandboxState) -> ResponseReturnValue:
    return [asdict(limit) for limit in state.limits.all()]


def check_effects(fault: Fault) -> None:
    if not fault.has_effect:
        raise BadRequest(f"one of {', '.join(EFFECTS)} has to be given")
    if fault.errcode is not None and fault.body is not None:
        raise BadRequest("errcode and body are two answers: give one")
    if fault.reset and fault.replaces_answer:
        raise BadRequest("reset loses the answer: give no errcode, status or body with it")


def list_calls(state: SandboxState) -> ResponseReturnValue:
    return [asdict(call) for call in state.journal.calls()]


def forget_everything(state: SandboxState) -> ResponseReturnValue:
    state.forget_everything()
    return "", 204


ROUTES: Final = (
    ("POST", "/codes", issue_code),
    ("POST", "/user-data", hand_out_user_data),
    ("POST", "/phone-codes", issue_phone_code),
    ("POST", "/tokens", end_tokens),
    ("POST", "/faults", arm_fault),
    ("GET", "/faults", list_faults),
    ("DELETE", "/faults", disarm_faults),
    ("POST", "/limits", set_limit),
    ("GET", "/limits", list_limits),
    ("DELETE", "/limits", remove_limits),
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
    return isinstance(value, str) and API_PATTERN.fullmatch(value) is not None and not is_control_path(value)


def is_errcode(value: Any) -> bool:
    return is_whole(value) and value != 0 and abs(value) < 2**31


def is_delay(value: Any) -> bool:
    return (is_whole(value) or isinstance(value, float)) and 0 <= value <= 60


TRUE: Final = Field(lambda value: value is True, "true")
CODE_FIELDS: Final[Mapping[str, Field]] = {
    "openid": WECHAT_ID,
    "appid": TEXT,
    "unionid": WECHAT_ID,
    "expires_in": whole_number(0, CODE_LIFETIME_SECONDS),
}
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
API_PATH: Final = Field(is_api_path, f"a path that starts with /, without a query, and not under {PREFIX}")
PATH_FIELDS: Final[Mapping[str, Field]] = {"path": API_PATH}
FAULT_FIELDS: Final[Mapping[str, Field]] = {
    "path": API_PATH,
    "times": whole_number(1, 1_000_000),
    "errcode": Field(is_errcode, "a whole number of 32 bits, and not 0"),
    "status": whole_number(200, 599),
    "body": TEXT,
    "content_type": matching("[!-~]+/[ -~]*[!-~]", "a media type, as text/html"),
    "changes": Field(lambda value: isinstance(value, dict), "an object"),
    "delay_seconds": Field(is_delay, "a number from 0 to 60"),
    "reset": Field(lambda value: isinstance(value, bool), "true or false"),
}
EFFECTS: Final = tuple(name for name in FAULT_FIELDS if name not in {"path", "times"})
LIMIT_FIELDS: Final[Mapping[str, Field]] = {
    "path": API_PATH,
    "calls": whole_number(0, 1_000_000),
    "seconds": whole_number(1, 86_400),
    "per": Field(lambda value: value in PARTIES, f"one of {', '.join(PARTIES)}"),
    "errcode": Field(is_errcode, "a whole number of 32 bits, and not 0"),
}
LIMIT_DEFAULTS: Final[Mapping[str, Any]] = {"seconds": 60, "per": "user", "errcode": MINUTE_QUOTA_REACHED}
