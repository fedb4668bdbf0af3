"""What went wrong, as HTTP: the tables from exceptions to statuses, and the one shape of an error."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import traceback
from typing import Annotated, Any

import msgspec
from flask import Flask, Response, g
from msgspec import UNSET, UnsetType
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from wxlogin.login.admin_token import AdminAuthThrottled, InvalidAdminToken
from wxlogin.login.rate_limits import RateLimited
from wxlogin.login.service import LoginRateLimited, MiniProgramRemoved, SessionNotStored
from wxlogin.observability import events
from wxlogin.observability import logging as logs
from wxlogin.sessions.store import NotLoggedIn, SessionExpired
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.auth_request.decision import AppidNotAllowed
from wxlogin.web.hooks import RequestOutcome
from wxlogin.web.routing import Answer, described
from wxlogin.web.session_context import SessionKeyNotStored
from wxlogin.wechat.api import errors as wechat
from wxlogin.wechat.api.user_data import (
    ForeignPhoneNumber,
    PhoneNumberNotChecked,
    StaleSessionKey,
    UnknownUserData,
)
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, UnknownMiniProgram

logger = logging.getLogger(__name__)

_MAX_NAMES = 20
# What a field may be called, and an id or a number can't be.
_FIELD_NAME = re.compile(r"[A-Za-z_]{1,24}")

_NEW_CODE = "Get a new code and send that."


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How an exception is answered."""

    status: int
    code: str
    message: str
    _: dataclasses.KW_ONLY
    retryable: bool = False
    retry_after_seconds: int | None = None
    level: int = logging.INFO
    event: str = ""


# The nearest class of an exception decides.
_SPECS: dict[type[BaseException], ErrorSpec] = {
    NotLoggedIn: ErrorSpec(401, "not_logged_in", "Log in first: the request has no valid session."),
    SessionExpired: ErrorSpec(401, "session_expired", "The session is over: log in again."),
    AppidNotAllowed: ErrorSpec(403, "wrong_app", "The user is logged in with another mini-program."),
    MiniProgramRemoved: ErrorSpec(
        403, "wrong_app", "The user's mini-program is not one of this service's any more."
    ),
    UnknownMiniProgram: ErrorSpec(400, "invalid_request", "appid: is not one of this service's mini-programs."),
    MiniProgramNotNamed: ErrorSpec(
        400, "invalid_request", "appid: has to be there: this service has several mini-programs."
    ),
    InvalidAdminToken: ErrorSpec(
        401, "not_logged_in", "Send the operators' token.", level=logging.WARNING, event="admin_auth_failed"
    ),
    AdminAuthThrottled: ErrorSpec(
        429,
        "rate_limited",
        "Too many wrong tokens: wait.",
        retryable=True,
        level=logging.WARNING,
        event="admin_auth_throttled",
    ),
    LoginRateLimited: ErrorSpec(
        429,
        "rate_limited",
        "This user logs in too often: wait as Retry-After says, then log in with a new code.",
        event="rate_limit_exceeded",
    ),
    RateLimited: ErrorSpec(
        429,
        "rate_limited",
        "Too many requests: try again when Retry-After is over.",
        retryable=True,
        event="rate_limit_exceeded",
    ),
    StaleSessionKey: ErrorSpec(
        409,
        "session_key_stale",
        "The data does not decrypt with any key of this user's: log in, ask WeChat for it again, and send that.",
        event="user_data_decryption_failed",
    ),
    PhoneNumberNotChecked: ErrorSpec(
        503,
        "wechat_unavailable",
        "WeChat did not confirm the phone number in time. Send the same data again.",
        retryable=True,
        retry_after_seconds=1,
        level=logging.WARNING,
    ),
    UnknownUserData: ErrorSpec(
        422,
        "unknown_user_data",
        "The data decrypts, but it is of a kind that this service does not know: a login does not help.",
        level=logging.WARNING,
        event="user_data_unknown",
    ),
    StoreUnavailable: ErrorSpec(
        503,
        "store_unavailable",
        "Sessions can't be looked up at the moment; yours is not lost. Try again.",
        retryable=True,
        retry_after_seconds=1,
    ),
    SessionNotStored: ErrorSpec(
        503,
        "store_unavailable",
        f"The code is spent, but the session could not be kept. {_NEW_CODE}",
        retry_after_seconds=1,
    ),
    SessionKeyNotStored: ErrorSpec(
        503,
        "store_unavailable",
        "WeChat has replaced the session_key, but the new one could not be kept: log in again.",
        retry_after_seconds=1,
    ),
    wechat.ConnectionFailed: ErrorSpec(
        503,
        "wechat_unavailable",
        "WeChat can't be reached; the code was not spent. Try again.",
        retryable=True,
        retry_after_seconds=1,
        level=logging.WARNING,
    ),
    wechat.ResponseLost: ErrorSpec(
        504,
        "wechat_timeout",
        f"WeChat did not answer in time, and the code may be spent. {_NEW_CODE}",
        level=logging.WARNING,
    ),
    wechat.InvalidResponse: ErrorSpec(
        502, "wechat_error", f"WeChat's answer was not usable. {_NEW_CODE}", level=logging.ERROR
    ),
    wechat.WeChatAPIError: ErrorSpec(
        502, "wechat_error", f"WeChat refused for an unforeseen reason. {_NEW_CODE}", level=logging.ERROR
    ),
    wechat.SystemBusy: ErrorSpec(
        503,
        "wechat_unavailable",
        "WeChat is busy. Try again.",
        retryable=True,
        retry_after_seconds=1,
        level=logging.WARNING,
    ),
    wechat.InvalidCode: ErrorSpec(
        400, "invalid_code", f"The code is wrong, expired, or another mini-program's. {_NEW_CODE}"
    ),
    wechat.CodeUsed: ErrorSpec(400, "code_used", f"The code was used before; each works once. {_NEW_CODE}"),
    wechat.InvalidSessionKey: ErrorSpec(
        409, "session_key_stale", "WeChat accepts no session_key of this user's any more: log in again."
    ),
    wechat.UserBlocked: ErrorSpec(
        403, "user_blocked", "WeChat blocks this user's login for a risk it sees.", event="user_blocked"
    ),
    wechat.RateLimited: ErrorSpec(
        429,
        "wechat_rate_limited",
        "WeChat takes no more requests for now. Try again later.",
        retryable=True,
        level=logging.WARNING,
    ),
    wechat.CredentialsRejected: ErrorSpec(
        500,
        "wechat_rejected_credentials",
        "WeChat does not accept this service's credentials; its operator has to repair that.",
        level=logging.ERROR,
        event="credentials_rejected",
    ),
    Exception: ErrorSpec(500, "internal_error", "Something went wrong here.", level=logging.ERROR),
}

_HTTP_SPECS = {
    403: ErrorSpec(
        403,
        "cross_site_request",
        "Another site's page asked for this: log in from the mini-program.",
        event="cross_site_request_blocked",
    ),
    404: ErrorSpec(404, "not_found", "There is nothing here."),
    405: ErrorSpec(405, "method_not_allowed", "This address does not know that method."),
    413: ErrorSpec(413, "content_too_large", "The body is too large."),
    415: ErrorSpec(415, "unsupported_media_type", "Send application/json in UTF-8, or a URL-encoded form."),
}


def register(app: Flask) -> None:
    """Answer every exception of ``app`` in the one shape."""
    app.register_error_handler(Exception, _answer)


def spec_of(kind: type[Exception]) -> ErrorSpec:
    """Return how exceptions of a class are answered."""
    return _http_spec(kind()) if issubclass(kind, HTTPException) else _spec_of(kind)


class ErrorDetail(Answer):
    """What went wrong."""

    code: Annotated[str, described("What a program looks at.", "invalid_request")]
    message: Annotated[
        str,
        described("What a person reads; its words may change.", "code: Missing data for required field."),
    ]
    request_id: Annotated[
        str, described("What the log and `X-Request-Id` call the request.", "4d6ae01f0c6b4b0f9f8e2a6a1d1f3b5c")
    ]
    retryable: Annotated[bool, described("Whether the same request may succeed later.", False)]
    errcode: Annotated[int, described("What WeChat said, where it said no.", 40029)] | UnsetType = UNSET


class ErrorBody(Answer):
    """The one shape of all errors."""

    error: ErrorDetail


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedError:
    """An error as an answer, and as what the log and metrics have of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    outcome: RequestOutcome


def render(error: Exception) -> RenderedError:
    """Return how an error is answered; if it is an event, emit that."""
    error = _cause_of(error)
    spec = _http_spec(error) if isinstance(error, HTTPException) else _spec_of(type(error))
    details = _details(error, spec)
    if spec.event:
        events.emit(spec.event, by=logger, **details)
    outcome = RequestOutcome(spec.code, level=spec.level, details=details)
    return RenderedError(spec.status, _headers(error, spec), _body(error, spec), outcome)


def _answer(error: Exception) -> Response:
    rendered = render(error)
    g.outcome = rendered.outcome
    return Response(rendered.body, rendered.status, rendered.headers)


def _cause_of(error: Exception) -> Exception:
    """Return what Flask wrapped, if it did: what fails after the view comes as a 500."""
    cause = error.original_exception if isinstance(error, InternalServerError) else None
    return cause if isinstance(cause, Exception) else error


def _spec_of(kind: type[Exception]) -> ErrorSpec:
    return next(_SPECS[each] for each in kind.__mro__ if each in _SPECS)


def _http_spec(error: HTTPException) -> ErrorSpec:
    status = error.code or 500
    if status >= 500:
        return _SPECS[Exception]
    return _HTTP_SPECS.get(status) or ErrorSpec(status, "invalid_request", error.description or error.name)


def _body(error: Exception, spec: ErrorSpec) -> bytes:
    body = ErrorBody(
        error=ErrorDetail(
            code=spec.code,
            message=spec.message,
            request_id=logs.request_id.get() or "",
            retryable=spec.retryable,
            errcode=error.errcode if isinstance(error, wechat.WeChatAPIError) else UNSET,
        )
    )
    return f"{json.dumps(msgspec.to_builtins(body), separators=(',', ':'))}\n".encode()


def _headers(error: Exception, spec: ErrorSpec) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    retry_after = getattr(error, "retry_after_seconds", spec.retry_after_seconds)
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    if spec.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="wxlogin"'
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return headers


def _details(error: Exception, spec: ErrorSpec) -> dict[str, Any]:
    if isinstance(error, wechat.WeChatAPIError):
        return {"errcode": error.errcode, "rid": error.rid}
    if isinstance(error, (wechat.WeChatError, PhoneNumberNotChecked)):
        return {"wechat": str(error)}
    if isinstance(error, ForeignPhoneNumber):
        return {"reason": "WeChat does not know the phone number"}
    if isinstance(error, UnknownUserData):
        return {"names": [name for name in error.names if _FIELD_NAME.fullmatch(name)][:_MAX_NAMES]}
    if spec.code == "internal_error":
        return {"exception": type(error).__name__, "where": _where(error)}
    return {}


def _where(error: Exception) -> str:
    """Return the way to the error, without its text: that may quote what must not be logged."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:])
