"""The ceiling: a WSGI application that answers what a granted check is answered with, and does nothing for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEADERS = [
    ("X-WX-OPENID", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
    ("X-WX-APPID", "wx4f4bc4dec97d474b"),
    ("X-WX-SOURCE", "wx_client"),
    ("Cache-Control", "no-store"),
    ("X-Request-Id", "0123456789abcdef0123456789abcdef"),
]


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Let everybody pass."""
    start_response("204 NO CONTENT", HEADERS)
    return ()


def bare(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Let everybody pass, without a word."""
    start_response("204 NO CONTENT", [])
    return ()


class AtOnce:
    """The same, and the worker need not hand the request to a thread."""

    pipeline = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let everybody pass."""
        return app(environ, start_response)

    def try_answer(self, _environ: dict[str, Any], _callback: object) -> list[tuple[str, str]]:
        """Let everybody pass, as the middleware does whom it knows."""
        return HEADERS

    def record_granted(self, _seconds: float) -> None:
        """Count nothing."""


at_once = AtOnce()
