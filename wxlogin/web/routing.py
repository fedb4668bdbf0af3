"""How a route is declared: what it takes, answers and raises stands beside its view, and makes the description."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from wxlogin.login.rate_limits import RateLimited, Scope
from wxlogin.sessions.store import NotLoggedIn, SessionExpired
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.wechat.api import errors as wechat
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, UnknownMiniProgram

Tag = Literal[
    "Logging in", "Sessions", "User data", "Back ends behind a proxy", "Operators", "Running the service"
]
Errors = tuple[type[Exception], ...]
View = Callable[..., Any]

USER = ("sessionid_header", "sessionid_cookie", "bearer")
OPERATOR = ("operator",)

COMMON_ERRORS: Errors = (BadRequest, RequestEntityTooLarge, Exception)
OF_USER: Errors = (NotLoggedIn, SessionExpired, StoreUnavailable)
OF_APP: Errors = (UnknownMiniProgram, MiniProgramNotNamed)
OF_WECHAT: Errors = (
    wechat.CredentialsRejected,
    wechat.WeChatAPIError,
    wechat.InvalidResponse,
    wechat.SystemBusy,
    wechat.ConnectionFailed,
    wechat.ResponseLost,
    wechat.RateLimited,
)


class Answer(msgspec.Struct, kw_only=True):
    """What a route answers, as JSON. A field that is `msgspec.UNSET` is left out."""


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
    """What there is to say about a route, but for what its view's docstring says.

    A success is described by ``answers``, or by a JSON Schema for each media type in ``content``, or has no body.
    """

    tag: Tag
    says: str
    answers: type[Answer] | None = None
    content: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    takes: type[msgspec.Struct] | None = None
    query: tuple[Mapping[str, Any], ...] = ()
    callers: tuple[str, ...] = ()
    is_anonymous_too: bool = False
    raises: Errors = COMMON_ERRORS

    @property
    def status(self) -> int:
        """The status of a success."""
        return 200 if self.answers or self.content else 204

    def respond(self, answer: Any) -> Response:
        """Return what a view returned as an answer; raises `TypeError` if it is not what was declared."""
        if isinstance(answer, Response):
            return answer
        if type(answer) is not (self.answers or (dict if self.content else type(None))):
            raise TypeError(f"{type(answer).__name__} is not what this route answers")
        return Response(status=204) if answer is None else jsonify(msgspec.to_builtins(answer))


class Routes(Blueprint):
    """A blueprint of declared routes; ``limit`` is the scope in which requests to all of them are counted."""

    def __init__(self, name: str, *, url_prefix: str | None = None, limit: Scope | None = None) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix)
        self.limit = limit

    def route_of(self, method: str, rule: str, operation: Operation) -> Callable[[View], View]:
        """Make a function the view of a route."""
        operation = self._declared(operation)

        def register(view: View) -> View:
            @functools.wraps(view)
            def respond(**arguments: str) -> Response:
                return operation.respond(view(**arguments))

            respond.operation = operation  # type: ignore[attr-defined]  # `operation_of` reads it
            self.add_url_rule(rule, view.__name__, respond, methods=[method])
            return view

        return register

    def _declared(self, operation: Operation) -> Operation:
        """Return the operation with what goes without saying: what a body and a limit raise."""
        implied: Errors = (UnsupportedMediaType,) * bool(operation.takes) + (RateLimited,) * bool(self.limit)
        return dataclasses.replace(operation, raises=(*implied, *operation.raises))


def operation_of(view: View) -> Operation:
    """Return how a view was declared."""
    operation: Operation = view.operation  # type: ignore[attr-defined]
    return operation


def any_of(*kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schema of what is of one of these kinds; the description of the API has theirs."""
    return {"anyOf": [*kinds]}


def in_query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """Return the Parameter Object of a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", **schema}}


def described(description: str, *examples: Any, **schema: Any) -> msgspec.Meta:
    """Return what the description says of a field, and nothing else checks."""
    return msgspec.Meta(description=description, examples=[*examples] or None, extra_json_schema=schema or None)
