"""What answers look like. Tests compare them with what is answered; nothing is serialised through them."""

from __future__ import annotations

from typing import Any

import msgspec
from marshmallow import INCLUDE, Schema, fields

from wxlogin.sessions.session_id import HANDLE_LENGTH, LENGTH
from wxlogin.wechat.api.user_data_kinds import KINDS

_IDS = ("openId", "unionId")
_PREFIX = "Decrypted"  # or a phone number that was decrypted had the name of one that was asked for


def _seconds(description: str, example: int) -> fields.Integer:
    return fields.Integer(
        required=True, strict=True, metadata={"description": description, "minimum": 0, "examples": [example]}
    )


def _text(description: str, example: str, *, pattern: str | None = None, required: bool = True) -> fields.String:
    metadata = {"description": description, "examples": [example]}
    return fields.String(required=required, metadata={**metadata, "pattern": pattern} if pattern else metadata)


def _openid() -> fields.String:
    return _text("Who the user is, with `WXLOGIN_EXPOSE_OPENID`.", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")


def _valid(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description, "examples": [True]})


class _Answer(Schema):
    class Meta:
        unknown = INCLUDE  # clients have to bear a field that a later version adds


class LoggedInSchema(_Answer):
    """How long the session can last; the session's id is in `Set-Cookie`."""

    expires_in = _seconds("Seconds from now, if the session is used.", 2592000)
    session_id = _text(
        "The session's id, with `WXLOGIN_SESSION_ID_IN_BODY`.",
        "pQv0a1SmyhNG2rjU7a2dC-kL5Yx9o0Zt3bWqEfHiJsM1nOp4uVcX6gA8Tz_",
        pattern=f"^[A-Za-z0-9_-]{{{LENGTH}}}$",
    )
    openid = _openid()


class SessionSchema(_Answer):
    """The session that asks."""

    appid = _text("Of the user's mini-program.", "wx4f4bc4dec97d474b")
    created_at = _seconds("When the user logged in, in Unix seconds.", 1795341875)
    expires_in = _seconds("Seconds from now until it ends, used or not.", 2591990)
    idle_expires_in = _seconds("Seconds from now until it ends unless it is used.", 604790)
    openid = _openid()


class UsersSessionSchema(_Answer):
    """One of a user's sessions, as an operator sees it."""

    handle = _text("Its public name.", "3yGkq0n1J6kYw8lM2sVb5A", pattern=f"^[A-Za-z0-9_-]{{{HANDLE_LENGTH}}}$")
    created_at = _seconds("When the user logged in, in Unix seconds.", 1795341875)
    last_seen_at = _seconds("When it was last used, in Unix seconds, to the minute.", 1795341840)
    expires_in = _seconds("Seconds from now until it ends unless it is used.", 604790)
    user_agent = _text("What the client called itself at the login.", "Mozilla/5.0 … MicroMessenger/8.0.50")


class OwnSessionSchema(UsersSessionSchema):
    """One of a user's sessions, as the user sees it."""

    is_current = fields.Boolean(
        required=True, metadata={"description": "Whether it is the one that asks.", "examples": [True]}
    )


class OwnSessionsSchema(_Answer):
    """All sessions of the user who asks."""

    sessions = fields.List(
        fields.Nested(OwnSessionSchema), required=True, metadata={"description": "The newest first."}
    )


class UsersSessionsSchema(_Answer):
    """All sessions of a user."""

    sessions = fields.List(
        fields.Nested(UsersSessionSchema), required=True, metadata={"description": "The newest first."}
    )
    count = _seconds("How many there are.", 1)


class SignatureSchema(_Answer):
    """Whether the signature is right."""

    valid = _valid("Whether a `session_key` of the user's made the signature of these very bytes.")


class KeyCheckedSchema(_Answer):
    """Whether there is a good key."""

    valid = _valid("Whether WeChat accepts a `session_key` of the user's that is kept here.")


class KeyResetSchema(_Answer):
    """That the key was replaced."""

    reset = fields.Boolean(required=True, metadata={"enum": [True], "examples": [True]})


class PhoneNumberSchema(_Answer):
    """The user's phone number."""

    phone_number = _text("A foreign one begins with the country code.", "13580006666")
    pure_phone_number = _text("Without the country code.", "13580006666")
    country_code = _text("Such as 86.", "86")

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Spell the fields as WeChat does."""
        first, *rest = field_name.split("_")
        field_obj.data_key = first + "".join(word.title() for word in rest)


class StatusSchema(_Answer):
    """That all is well."""

    status = fields.String(required=True, metadata={"enum": ["ok"], "examples": ["ok"]})


class ErrorDetailSchema(_Answer):
    """What went wrong."""

    code = _text("What a program looks at.", "invalid_request")
    message = _text("What a person reads; its words may change.", "code: Missing data for required field.")
    request_id = _text("What the log and `X-Request-Id` call the request.", "4d6ae01f0c6b4b0f9f8e2a6a1d1f3b5c")
    retryable = fields.Boolean(
        required=True,
        metadata={"description": "Whether the same request may succeed later.", "examples": [False]},
    )
    errcode = fields.Integer(
        strict=True, metadata={"description": "What WeChat said, where it said no.", "examples": [40029]}
    )


class ErrorSchema(_Answer):
    """The one shape of all errors."""

    error = fields.Nested(ErrorDetailSchema, required=True)


def _public(name: str) -> str:
    return _PREFIX + name.removeprefix("_")


USER_DATA = {"anyOf": [{"$ref": f"#/components/schemas/{_public(kind.__name__)}"} for kind in KINDS.values()]}
"""Any kind of `user_data_schemas`."""


def user_data_schemas(*, with_ids: bool) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each kind of user data, by its name; ``with_ids``, if its user is told as well.

    They come from what decrypted data has to fit.
    """
    _, found = msgspec.json.schema_components(KINDS.values(), ref_template="#/components/schemas/{name}")
    hidden = set() if with_ids else set(_IDS)
    return {_public(name): _without(schema, hidden) for name, schema in found.items()}


def _without(schema: dict[str, Any], hidden: set[str]) -> dict[str, Any]:
    properties = {name: _plain(each) for name, each in schema["properties"].items() if name not in hidden}
    required = [name for name in schema["required"] if name not in hidden]
    return {"type": "object", **_about(schema), "properties": properties, "required": required}


def _about(schema: dict[str, Any]) -> dict[str, str]:
    first, *_ = schema.get("description", "").splitlines() or [""]
    return {"description": first.replace("``", "`")} if first else {}


def _plain(schema: Any) -> Any:
    """Return ``schema`` with the names that are told, and without what Python alone understands of a pattern."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _plain(value) for name, value in schema.items() if name != "pattern" or r"\ud800" not in value}
    if "pattern" in kept:
        kept["pattern"] = kept["pattern"].replace(r"\Z", "$")
    if "$ref" in kept:
        kept["$ref"] = kept["$ref"].replace("/_", f"/{_PREFIX}")
    return kept
