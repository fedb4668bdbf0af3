"""JSON Schemas of what the API takes and answers, from the types that it is read and written with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from wxlogin.web.routing import Answer
from wxlogin.wechat.api.user_data_kinds import KINDS

_OF_USER_DATA = frozenset(KINDS.values())
_USER_DATA = "Decrypted"  # or a phone number that was decrypted had the name of one that was asked for


class Schemas:
    """The schemas that a document refers to; fields that settings keep out of answers are not in them."""

    def __init__(self, *, with_openid: bool, with_session_id: bool) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        shown = dict.fromkeys(("openid", "openId", "unionId"), with_openid) | {"session_id": with_session_id}
        self._hidden = {name for name, is_shown in shown.items() if not is_shown}
        self._certain = {"openid", "session_id"} - self._hidden

    def of(self, schema: Any) -> Any:
        """Return the schema of a type, of any of several types, or the schema that this is already."""
        if isinstance(schema, type):
            return self.reference(schema)
        if "anyOf" in schema:
            return {"anyOf": [self.reference(kind) for kind in schema["anyOf"]]}
        return schema

    def reference(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """Return the reference to the schema of a type."""
        prefix = _USER_DATA if kind in _OF_USER_DATA else ""
        template = f"#/components/schemas/{prefix}{{name}}"
        (reference,), found = msgspec.json.schema_components([kind], ref_template=template)
        for name, schema in found.items():
            struct = self._of_struct(schema)
            if not prefix:  # clients have to bear a field that a later version adds to an answer
                struct["additionalProperties"] = issubclass(kind, Answer)
            self.components[_public(prefix + name)] = struct
        public: dict[str, Any] = self._cleaned(reference)
        return public

    def _of_struct(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        properties = {
            name: self._cleaned(each) for name, each in schema["properties"].items() if name not in self._hidden
        }
        required = [name for name in properties if name in schema["required"] or name in self._certain]
        about, *_ = schema.get("description", "").splitlines() or [""]
        struct: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
        return {**struct, "description": about.replace("``", "`")} if about else struct

    def _cleaned(self, schema: Any) -> Any:
        """Return a schema with public names, and without what Python alone understands of a pattern."""
        if isinstance(schema, list):
            return [self._cleaned(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        kept = {
            name: self._cleaned(value)
            for name, value in schema.items()
            if name != "default" and (name != "pattern" or r"\ud800" not in value)
        }
        if "pattern" in kept:
            kept["pattern"] = kept["pattern"].replace(r"\Z", "$")
        if "$ref" in kept:
            kept["$ref"] = _public(kept["$ref"])
        return kept


def _public(name: str) -> str:
    """Return the name of a schema, or the reference to it, as clients see it."""
    return name.replace(f"{_USER_DATA}_", _USER_DATA).replace("ErrorBody", "Error")
