"""What WeChat tells about a user through the mini-program, which could have tampered with it.

The encryption has no authentication. An attacker who holds the phone knows texts and their encryption. He can
choose the first 16 characters by flipping bits of the IV, cut off blocks at the front, and splice two texts with
16 characters between them that he finds but can't choose. A decrypted text is believed only if a rule says that
it is WeChat's: docs/decisions/what-makes-user-data-authentic.md.
"""

from __future__ import annotations

import dataclasses
import enum
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from wxlogin.wechat.api.crypto import decipher
from wxlogin.wechat.api.user_data_kinds import Kind, Watermark, find_kind, has_no_known_name

_CLOCK_SKEW_SECONDS = 60
_FAILURE_STEP_SECONDS = 0.002  # failures take a multiple of it


class StaleSessionKey(Exception):
    """Raised if no key of the user's decrypts the data to what WeChat would send about this user.

    Most often WeChat has replaced the key since: log in and ask WeChat again. It does not say which step failed,
    or it would be a padding oracle.
    """


class ForeignPhoneNumber(StaleSessionKey):
    """Raised if WeChat says that it has not encrypted a phone number, or not in the last three days."""


class PhoneNumberNotChecked(Exception):
    """Raised if WeChat does not say whether it has encrypted a phone number."""


class UnknownUserData(Exception):
    """Raised if the data has this mini-program's watermark, but no field of any kind.

    A login does not help: the kind has to be added here. ``names`` are those of the object's fields.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names


class Verdict(enum.Enum):
    """What a decrypted text is."""

    AUTHENTIC = "authentic"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose data it has to be; the ``unionid`` is compared where both sides have one."""

    appid: str
    openid: str = dataclasses.field(repr=False)
    unionid: str | None = dataclasses.field(default=None, repr=False)


# What is parsed, converted and compared in place of what can't be, so that a failure takes as long as a success.
_DUMMY_OBJECT = (
    rb'{"openId":"oooooooooooooooooooooooooooo","nickName":"Nobody","gender":0,"language":"zh_CN","city":"Guangzhou",'
    rb'"province":"Guangdong","country":"CN","avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/0000000000000000000000'
    rb'000000000000000000000000000000000000000000000000000000000000000/132","unionId":"oooooooooooooooooooooooooooo",'
    rb'"watermark":{"timestamp":0,"appid":"wx0000000000000000"}}'
)


def read_user_data(
    ciphertext: bytes,
    iv: bytes,
    *,
    session_keys: Iterable[str],
    owner: Owner,
    max_age_seconds: int | None,
    now: int,
) -> dict[str, Any]:
    """Return what WeChat encrypted about the user under any of ``session_keys``, without its watermark.

    ``now`` is in Unix seconds; ``max_age_seconds``, if given, bounds the watermark's age. The same data may be
    read any number of times. Raises `UnknownUserData`, or `StaleSessionKey` after the same work for each key
    whatever is wrong, and in the same time: what is left of some microseconds' difference ends in a wait.
    """
    started_at = time.perf_counter()
    for session_key in session_keys:
        plaintext = decipher(ciphertext, iv, session_key=session_key)
        verdict, payload = judge(plaintext.data, owner=owner, max_age_seconds=max_age_seconds, now=now)
        if plaintext.is_valid & (verdict is Verdict.AUTHENTIC):
            return {name: value for name, value in payload.items() if name != "watermark"}
        if plaintext.is_valid & (verdict is Verdict.UNKNOWN):
            raise UnknownUserData([name for name in payload if name != "watermark"])
    time.sleep((started_at - time.perf_counter()) % _FAILURE_STEP_SECONDS)
    raise StaleSessionKey


def judge(
    text: bytes, *, owner: Owner, max_age_seconds: int | None, now: int
) -> tuple[Verdict, Mapping[str, Any]]:
    """Return what a decrypted text is, and the object in it; of one that is refused, nothing may be believed."""
    value, is_object = _object_in(text)
    watermark, is_stamped = _watermark_of(value)
    kind, fits = _kind_of(value)
    is_ours = _are_same(watermark.appid, owner.appid)
    is_timely = _is_timely(watermark, max_age_seconds=max_age_seconds, now=now)
    is_wechats = is_object & is_stamped & is_ours & is_timely
    is_authentic = is_wechats & fits & _is_about(kind, owner)
    if is_wechats & has_no_known_name(value):
        return Verdict.UNKNOWN, value
    return (Verdict.AUTHENTIC if is_authentic else Verdict.REFUSED), value


def _object_in(text: bytes) -> tuple[dict[str, Any], bool]:
    """Return the JSON object, and whether it is one; if not, a stand-in."""
    try:
        value = _parse(text)
    except (ValueError, RecursionError):
        value = None
    is_object = isinstance(value, dict)
    return value if is_object else _parse(_DUMMY_OBJECT), is_object


def _watermark_of(value: Mapping[str, Any]) -> tuple[Watermark, bool]:
    watermark = _watermark_in(value)
    return watermark or msgspec.convert(_parse(_DUMMY_OBJECT)["watermark"], Watermark), watermark is not None


def _watermark_in(value: Mapping[str, Any]) -> Watermark | None:
    try:
        return msgspec.convert(value.get("watermark"), Watermark)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None


def _kind_of(value: Mapping[str, Any]) -> tuple[Kind, bool]:
    kind = find_kind(value)
    return kind or _dummy_kind(), kind is not None


def _dummy_kind() -> Kind:
    kind = find_kind(_parse(_DUMMY_OBJECT))
    assert kind
    return kind


def _is_about(kind: Kind, owner: Owner) -> bool:
    """Return whether the ids in the data are the user's; data without any is the user's by its key alone."""
    openid: str = getattr(kind, "open_id", owner.openid)
    unionid = getattr(kind, "union_id", None)
    ids = (unionid, owner.unionid) if isinstance(unionid, str) and owner.unionid else ("", "")
    return _are_same(openid, owner.openid) & _are_same(*ids) & (not _reveals_id(kind, owner))


def _reveals_id(kind: Kind, owner: Owner) -> bool:
    """Return whether the data tells the end of a user's id under another name, as it does if it is cut there."""
    secrets = [each for each in (owner.openid, owner.unionid) if each]
    return any(secret.endswith(told) for told in kind.ids_that_may_be_cut() for secret in secrets)


def _are_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_timely(watermark: Watermark, *, max_age_seconds: int | None, now: int) -> bool:
    age_seconds = now - watermark.timestamp
    return max_age_seconds is None or -_CLOCK_SKEW_SECONDS <= age_seconds <= max_age_seconds


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


# Not strict: WeChat has sent nicknames with control characters that JSON wants escaped. NaN and Infinity are read
# as floats, which no field of a kind takes and no unknown field may hold.
_json = json.JSONDecoder(object_pairs_hook=_without_duplicates, strict=False)


def _parse(text: bytes) -> Any:
    return _json.decode(text.decode())
