"""What each route takes, what it answers, and which exceptions come out of it: the table behind the description.

What it does is said by the first paragraph of its docstring.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, RequestEntityTooLarge, UnsupportedMediaType

from wxlogin.login.admin_token import AdminAuthThrottled, InvalidAdminToken
from wxlogin.login.rate_limits import RateLimited
from wxlogin.login.service import LoginRateLimited, MiniProgramRemoved, SessionNotStored
from wxlogin.sessions.store import NotLoggedIn, SessionExpired
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.auth_request.decision import AppidNotAllowed
from wxlogin.web.openapi import schemas
from wxlogin.web.routes.login import LoginSchema
from wxlogin.web.routes.phone_number import PhoneCodeSchema
from wxlogin.web.routes.user_data import EncryptedSchema, SignedSchema
from wxlogin.web.session_context import SessionKeyNotStored
from wxlogin.wechat.api import errors as wechat
from wxlogin.wechat.api.user_data import PhoneNumberNotChecked, StaleSessionKey, UnknownUserData
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, UnknownMiniProgram

Errors = tuple[type[Exception], ...]

USER = ("sessionid_header", "sessionid_cookie", "bearer")
OPERATOR = ("operator",)

_ANY: Errors = (BadRequest, RequestEntityTooLarge, Exception)
_BODY: Errors = (UnsupportedMediaType,)
_USER: Errors = (NotLoggedIn, SessionExpired, StoreUnavailable)
_APP: Errors = (UnknownMiniProgram, MiniProgramNotNamed)
_OPERATOR: Errors = (InvalidAdminToken, AdminAuthThrottled, StoreUnavailable, *_APP, NotFound)
_WECHAT: Errors = (
    wechat.CredentialsRejected,
    wechat.WeChatAPIError,
    wechat.InvalidResponse,
    wechat.SystemBusy,
    wechat.ConnectionFailed,
    wechat.ResponseLost,
    wechat.RateLimited,
)
_LOGIN: Errors = (
    *_APP,
    *_WECHAT,
    wechat.InvalidCode,
    wechat.CodeUsed,
    wechat.UserBlocked,
    Forbidden,
    RateLimited,
    LoginRateLimited,
    StoreUnavailable,
    SessionNotStored,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer; ``is_certain`` says whether it is always there."""

    name: str
    description: str
    example: str
    _: dataclasses.KW_ONLY
    is_certain: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What there is to say about a route; of its parameters, those in the path are the same for all routes.

    A success looks like ``answer``, or is described by a JSON Schema for each media type.
    """

    tag: str
    answer: type[Schema] | None = None
    content: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    says: str = ""
    status: int = 200
    headers: tuple[Header, ...] = ()
    body: type[Schema] | None = None
    query: tuple[Mapping[str, Any], ...] = ()
    callers: tuple[str, ...] = ()
    is_anonymous_too: bool = False
    errors: Errors = _ANY


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", **schema}}


IN_PATH: Mapping[str, Mapping[str, str]] = {
    "handle": {
        "description": "A session's public name, as the list of sessions has it.",
        "example": "3yGkq0n1J6kYw8lM2sVb5A",
    },
    "openid": {"description": "The user's openid.", "example": "oGZUI0egBJY1zhBYw2KhdUfwVJJE"},
}

_CLEARED = "sessionid=; Max-Age=0; Secure; HttpOnly; Path=/; SameSite=Lax"
_COOKIE = Header(
    "Set-Cookie",
    "The session's id. Store it, and send it back as it is.",
    "sessionid=pQv0…; Max-Age=2592000; Secure; HttpOnly; Path=/; SameSite=Lax",
)
_COOKIE_CLEARED = Header("Set-Cookie", "Clears the cookie.", _CLEARED)
_COOKIE_MAYBE_CLEARED = dataclasses.replace(
    _COOKIE_CLEARED, description="Clears the cookie, if the session that asks has ended.", is_certain=False
)
_IDENTITY = (
    Header("X-WX-OPENID", "The user's openid.", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
    Header("X-WX-APPID", "The AppID of the user's mini-program.", "wx4f4bc4dec97d474b"),
    Header("X-WX-SOURCE", "As WeChat Cloud Run has it.", "wx_client"),
    Header(
        "X-WX-UNIONID", "The user's unionid, if there is one.", "oU5Yyt8QzFG9YyWpPqMBM0h8aXjE", is_certain=False
    ),
)

_LOGGED_IN: dict[str, Any] = {
    "tag": "Logging in",
    "answer": schemas.LoggedInSchema,
    "says": "Logged in.",
    "headers": (_COOKIE,),
}
_FOR_USERS: dict[str, Any] = {"callers": USER, "errors": (*_ANY, *_USER)}
_SESSIONS: dict[str, Any] = {"tag": "Sessions", **_FOR_USERS}
_WITH_SESSION_KEY: dict[str, Any] = {"tag": "User data", "callers": USER}
_FOR_OPERATORS: dict[str, Any] = {
    "tag": "Operators",
    "callers": OPERATOR,
    "errors": (*_ANY, *_OPERATOR),
    "query": (_parameter("appid", "Of which mini-program the user is, if the service has several."),),
}
_RUNNING: dict[str, Any] = {"tag": "Running the service"}

OPERATIONS: Mapping[str, Operation] = {
    "login.log_in": Operation(**_LOGGED_IN, body=LoginSchema, errors=(*_ANY, *_BODY, *_LOGIN)),
    "legacy_login.log_in": Operation(
        **_LOGGED_IN,
        query=(
            _parameter(
                "url",
                "The address that the old tutorial has the client send, percent-encoded or not. It is read and "
                "never fetched. One of `url`, `code` and `js_code` has to be there.",
                examples=[
                    "https://api.weixin.qq.com/sns/jscode2session?appid=wx4f4bc4dec97d474b&secret=no-more"
                    "&js_code=0b3Zrh000000000000000000000Zrh0b&grant_type=authorization_code"
                ],
            ),
            _parameter("code", "What `wx.login()` gave."),
            _parameter("js_code", "The same, as WeChat calls it."),
            _parameter("appid", "Which mini-program it is, if the service has several."),
        ),
        errors=(*_ANY, *_LOGIN),
    ),
    "sessions.show": Operation(**_SESSIONS, answer=schemas.SessionSchema, says="The session that asks."),
    "sessions.end": Operation(
        tag="Sessions",
        status=204,
        says="Logged out, or not logged in anyway.",
        headers=(_COOKIE_CLEARED,),
        callers=USER,
        is_anonymous_too=True,
        errors=(*_ANY, StoreUnavailable),
    ),
    "sessions.show_all": Operation(**_SESSIONS, answer=schemas.OwnSessionsSchema, says="The user's sessions."),
    "sessions.end_all": Operation(
        **_SESSIONS,
        status=204,
        says="Logged out.",
        headers=(_COOKIE_MAYBE_CLEARED,),
        query=(_parameter("except", "`current` spares the session that asks.", enum=["current"]),),
    ),
    "sessions.end_one": Operation(
        **{**_SESSIONS, "errors": (*_ANY, *_USER, NotFound)},
        status=204,
        says="Logged out there, or there was no such session any more.",
        headers=(_COOKIE_MAYBE_CLEARED,),
    ),
    "user_data.decrypt": Operation(
        **_WITH_SESSION_KEY,
        body=EncryptedSchema,
        content={"application/json": schemas.USER_DATA},
        says="What WeChat encrypted, without its watermark: one of these kinds, and fields that WeChat has added.",
        errors=(
            *(*_ANY, *_BODY, *_USER, StaleSessionKey, UnknownUserData, RateLimited),
            # With WXLOGIN_CONFIRM_PHONE_NUMBERS.
            *(
                PhoneNumberNotChecked,
                wechat.CredentialsRejected,
                wechat.WeChatAPIError,
                wechat.RateLimited,
                MiniProgramRemoved,
            ),
        ),
    ),
    "user_data.verify": Operation(
        **_WITH_SESSION_KEY,
        body=SignedSchema,
        answer=schemas.SignatureSchema,
        says="Whether the signature is right.",
        errors=(*_ANY, *_BODY, *_USER, RateLimited),
    ),
    "phone_number.exchange": Operation(
        **_WITH_SESSION_KEY,
        body=PhoneCodeSchema,
        answer=schemas.PhoneNumberSchema,
        says="The user's phone number.",
        errors=(*_ANY, *_BODY, *_USER, *_WECHAT, wechat.InvalidCode, MiniProgramRemoved, RateLimited),
    ),
    "session_key.check": Operation(
        **_WITH_SESSION_KEY,
        answer=schemas.KeyCheckedSchema,
        says="Whether there is a good key.",
        errors=(*_ANY, *_BODY, *_USER, *_WECHAT, MiniProgramRemoved, RateLimited),
    ),
    "session_key.reset": Operation(
        **_WITH_SESSION_KEY,
        answer=schemas.KeyResetSchema,
        says="The key was replaced.",
        errors=(
            *(*_ANY, *_BODY, *_USER, *_WECHAT),
            *(wechat.InvalidSessionKey, SessionKeyNotStored, MiniProgramRemoved, RateLimited),
        ),
    ),
    "auth_request.check": Operation(
        tag="Back ends behind a proxy",
        status=204,
        says="The request is a user's: whose, say the headers.",
        headers=_IDENTITY,
        query=(
            {
                **_parameter("appid", "Lets only this mini-program's users pass; repeatable."),
                "schema": {"type": "array", "items": {"type": "string"}},
            },
        ),
        callers=USER,
        errors=(*_USER, AppidNotAllowed),  # and nothing else: a proxy would take it for a failure of its own
    ),
    "health.is_alive": Operation(**_RUNNING, answer=schemas.StatusSchema, says="It is alive."),
    "health.is_ready": Operation(
        **_RUNNING,
        answer=schemas.StatusSchema,
        says="Sessions can be checked.",
        errors=(*_ANY, StoreUnavailable),
    ),
    "metrics.show": Operation(
        **_RUNNING,
        content={"text/plain": {"type": "string"}, "application/openmetrics-text": {"type": "string"}},
        says="The metrics, in the format that `Accept` asks for.",
    ),
    "openapi.show": Operation(
        **_RUNNING, content={"application/json": {"type": "object"}}, says="This description."
    ),
    "admin.show": Operation(**_FOR_OPERATORS, answer=schemas.UsersSessionsSchema, says="The user's sessions."),
    "admin.end_all": Operation(**_FOR_OPERATORS, status=204, says="The user is logged out."),
    "admin.end_one": Operation(
        **_FOR_OPERATORS, status=204, says="The user is logged out there, or was not logged in there any more."
    ),
}
