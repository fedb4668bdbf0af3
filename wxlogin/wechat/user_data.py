"""What WeChat tells about a user through the mini-program, which could have tampered with it.

The encryption has no authentication: who knows the text can choose its first 16 characters by flipping bits of the
IV, and cut off blocks before them. So what decrypts has to be, to the letter, something that WeChat sends.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from wxlogin.wechat.crypto import decipher

_CLOCK_SKEW_SECONDS = 60
_FAILURE_STEP_SECONDS = 0.002  # failures take a multiple of it

_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z")]
_Text = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]*\Z")]  # JSON can smuggle in what has no UTF-8
_Url = Annotated[str, Meta(pattern=r"^[!-~]*\Z")]
_Phone = Annotated[str, Meta(pattern=r"^[0-9+() -]{1,32}\Z")]
_Natural = Annotated[int, Meta(ge=0, lt=2**53)]


class StaleSessionKey(Exception):
    """Raised if no key of the user's decrypts the data to what WeChat would send about this user.

    Most often WeChat has replaced the key since: log in and ask WeChat again. It does not say which step failed,
    or it would be a padding oracle.
    """


class _Exact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Fields as WeChat spells them, and no others."""


class _Watermark(_Exact, frozen=True):
    appid: _Id
    timestamp: _Natural


class _Payload(_Exact, frozen=True):
    watermark: _Watermark


class _Profile(_Payload, frozen=True):
    """Of ``wx.getUserProfile``. It has no ``openId``, so no ``unionId``: that could be the former, renamed.

    https://developers.weixin.qq.com/miniprogram/dev/api/open-api/user-info/wx.getUserProfile.html
    """

    nick_name: _Text
    gender: _Natural
    language: _Text
    city: _Text
    province: _Text
    country: _Text
    avatar_url: _Url


class _UserInfo(_Profile, frozen=True):
    """Of ``wx.getUserInfo``."""

    open_id: _Id
    union_id: _Id | UnsetType = UNSET


class _PhoneNumber(_Payload, frozen=True):
    """Of a ``getPhoneNumber`` button."""

    phone_number: _Phone
    pure_phone_number: _Phone
    country_code: _Phone | _Natural


class _Share(_Payload, frozen=True):
    """Of ``wx.getShareInfo``."""

    open_g_id: _Id
    msg_ticket: _Text | UnsetType = UNSET


class _GroupEntry(_Payload, frozen=True):
    """Of ``wx.getGroupEnterInfo``, which spells the id in another way.

    https://developers.weixin.qq.com/miniprogram/dev/api/open-api/group/wx.getGroupEnterInfo.html
    """

    opengid: _Id
    msg_ticket: _Text | UnsetType = UNSET


class _Steps(_Exact, frozen=True):
    timestamp: _Natural
    step: _Natural


class _WeRun(_Payload, frozen=True):
    """Of ``wx.getWeRunData``: 31 days today."""

    step_info_list: Annotated[list[_Steps], Meta(max_length=64)]


KINDS: Sequence[type[_Payload]] = (_UserInfo, _Profile, _PhoneNumber, _Share, _GroupEntry, _WeRun)

# What is parsed, converted and compared in place of what can't be, so that a failure takes as long as a success.
_STAND_IN = (
    rb'{"openId":"oooooooooooooooooooooooooooo","nickName":"Nobody","gender":0,"language":"zh_CN","city":"Guangzhou",'
    rb'"province":"Guangdong","country":"CN","avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/0000000000000000000000'
    rb'000000000000000000000000000000000000000000000000000000000000000/132","unionId":"oooooooooooooooooooooooooooo",'
    rb'"watermark":{"timestamp":0,"appid":"wx0000000000000000"}}'
)


def read_user_data(
    encrypted_data: str,
    iv: str,
    *,
    session_keys: Sequence[str],
    appid: str,
    openid: str,
    max_age_seconds: int | None,
    now: int,
) -> dict[str, Any]:
    """Return what WeChat encrypted about the user under any of ``session_keys``, without its watermark.

    ``now`` is in Unix seconds; ``max_age_seconds``, if given, bounds the watermark's age. The same data may be
    read any number of times. Raises `StaleSessionKey`, after the same work for each key whatever is wrong, and in
    the same time: what is left of some microseconds' difference ends in a wait.

    Only ``openId`` is compared with the session. A group's id can be tampered with: it proves no membership.
    """
    started_at = time.perf_counter()
    for session_key in session_keys:
        plaintext = decipher(encrypted_data, iv, session_key=session_key)
        payload, fits = _payload_of(plaintext.data)
        is_ours = _is_for(payload, appid=appid, openid=openid)
        is_timely = _is_timely(payload.watermark, max_age_seconds=max_age_seconds, now=now)
        if plaintext.is_sound & fits & is_ours & is_timely:
            return _promised(payload)
    time.sleep((started_at - time.perf_counter()) % _FAILURE_STEP_SECONDS)
    raise StaleSessionKey


def _payload_of(data: bytes) -> tuple[_Payload, bool]:
    """Return the payload and whether it is one; if not, a stand-in."""
    value, is_json = _value_of(data)
    fitting = [payload for kind in KINDS if (payload := _payload_as(kind, value))]
    payload = fitting[0] if fitting else msgspec.json.decode(_STAND_IN, type=_UserInfo)
    return payload, is_json & bool(fitting)


def _value_of(data: bytes) -> tuple[Any, bool]:
    try:
        return _parse(data), True
    except (ValueError, RecursionError):
        return _parse(_STAND_IN), False


def _payload_as(kind: type[_Payload], value: Any) -> _Payload | None:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter of a lone surrogate where no text belongs
        return None


def _is_for(payload: _Payload, *, appid: str, openid: str) -> bool:
    its_openid: str = getattr(payload, "open_id", openid)
    is_app = hmac.compare_digest(payload.watermark.appid.encode(), appid.encode())
    return is_app & hmac.compare_digest(its_openid.encode(), openid.encode())


def _is_timely(watermark: _Watermark, *, max_age_seconds: int | None, now: int) -> bool:
    age_seconds = now - watermark.timestamp
    return max_age_seconds is None or -_CLOCK_SKEW_SECONDS <= age_seconds <= max_age_seconds


def _promised(payload: _Payload) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    del fields["watermark"]
    return fields


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


# It lets NaN and Infinity pass, which are floats, and no field takes a float.
_json = json.JSONDecoder(object_pairs_hook=_without_duplicates)


def _parse(data: bytes) -> Any:
    return _json.decode(data.decode())
