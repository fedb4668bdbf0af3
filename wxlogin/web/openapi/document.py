"""The OpenAPI document of an application: its routes, and how each was declared (`wxlogin.web.routing`).

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask
from werkzeug.exceptions import BadRequest
from werkzeug.routing import Rule

from wxlogin import __version__
from wxlogin.services import Services
from wxlogin.web.errors import ErrorBody, ErrorSpec, spec_of
from wxlogin.web.openapi.schemas import Schemas
from wxlogin.web.request_body import MAX_BODY_BYTES
from wxlogin.web.routing import Header, Operation, Tag, operation_of
from wxlogin.web.session_id_extractor import COOKIE_NAME
from wxlogin.wechat.api.errors import WeChatAPIError, errcode_of

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"

_ABOUT = f"""\
Log WeChat mini-program users in: the code of `wx.login()` goes in, a session cookie comes out.

The session's id is sent back as a `{COOKIE_NAME}` header, a `{COOKIE_NAME}` cookie or `Authorization: Bearer`. \
All of a stored `Set-Cookie` is understood, attributes included; a header wins over the cookie.

All errors have one shape. Programs look at `error.code`; `retryable` says whether the same request may succeed \
later. A body has {MAX_BODY_BYTES // 1024} KiB at the most. A `GET` route answers `HEAD` too, but for \
`/getOpenid`; any other method is a 405, and any other address a 404, in the same shape.

Every answer has an `X-Request-Id`, which is what the log calls the request, and `Cache-Control: no-store`."""

_TAGS: dict[Tag, str] = {
    "Logging in": "",
    "Sessions": "Who am I, on which devices, and log out.",
    "User data": "What takes the user's `session_key`, which stays here, or WeChat's access token.",
    "Back ends behind a proxy": "Who is calling: for nginx's `auth_request` and its like.",
    "Operators": "See and end the sessions of any user.",
    "Running the service": "",
}

_SECURITY_SCHEMES = {
    "sessionid_header": {
        "type": "apiKey",
        "in": "header",
        "name": COOKIE_NAME,
        "description": "What came as `Set-Cookie`, or the id alone.",
    },
    "sessionid_cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE_NAME, "description": "The same."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The session's id."},
    "operator": {"type": "http", "scheme": "bearer", "description": "`WXLOGIN_ADMIN_TOKEN`."},
}

_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "What the log calls the request: the proxy's id for it, or a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
        "example": "4d6ae01f0c6b4b0f9f8e2a6a1d1f3b5c",
    },
    "Cache-Control": {"required": True, "schema": {"type": "string", "enum": ["no-store"]}},
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "What HTTP wants to be said of a 401.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer realm="wxlogin"',
    },
}
_IN_PATH: Mapping[str, Mapping[str, str]] = {
    "handle": {
        "description": "A session's public name, as the list of sessions has it.",
        "example": "3yGkq0n1J6kYw8lM2sVb5A",
    },
    "openid": {"description": "The user's openid.", "example": "oGZUI0egBJY1zhBYw2KhdUfwVJJE"},
}
_VALIDATION_MESSAGE = "code: Missing data for required field."
_ON_ALL = ("X-Request-Id", "Cache-Control")
_ON_STATUS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def describe(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of ``app``; its pages for people are none of its API."""
    settings = Services.of(app).settings
    writer = _Writer(
        Schemas(with_openid=settings.expose_openid, with_session_id=settings.session_id_in_body),
    )
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    operations = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("docs."):
            continue
        view = app.view_functions[rule.endpoint]
        operations.append(operation_of(view))
        paths[_path_of(rule)][_method_of(rule)] = {
            "operationId": rule.endpoint.replace(".", "_"),
            "summary": _summary_of(view),
            **writer.describe(rule, operations[-1]),
        }
    callers = {caller for each in operations for caller in each.callers}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wxlogin",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [_tag(name) for name in _TAGS if name in {each.tag for each in operations}],
        "paths": {path: dict(item) for path, item in paths.items()},
        "components": {
            "securitySchemes": {name: each for name, each in _SECURITY_SCHEMES.items() if name in callers},
            "headers": _HEADERS,
            "schemas": writer.schemas.components,
        },
    }


def _tag(name: Tag) -> dict[str, str]:
    return {"name": name, "description": _TAGS[name]} if _TAGS[name] else {"name": name}


def _method_of(rule: Rule) -> str:
    """Return the one method of a route; the HEAD of a GET goes without saying."""
    (method,) = (rule.methods or set()) - {"HEAD"}
    return method.lower()


def _path_of(rule: Rule) -> str:
    return re.sub(r"<(\w+)>", r"{\1}", rule.rule)


def _summary_of(view: Any) -> str:
    return " ".join((view.__doc__ or "").replace("``", "`").split("\n\n")[0].split())


class _Writer:
    """Writes operations; the schemas that they share go into ``schemas``."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas

    def describe(self, rule: Rule, operation: Operation) -> dict[str, Any]:
        """Return the Operation Object, but for what the route itself says."""
        described: dict[str, Any] = {
            "tags": [operation.tag],
            "parameters": [*_in_path(rule), *operation.query],
            "requestBody": self._body(operation.takes) if operation.takes else None,
            "security": _security(operation),
            "responses": {str(operation.status): self._answer(operation), **self._failures(operation)},
        }
        return {name: value for name, value in described.items() if value}

    def _body(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        content = {"schema": self.schemas.reference(kind)}
        return {"required": True, "content": {_JSON: content, _FORM: content}}

    def _answer(self, operation: Operation) -> dict[str, Any]:
        headers = {name: _reference("headers", name) for name in _ON_ALL}
        headers |= {header.name: _header(header) for header in operation.headers}
        answered = {_JSON: operation.answers} if operation.answers else operation.content
        content = {media_type: {"schema": self.schemas.of(schema)} for media_type, schema in answered.items()}
        described = {"description": operation.says, "headers": headers}
        return {**described, "content": content} if content else described

    def _failures(self, operation: Operation) -> dict[str, Any]:
        by_status = defaultdict(list)
        for kind in operation.raises:
            by_status[spec_of(kind).status].append(kind)
        return {str(status): self._failure(status, by_status[status]) for status in sorted(by_status)}

    def _failure(self, status: int, kinds: list[type[Exception]]) -> dict[str, Any]:
        specs = {spec_of(kind).code: (kind, spec_of(kind)) for kind in reversed(kinds)}
        codes = {"error": {"properties": {"code": {"enum": sorted(specs)}}}}
        content = {
            "schema": {**self.schemas.reference(ErrorBody), "properties": codes},
            "examples": {code: {"value": _example(*specs[code])} for code in sorted(specs)},
        }
        names = (*_ON_ALL, *_ON_STATUS.get(status, ()))
        return {
            "description": ", ".join(f"`{code}`" for code in sorted(specs)),
            "headers": {name: _reference("headers", name) for name in names},
            "content": {_JSON: content},
        }


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _header(header: Header) -> dict[str, Any]:
    described = {"description": header.description, "schema": {"type": "string"}, "example": header.example}
    return {**described, "required": True} if header.is_certain else described


def _in_path(rule: Rule) -> list[dict[str, Any]]:
    schema = {"type": "string", "pattern": "^[^/]+$"}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema, **_IN_PATH[name]}
        for name in sorted(rule.arguments, key=rule.rule.index)
    ]


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    ways: list[dict[str, list[str]]] = [{name: []} for name in operation.callers]
    return [*ways, {}] if operation.is_anonymous_too else ways


def _example(kind: type[Exception], spec: ErrorSpec) -> dict[str, Any]:
    error = {
        "code": spec.code,
        "message": spec.message if kind is not BadRequest else _VALIDATION_MESSAGE,
        "request_id": _HEADERS["X-Request-Id"]["example"],
        "retryable": spec.retryable,
    }
    return {"error": {**error, "errcode": errcode_of(kind)} if issubclass(kind, WeChatAPIError) else error}
