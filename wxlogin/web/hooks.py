"""What all requests and answers have in common: ids, headers, the size of bodies, a line in the log."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import BadRequest, NotFound, RequestEntityTooLarge

from wxlogin.observability import logging as logs
from wxlogin.observability.metrics import Metrics
from wxlogin.services import Services
from wxlogin.web.request_body import MAX_BODY_BYTES, is_body_empty

logger = logging.getLogger(__name__)

_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
NO_STORE = {"Cache-Control": "no-store"}
_SECURITY_HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
_LOGINS = frozenset({"login", "legacy_login"})
_ROUTINE = frozenset({"index", "health", "metrics", "auth_request", "openapi"})


@dataclasses.dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What came of a request: ``ok`` or the error's code, and what the log has to know about it."""

    code: str = "ok"
    _: dataclasses.KW_ONLY
    level: int = logging.INFO
    details: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """An answer, as metrics and the log name it."""

    blueprint: str
    route: str
    method: str
    status: int


_OK = RequestOutcome()


def register(app: Flask) -> None:
    """Have these hooks called for every request and answer of ``app``."""
    # One more than we take: Flask cuts a chunked body off there without a word.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.before_request(_before_request)
    app.after_request(_after_request)
    app.teardown_request(_teardown_request)


def _before_request() -> None:
    g.started_at, g.status, g.outcome = time.perf_counter(), None, _OK
    given = request.headers.get("X-Request-Id", "")
    logs.request_id.set(given if logs.is_request_id(given) else logs.new_request_id())
    _check_path(request.environ["PATH_INFO"])
    if request.blueprint != "auth_request":  # nginx asks there on behalf of requests whose bodies it keeps
        _check_body()


def _check_path(path: str) -> None:
    """Raise `NotFound` for a path that werkzeug would take for another one, or redirect to it."""
    if not path.startswith("/") or path.startswith("//"):
        request.url_rule = None
        raise NotFound


def _check_body() -> None:
    length = request.content_length or 0
    if length > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if request.routing_exception:  # that there is no such address, or method, is said first
        return
    if request.method not in _WITHOUT_BODY or not (length or "HTTP_TRANSFER_ENCODING" in request.environ):
        return
    if request.method != "DELETE" or not is_body_empty():
        raise BadRequest("A request with this method takes no body.")


def _after_request(response: Response) -> Response:
    if response.status_code == 204:
        response.headers.pop("Content-Type", None)
    response.headers.update(headers_of(response.status_code))
    g.status = response.status_code
    return response


def headers_of(status: int) -> dict[str, str]:
    """Return the headers that every answer has, of this status."""
    about_body = {} if status == 204 else _SECURITY_HEADERS
    return {**NO_STORE, **about_body, "X-Request-Id": logs.request_id.get() or ""}


def _teardown_request(_error: BaseException | None) -> None:
    """Tell what came of the request: once, though what fails late is closed twice, and before it is sent."""
    if g.status:
        answered = Answered(request.blueprint or "", _route(), _method(), g.status)
        record(Services.of(current_app).metrics, g.outcome, answered, seconds=time.perf_counter() - g.started_at)
    logs.request_id.set(None)
    logs.user_hash.set(None)


def record(metrics: Metrics, outcome: RequestOutcome, answered: Answered, *, seconds: float) -> None:
    """Count an answer, and log it."""
    metrics.request_answered(answered.route, method=answered.method, status=answered.status, seconds=seconds)
    if answered.blueprint in _LOGINS:
        metrics.login_ended(outcome.code, seconds)
    elif answered.blueprint == "auth_request":
        metrics.auth_decided(outcome.code)
    # What machines ask all the time, and get granted, stays out of the usual log.
    is_routine = answered.blueprint in _ROUTINE and outcome.code == "ok"
    level = logging.DEBUG if is_routine else outcome.level
    if logger.isEnabledFor(level):
        logger.log(level, "answered", extra=_line(outcome, answered, seconds))


def _line(outcome: RequestOutcome, answered: Answered, seconds: float) -> dict[str, object]:
    return {
        "method": answered.method,
        "route": answered.route,
        "status": answered.status,
        "outcome": outcome.code,
        "milliseconds": round(seconds * 1000, 1),
        **outcome.details,
    }


def _route() -> str:
    """Return the rule that the request matched: a path may have an openid or anything else in it."""
    return request.url_rule.rule if request.url_rule else "unknown"


def _method() -> str:
    """Return the method, which is one of a few where a route knows it and can be anything elsewhere."""
    return request.method if request.url_rule else "other"
