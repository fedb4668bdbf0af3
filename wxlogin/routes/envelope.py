"""What all requests and answers have in common: ids, headers, the size of bodies, a line in the log."""

from __future__ import annotations

import logging
import re
import secrets
import time

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from wxlogin import logs
from wxlogin.routes.bodies import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def register(app: Flask) -> None:
    """Put every request and answer of ``app`` into the envelope."""
    # One more than we take: Flask cuts a chunked body off there without a word.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.before_request(_open)
    app.after_request(_close)
    app.teardown_request(_forget)


def _open() -> None:
    g.started_at = time.perf_counter()
    logs.request_id.set(_request_id())
    if request.blueprint != "auth_request":  # nginx asks there on behalf of requests whose bodies it keeps
        _check_body()


def _request_id() -> str:
    """Return the id that a proxy gave the request, or a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _check_body() -> None:
    length = request.content_length or 0
    if length > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if request.method in _WITHOUT_BODY and (length or "HTTP_TRANSFER_ENCODING" in request.environ):
        raise BadRequest("A request with this method takes no body.")


def _close(response: Response) -> Response:
    response.headers.update(_HEADERS)
    if response.status_code == 204:
        response.headers.pop("Content-Type", None)
    response.headers["X-Request-Id"] = logs.request_id.get() or ""
    _log(response)
    return response


def _forget(_error: BaseException | None) -> None:
    logs.request_id.set(None)


def _level(response: Response) -> int:
    """Keep what machines ask all the time, and get granted, out of the usual log."""
    is_routine = request.blueprint in {"operations", "auth_request"} and response.status_code < 300
    return logging.DEBUG if is_routine else logging.INFO


def _log(response: Response) -> None:
    milliseconds = round((time.perf_counter() - g.started_at) * 1000, 1)
    logger.log(
        _level(response),
        "answered",
        extra={
            "method": request.method if request.url_rule else None,
            "route": str(request.url_rule or "unknown"),
            "status": response.status_code,
            "milliseconds": milliseconds,
        },
    )
