"""What WeChat answers, as values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from wxlogin.wechat.errors import UnusableAnswer

# WeChat's ids are URL-safe (openid and unionid have 28 characters today). They become header values, so nothing
# else may pass; a session_key is base64 of 16 bytes.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SESSION_KEY = re.compile(r"[!-~]{1,128}")


@dataclasses.dataclass(frozen=True, slots=True)
class CodeSession:
    """Who a code belonged to. ``unionid`` is there only for apps bound to a WeChat Open Platform account."""

    openid: str = dataclasses.field(repr=False)
    session_key: str = dataclasses.field(repr=False)
    unionid: str | None = dataclasses.field(default=None, repr=False)


def code_session_of(answer: Mapping[str, Any]) -> CodeSession:
    """Return the `CodeSession` in a successful answer of code2Session, or raise `UnusableAnswer`."""
    return CodeSession(
        openid=_field(answer, "openid", _ID),
        session_key=_field(answer, "session_key", _SESSION_KEY),
        unionid=_field(answer, "unionid", _ID) if answer.get("unionid") else None,
    )


def _field(answer: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise UnusableAnswer(f"the answer has no usable {name}")
    return value
