"""The control plane under /_sandbox: how tests, people and the simulator's page drive the imitation."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from wxlogin.sandbox.state import ApiError, Fault, SandboxState

PREFIX: Final = "/_sandbox"
ERROR_CODES: Final[Mapping[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    500: "internal_error",
}


def add_control_plane(app: Flask, state: SandboxState) -> None:
    """Serve the control plane of `state`, and give every HTTP error of the app its shape."""
    for method, path, view in ROUTES:
        app.add_url_rule(PREFIX + path, view.__name__, partial(view, state), methods=[method])
    app.register_error_handler(HTTPException, describe_error)


def is_control_path(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def issue_code(state: SandboxState) -> ResponseReturnValue:
    fields = read_fields(CODE_FIELDS)
    try:
        issued = state.issue_code(**fields)
    except ApiError:
        raise BadRequest("appid has to be one that the sandbox was started with") from None
    return {"code": issued.code, "openid": issued.openid}


def arm_fault(state: SandboxState) -> ResponseReturnValue:
    fields = read_fields(FAULT_FIELDS)
    if "path" not in fields:
        raise BadRequest("path is missing")
    fault = Fault(**fields)
    check_effects(fault)
    state.arm_fault(fault)
    return asdict(fault), 201


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
    ("POST", "/faults", arm_fault),
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


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a body may have: whether a value fits, and the rule in words."""

    fits: Callable[[Any], bool]
    rule: str


def read_fields(known: Mapping[str, Field]) -> dict[str, Any]:
    """Return the fields of the request's JSON object; no body is an empty one, and any type will do."""
    given = read_object(request.get_data())
    for name, value in given.items():
        if name not in known:
            raise BadRequest(f"the fields are {', '.join(known)}")
        if not known[name].fits(value):
            raise BadRequest(f"{name} has to be {known[name].rule}")
    return given


def read_object(body: bytes) -> dict[str, Any]:
    given = read_json(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise BadRequest("the body has to be a JSON object")
    return given


def read_json(body: bytes) -> object:
    try:
        given = json.loads(body)
        # Half a surrogate pair is JSON, but could never be sent again.
        json.dumps(given, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("the body has to be JSON") from None
    return given


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole_number(low: int, high: int) -> Field:
    rule = f"a whole number from {low:,} to {high:,}"
    return Field(lambda value: is_whole(value) and low <= value <= high, rule)


def is_api_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and not is_control_path(value)


def is_errcode(value: Any) -> bool:
    return is_whole(value) and value != 0 and abs(value) < 2**31


def is_delay(value: Any) -> bool:
    return (is_whole(value) or isinstance(value, float)) and 0 <= value <= 60


TEXT: Final = Field(lambda value: isinstance(value, str), "a string")
# An openid travels in HTTP headers.
WECHAT_ID: Final = Field(
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value) is not None,
    "a string of 1 to 128 letters, digits, _ and -",
)
CODE_FIELDS: Final[Mapping[str, Field]] = {"openid": WECHAT_ID, "appid": TEXT, "unionid": WECHAT_ID}
FAULT_FIELDS: Final[Mapping[str, Field]] = {
    "path": Field(is_api_path, f"a string that starts with / and is not under {PREFIX}"),
    "times": whole_number(1, 1_000_000),
    "errcode": Field(is_errcode, "a whole number of 32 bits, and not 0"),
    "status": whole_number(200, 599),
    "body": TEXT,
    "delay_seconds": Field(is_delay, "a number from 0 to 60"),
    "reset": Field(lambda value: isinstance(value, bool), "true or false"),
}
