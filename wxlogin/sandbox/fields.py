"""The JSON bodies that people, tests and the simulator's page send: what they may say, and what is wrong."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import request
from werkzeug.exceptions import BadRequest

from wxlogin.sandbox.json_text import parse_json


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a body may have: whether a value fits, and the rule in words."""

    fits: Callable[[Any], bool]
    rule: str


def read_fields(known: Mapping[str, Field], *, required: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of the request's JSON object; no body is an empty one, and any type will do."""
    given = read_object(request.get_data())
    for name, value in given.items():
        if name not in known:
            raise BadRequest(f"the fields are {', '.join(known)}")
        if not known[name].fits(value):
            raise BadRequest(f"{name} has to be {known[name].rule}")
    for name in required:
        if name not in given:
            raise BadRequest(f"{name} is missing")
    return given


def read_object(body: bytes) -> dict[str, Any]:
    try:
        given = parse_json(body) if body.strip() else {}
    except ValueError:
        raise BadRequest("the body has to be JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body has to be a JSON object")
    return given


def matching(pattern: str, rule: str) -> Field:
    return Field(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, rule)


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole_number(low: int, high: int) -> Field:
    rule = f"a whole number from {low:,} to {high:,}"
    return Field(lambda value: is_whole(value) and low <= value <= high, rule)


TEXT: Final = Field(lambda value: isinstance(value, str), "a string")
# An openid travels in HTTP headers.
WECHAT_ID: Final = matching("[A-Za-z0-9_-]{1,128}", "a string of 1 to 128 letters, digits, _ and -")
