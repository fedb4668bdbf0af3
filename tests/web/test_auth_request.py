"""``GET /auth``: what nginx asks about every request to the other back ends."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers

from tests.conftest import APPID
from tests.drivers import MiniProgram, Sandbox, Send
from wxlogin.services import Services
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.store import NotLoggedIn
from wxlogin.sessions.verification.verifier import SessionVerifier
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.web.auth_request.middleware import GRANTED_STATUS, AuthRequestMiddleware, Pending


@pytest.fixture(params=["at once", "later", "middleware", "view"])
def app(request: pytest.FixtureRequest, app: Flask) -> Flask:
    """Decide without waiting, in the middleware, and in the view behind it: what holds for one holds for all."""
    middleware: Any = app.wsgi_app
    ways: dict[str, Any] = {
        "at once": WithoutAThread(middleware, finding_at_once(Services.of(app).verifier)),
        "later": WithoutAThread(middleware, middleware._verifier.try_cached),
        "middleware": middleware,
        "view": middleware.app,
    }
    app.wsgi_app = ways[request.param]  # type: ignore[method-assign]  # as Flask's manual does
    return app


def finding_at_once(verifier: SessionVerifier) -> Callable[[SessionId], User | None]:
    """Return what finds a session without a round trip, as far as the middleware knows."""

    def find(session_id: SessionId) -> User | None:
        with contextlib.suppress(NotLoggedIn, StoreUnavailable):
            return verifier.get(session_id)
        return None

    return find


class AnsweredPipeline:
    """What looks sessions up, and has an answer before the question is put."""

    def __init__(self, checks: SessionVerifier) -> None:
        self._verifier = checks

    def submit(self, session_id: SessionId, callback: Callable[[User | None], None]) -> bool:
        try:
            user = self._verifier.get(session_id)
        except (NotLoggedIn, StoreUnavailable):
            callback(None)
        else:
            callback(user)
        return True


class WithoutAThread:
    """An application that takes what the middleware answers without waiting, and goes on as a worker does."""

    def __init__(self, middleware: AuthRequestMiddleware, cached: Any) -> None:
        self._middleware: Any = middleware
        checks = middleware._verifier
        middleware._verifier = copy.copy(checks)
        middleware._verifier.try_cached = cached
        middleware._verifier.pipeline = AnsweredPipeline(checks)  # type: ignore[assignment]  # all of it that is used

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        told: list[Any] = []
        plain = {name: value for name, value in environ.items() if isinstance(value, str)}
        headers = self._middleware.try_answer(plain, told.append) if environ["REQUEST_METHOD"] == "GET" else None
        if isinstance(headers, Pending):
            (headers,) = told
        if headers is None:
            return self._middleware.app(environ, start_response)
        start_response(GRANTED_STATUS, headers)
        return ()


def identity(headers: Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("X-WX-")}


def test_a_logged_in_user_passes_with_an_identity(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    answer = mini_program.get("/auth")

    assert (answer.status, answer.text) == (204, "")
    assert identity(answer.headers) == {
        "X-WX-OPENID": mini_program.openid,
        "X-WX-APPID": APPID,
        "X-WX-SOURCE": "wx_client",
    }


def test_a_unionid_is_part_of_the_identity(mini_program: MiniProgram, sandbox: Sandbox) -> None:
    mini_program.log_in_with(sandbox.issue_code(unionid="ocMvos6NjeKLIBqg5Mr9QjxrP1FA"))

    answer = mini_program.get("/auth")

    assert answer.headers["X-WX-UNIONID"] == "ocMvos6NjeKLIBqg5Mr9QjxrP1FA"


def test_nobody_does_not_pass(send: Send) -> None:
    answer = send("GET", "/auth")

    assert (answer.status, answer.error["code"]) == (401, "not_logged_in")
    assert identity(answer.headers) == {}


@pytest.mark.parametrize("query", [f"appid={APPID}", f"appid=wx0000000000000000&appid={APPID}", "other=x"])
def test_a_user_of_an_app_that_is_asked_for_passes(mini_program: MiniProgram, query: str) -> None:
    mini_program.log_in()

    assert mini_program.get(f"/auth?{query}").status == 204


@pytest.mark.parametrize("query", ["appid=wx0000000000000000", "appid=", f"appid={APPID}x"])
def test_a_user_of_another_app_does_not_pass(mini_program: MiniProgram, query: str) -> None:
    mini_program.log_in()

    answer = mini_program.get(f"/auth?{query}")

    assert (answer.status, answer.error["code"]) == (403, "wrong_app")
    assert identity(answer.headers) == {}


def test_a_forged_identity_is_not_looked_at(send: Send) -> None:
    forged = {"X-WX-OPENID": "oForged", "X-WX-SOURCE": "wx_client", "X-Original-URI": "/public"}

    assert send("GET", "/auth", headers=forged).status == 401


def test_the_length_of_a_body_that_nginx_kept_does_not_matter(mini_program: MiniProgram, send: Send) -> None:
    mini_program.log_in()
    headers = {"sessionid": mini_program.stored, "Content-Length": "10000000"}

    assert send("GET", "/auth", headers=headers).status == 204


def test_the_answer_says_who_it_is_and_no_more(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    headers = mini_program.get("/auth").headers

    assert dict(headers) == {
        **identity(headers),
        "Cache-Control": "no-store",
        "X-Request-Id": headers["X-Request-Id"],
    }


def test_the_query_is_decoded(mini_program: MiniProgram) -> None:
    mini_program.log_in()

    assert mini_program.get(f"/auth?appid={APPID.replace('x', '%78')}").status == 204
    assert mini_program.get("/auth?appid=%ff&appid=").status == 403


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT"])
def test_other_methods_are_answered_as_ever(mini_program: MiniProgram, send: Send, method: str) -> None:
    mini_program.log_in()

    answer = send(method, "/auth", headers={"sessionid": mini_program.stored})

    assert answer.status == (204 if method == "HEAD" else 405)


@pytest.mark.parametrize("path", ["/auth/", "/auth/x", "//auth", "/AUTH", "/authx"])
def test_other_paths_are_not_there(mini_program: MiniProgram, path: str) -> None:
    mini_program.log_in()

    assert mini_program.get(path).status == 404
