"""Request bodies: read strictly, so that no two parsers can disagree about what was sent."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

MAX_BODY_BYTES = 64 * 1024

# What some clients send with every DELETE, and mean no body by.
_EMPTY_BODY = re.compile(rb"\s*(\{\s*\}|\[\s*\]|null)?\s*")

Body = TypeVar("Body", bound=msgspec.Struct)


class _NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """An empty object."""


def read_body(kind: type[Body]) -> Body:
    """Return the request's JSON or form body.

    Raises `BadRequest` (not an object; a field is unknown, missing, repeated or wrong), `UnsupportedMediaType` or
    `RequestEntityTooLarge`.
    """
    refuse_query()
    sent = _fields()
    try:
        return msgspec.convert(sent, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter of a lone surrogate in a name
        raise BadRequest(_validation_message(sent, kind)) from None


def refuse_body() -> None:
    """Return if the request has no fields: no body, or an empty one. Raises what `read_body` does."""
    refuse_query()
    if _raw_body():
        read_body(_NoFields)


def is_body_empty() -> bool:
    """Return whether the request has no body, or one that says nothing. Raises what `read_body` does of a body."""
    return bool(_EMPTY_BODY.fullmatch(_raw_body()))


def refuse_query() -> None:
    """Raise `BadRequest` if the address has a query: what belongs in the body would land in logs."""
    if request.query_string:
        raise BadRequest("This address takes no query parameters: send them in the body.")


def single_values(values: MultiDict[str, str]) -> dict[str, str]:
    """Return the parameters, or raise `BadRequest` if one is repeated."""
    repeated = [name for name, found in values.lists() if len(found) > 1]
    if repeated:
        raise BadRequest("A parameter is there twice.")
    return values.to_dict()


def _fields() -> Any:
    if request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    if request.mimetype == "application/json":
        return _parse_json(_raw_body())
    if request.mimetype == "application/x-www-form-urlencoded":
        _raw_body()
        return single_values(request.form)
    raise UnsupportedMediaType


def _raw_body() -> bytes:
    try:
        body = request.get_data(cache=True)
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  # the server's own, of any kind, for a body that is badly chunked
        raise BadRequest("The body did not arrive whole.") from None
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON (in UTF-8, no name twice, no NaN).") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name is there twice")
    return names


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _validation_message(sent: Any, kind: type[msgspec.Struct]) -> str:
    """Say what is wrong with each field, without quoting what was sent."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if not fields:
        return "This address takes no fields: send no body, or an empty object."
    if isinstance(sent, dict) and sent.keys() <= fields.keys():
        problems = ((name, _problem_with(field, sent)) for name, field in fields.items())
        return " ".join(f"{name}: {problem}" for name, problem in problems if problem)
    return f"The body has to be an object with no other fields than: {', '.join(fields)}."


def _problem_with(field: msgspec.structs.FieldInfo, sent: dict[str, Any]) -> str:
    if field.encode_name not in sent:
        return "Missing data for required field." if field.required else ""
    try:
        msgspec.convert(sent[field.encode_name], field.type)
    except msgspec.ValidationError:
        return "Field may not be null." if sent[field.encode_name] is None else "Not a valid string."
    return ""
