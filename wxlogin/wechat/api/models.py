"""What WeChat answers, as values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from wxlogin.wechat.api.errors import InvalidResponse

# WeChat's ids are URL-safe (openid and unionid have 28 characters today). They become header values, so nothing
# else may pass. A session_key is base64 of 16 bytes: nothing could be decrypted with another.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SESSION_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_ACCESS_TOKEN = re.compile(r"[!-~]{1,2048}")  # WeChat asks for room for 512 characters
_MAX_SECONDS = 24 * 60 * 60  # an access_token has two hours today
_PHONE_NUMBER = re.compile(r"[0-9+() -]{1,32}")


@dataclasses.dataclass(frozen=True, slots=True)
class CodeSession:
    """Who a code belonged to. ``unionid`` is there only for apps bound to a WeChat Open Platform account."""

    openid: str = dataclasses.field(repr=False)
    session_key: str = dataclasses.field(repr=False)
    unionid: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class AccessToken:
    """What lets a service call WeChat in the name of its app, for ``expires_in`` seconds from now."""

    value: str = dataclasses.field(repr=False)
    expires_in: int = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A user's phone number; a foreign ``phone_number`` begins with the country code, the pure one never does."""

    phone_number: str = dataclasses.field(repr=False)
    pure_phone_number: str = dataclasses.field(repr=False)
    country_code: str = dataclasses.field(repr=False)


def code_session_of(answer: Mapping[str, Any]) -> CodeSession:
    """Return the `CodeSession` in a successful answer of code2Session, or raise `InvalidResponse`."""
    return CodeSession(
        openid=_field(answer, "openid", _ID),
        session_key=_field(answer, "session_key", _SESSION_KEY),
        unionid=_field(answer, "unionid", _ID) if answer.get("unionid") else None,
    )


def access_token_of(answer: Mapping[str, Any]) -> AccessToken:
    """Return the `AccessToken` in an answer of either endpoint that gives one, or raise `InvalidResponse`."""
    expires_in = answer.get("expires_in")
    if type(expires_in) is not int or not 0 < expires_in <= _MAX_SECONDS:
        raise InvalidResponse("the answer has no usable expires_in")
    return AccessToken(_field(answer, "access_token", _ACCESS_TOKEN), expires_in)


def phone_number_of(answer: Mapping[str, Any], *, appid: str) -> PhoneNumber:
    """Return the `PhoneNumber` in an answer of getPhoneNumber to the app ``appid``, or raise `InvalidResponse`.

    The country code is a string by the documentation, and a number in some of its examples. An answer without a
    watermark was recorded.
    """
    info = _object(answer, "phone_info")
    if "watermark" in info and _object(info, "watermark").get("appid") != appid:
        raise InvalidResponse("the answer is about another app")
    if type(info.get("countryCode")) is int:
        info = {**info, "countryCode": str(info["countryCode"])}
    names = ("phoneNumber", "purePhoneNumber", "countryCode")
    return PhoneNumber(*(_field(info, name, _PHONE_NUMBER) for name in names))


def check_is_ok(answer: Mapping[str, Any]) -> None:
    """Raise `InvalidResponse` if an answer that should say ok, and no more, does not even say that."""
    if answer.get("errcode") is None:
        raise InvalidResponse("the answer has no errcode")


def is_encrypted_by_wechat(answer: Mapping[str, Any]) -> bool:
    """Return what an answer of checkEncryptedData says, or raise `InvalidResponse`; the spelling is WeChat's."""
    is_valid = answer.get("vaild", answer.get("valid"))
    if not isinstance(is_valid, bool):
        raise InvalidResponse("the answer has no usable vaild")
    return is_valid


def session_key_of(answer: Mapping[str, Any], *, openid: str) -> str:
    """Return the new session_key of the user ``openid``, or raise `InvalidResponse`."""
    if answer.get("openid") != openid:
        raise InvalidResponse("the answer is about another user")
    return _field(answer, "session_key", _SESSION_KEY)


def _object(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise InvalidResponse(f"the answer has no usable {name}")
    return value


def _field(answer: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidResponse(f"the answer has no usable {name}")
    return value
