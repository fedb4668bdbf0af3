"""What the endpoints share: how they read a call, and who makes it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from flask import Request

from wxlogin.sandbox.errcodes import DATA_FORMAT, EMPTY_POST_DATA, ApiError
from wxlogin.sandbox.json_text import parse_json
from wxlogin.sandbox.state import SandboxState, SignedCall, User

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


def required(fields: Mapping[str, str], name: str, *, errcode: int) -> str:
    """Return a field that is there, or raise `ApiError`."""
    value = fields.get(name)
    if not value:
        raise ApiError(errcode)
    return value


def caller_appid(state: SandboxState, request: Request) -> str:
    """Return the app whose access_token the query has, or raise `ApiError`."""
    return state.appid_of_token(request.args.get("access_token", ""))


def caller_if_known(state: SandboxState, request: Request) -> str:
    """Return the app that calls, as far as that is known; nothing is refused for it."""
    return state.owner_of_token(request.args.get("access_token", "")) or request.values.get("appid", "")


def user_of(state: SandboxState, request: Request) -> User | None:
    """Return the user whom a call is about, by a code or an openid; a code is not spent."""
    fields = {**json_object(request), **request.values}
    code, openid = (str(fields.get(name, "")) for name in ("code", "openid"))
    if user := state.find_user_of_code(str(fields.get("js_code", code))):
        return user
    try:
        return state.find_user(appid=caller_if_known(state, request), openid=openid)
    except ApiError:
        return None


def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that was posted, or an empty one."""
    try:
        given = parse_json(request.get_data())
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def posted_fields(request: Request, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the fields of the JSON object that was posted, or raise `ApiError`."""
    body = request.get_data()
    if not body:
        raise ApiError(EMPTY_POST_DATA)
    return read_fields(body, types)


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


def signed_call(state: SandboxState, request: Request) -> SignedCall:
    """Return who is called about, and the proof that the caller has the `session_key`."""
    return SignedCall(
        appid=caller_appid(state, request),
        openid=request.args.get("openid", ""),
        signature=request.args.get("signature", ""),
        sig_method=request.args.get("sig_method", ""),
        message=request.get_data() if request.method == "POST" else b"",
    )


def seconds_left(state: SandboxState, ends_at: float) -> int:
    return max(0, round(ends_at - state.clock()))


def derived_id(*parts: str) -> str:
    """Return 28 characters that stay the same for the same parts, as ids of users do."""
    return "G" + hashlib.sha256(":".join(parts).encode()).hexdigest()[:27]
