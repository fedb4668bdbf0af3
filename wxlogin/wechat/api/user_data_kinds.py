"""The kinds of data that WeChat encrypts for a mini-program: their fields, as far as we know them.

An attacker who holds the phone can tamper with the encrypted text, so `find_kind` recognises a kind by rules that
tampering breaks and that new fields of WeChat's do not: docs/decisions/what-makes-user-data-authentic.md.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

_BLOCK_CHARACTERS = 16  # as many as a splice of two texts garbles
_MAX_DEPTH = 16
_MAX_PHONE_DIGITS = 15  # ITU-T E.164

_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z")]
_Text = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]*\Z")]  # JSON can smuggle in what has no UTF-8
_Printable = Annotated[str, Meta(pattern=r"^[!-~]*\Z")]
_Phone = Annotated[str, Meta(pattern=r"^[0-9+() -]{1,32}\Z")]
_Natural = Annotated[int, Meta(ge=0, lt=2**53)]

# A forged IV chooses the first 16 characters. `{"openGId":"` leaves four: an id of five can't be chosen whole.
_GroupId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{5,128}\Z")]
_GroupIdIfAny = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{5,128})?\Z")]

# Of garbled blocks, one in 2^32 has only letters, digits and underscores, and one in 2^40 is part of such words.
# One in 2^35 ends a name and begins a text, and one in 2^39 if the text has no control characters.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f]")
_WORDS = re.compile(r"[A-Za-z][a-z]*(_[a-z]+|[A-Z][a-z]+)*_?[0-9]*")
_UNKNOWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


class Watermark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which mini-program WeChat encrypted the data for, and when, in Unix seconds."""

    appid: _Id
    timestamp: _Natural


class Kind(msgspec.Struct, frozen=True):
    """Fields as WeChat spells them."""

    def is_consistent(self) -> bool:
        """Return whether the fields agree with each other."""
        return True

    def ids_that_may_be_cut(self) -> tuple[str, ...]:
        """Return the ends, up to eight characters, of ids that a cut and a forged IV can make of other text."""
        return ()


class Profile(Kind, frozen=True, rename="camel"):
    """Of ``wx.getUserProfile``. It has no ``openId``, so no ``unionId``: that could be the former, renamed.

    https://developers.weixin.qq.com/miniprogram/dev/api/open-api/user-info/wx.getUserProfile.html
    """

    nick_name: _Text
    gender: _Natural
    language: _Text
    city: _Text
    province: _Text
    country: _Text
    avatar_url: _Printable


class UserInfo(Profile, frozen=True, kw_only=True, rename="camel"):
    """Of ``wx.getUserInfo``.

    https://developers.weixin.qq.com/miniprogram/dev/api/open-api/user-info/wx.getUserInfo.html
    """

    open_id: _Id
    union_id: _Id | UnsetType | None = UNSET


class PhoneNumber(Kind, frozen=True, rename="camel"):
    """Of a ``getPhoneNumber`` button, as it was before there were codes.

    https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/deprecatedGetPhoneNumber.html
    """

    phone_number: _Phone
    pure_phone_number: _Phone
    country_code: _Phone | _Natural

    def is_consistent(self) -> bool:
        """Return whether the number is the pure one, or that behind its country code."""
        number, pure = _digits_of(self.phone_number), _digits_of(self.pure_phone_number)
        with_country = _digits_of(str(self.country_code)) + pure
        return 0 < len(pure) <= len(number) <= _MAX_PHONE_DIGITS and number in {pure, with_country}


class Share(Kind, frozen=True, rename="camel"):
    """Of ``wx.getShareInfo``.

    https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.getShareInfo.html
    """

    open_g_id: _GroupId

    def ids_that_may_be_cut(self) -> tuple[str, ...]:
        """Return the end of the id, which begins with four characters of the IV."""
        return (_end_of(self.open_g_id[4:]),)


class ChatOfTwo(Kind, frozen=True):
    """Of ``wx.getGroupEnterInfo`` and ``wx.getChatToolInfo`` in a chat of two."""

    open_single_roomid: Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]
    group_openid: _Printable | UnsetType = UNSET
    chat_type: _Natural | UnsetType = UNSET


class Group(Kind, frozen=True):
    """Of ``wx.getGroupEnterInfo`` and ``wx.getChatToolInfo``. A chat of two has an ``open_single_roomid`` instead.

    https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.getChatToolInfo.html
    """

    opengid: _GroupIdIfAny
    open_single_roomid: _Printable | UnsetType = UNSET
    group_openid: _Printable | UnsetType = UNSET
    chat_type: _Natural | UnsetType = UNSET

    def is_consistent(self) -> bool:
        """Return whether there is an id of one or the other."""
        return bool(self.opengid or self.open_single_roomid)

    def ids_that_may_be_cut(self) -> tuple[str, ...]:
        """Return the end of the group's id, which begins with four characters of the IV, if there is one."""
        return (_end_of(self.opengid[4:]),) if self.opengid else ()


class _Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timestamp: _Natural
    step: _Natural


class WeRun(Kind, frozen=True, rename="camel"):
    """Of ``wx.getWeRunData``: 31 days today.

    https://developers.weixin.qq.com/miniprogram/dev/api/open-api/werun/wx.getWeRunData.html
    """

    step_info_list: Annotated[list[_Steps], Meta(max_length=64)]


class PrivateMessage(Kind, frozen=True, rename="camel"):
    """Of ``wx.authPrivateMessage``.

    https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.authPrivateMessage.html
    """

    activity_id: Annotated[str, Meta(pattern=r"^[!-~]{2,512}\Z")]

    def ids_that_may_be_cut(self) -> tuple[str, ...]:
        """Return the end of the id, which begins with one character of the IV."""
        return (_end_of(self.activity_id[1:]),)


KINDS: Final[Mapping[str, type[Kind]]] = MappingProxyType(
    {
        "openId": UserInfo,
        "nickName": Profile,
        "phoneNumber": PhoneNumber,
        "openGId": Share,
        "opengid": Group,
        "open_single_roomid": ChatOfTwo,
        "stepInfoList": WeRun,
        "activityId": PrivateMessage,
    }
)
"""Each kind by the name that comes first in every recorded text of it."""

_REQUIRED: Final = MappingProxyType(
    {
        kind: frozenset(field.encode_name for field in msgspec.structs.fields(kind) if field.required)
        for kind in KINDS.values()
    }
)
_NAMES_OF_KINDS: Final = frozenset[str]().union(*(kind.__struct_encode_fields__ for kind in KINDS.values()))


def _folded(name: str) -> str:
    """Return what all spellings of a name have in common: some back ends read names in any case."""
    return name.replace("_", "").casefold()


# `timestamp` and `step` are everyday words, which other data may have as well.
_KNOWN_FOLDED: Final = frozenset(map(_folded, _NAMES_OF_KINDS | {"watermark", "appid"}))


def has_no_known_name(payload: Mapping[str, Any]) -> bool:
    """Return whether an object has no field of any kind."""
    return _NAMES_OF_KINDS.isdisjoint(payload)


def find_kind(payload: Mapping[str, Any]) -> Kind | None:
    """Return the fields of a decrypted object, or None if an attacker could have forged them.

    The object's first name says which kind it is. All required fields of the kind have to be there and agree, no
    name may be another kind's, and no unknown name may be one that a splice of two texts makes. The caller checks
    the watermark, the user's ids, and that no name comes twice.
    """
    kind = KINDS.get(next(iter(payload), ""))
    if kind is None:
        return None
    unknown = {name: payload[name] for name in payload.keys() - {*kind.__struct_encode_fields__, "watermark"}}
    if not all(map(_may_be_added, unknown, unknown.values())) or _could_be_spliced(payload, kind, unknown):
        return None
    try:
        found = msgspec.convert(payload, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter of a lone surrogate where no text belongs
        return None
    return found if found.is_consistent() else None


def _may_be_added(name: str, value: Any) -> bool:
    """Return whether an unknown name may be one that WeChat has added."""
    names = map(_folded, (name, *_names_in(value)))
    return bool(_UNKNOWN_NAME.fullmatch(name)) and _KNOWN_FOLDED.isdisjoint(names) and _is_answerable(value)


def _could_be_spliced(payload: Mapping[str, Any], kind: type[Kind], unknown: Mapping[str, Any]) -> bool:
    """Return whether an unknown field could hide the 16 garbled characters where two texts were joined."""
    names = list(payload)
    end_of_kind = max(names.index(name) for name in _REQUIRED[kind] & payload.keys())
    end = names.index("watermark") if "watermark" in names else len(names)
    between = any(_could_hide_seam(name, unknown[name]) for name in names[:end_of_kind] if name in unknown)
    return between or any(_is_likely_seam(name, unknown[name]) for name in names[:end] if name in unknown)


def _could_hide_seam(name: str, value: Any) -> bool:
    """Return whether a field is long enough for a seam: its name alone, or with a text that follows."""
    return len(name) >= _BLOCK_CHARACTERS or any(isinstance(each, str | dict) for each in _values_in(value))


def _is_likely_seam(name: str, value: Any) -> bool:
    """Return whether a field may be a seam that can be found while a session_key lives."""
    is_garbled_name = len(name) >= _BLOCK_CHARACTERS and not _WORDS.fullmatch(name)
    return is_garbled_name or any(
        isinstance(each, str) and _CONTROL_CHARACTER.search(each) for each in _values_in(value)
    )


def _names_in(value: Any) -> set[str]:
    """Return the names of all objects in a value, at any depth."""
    return {name for each in _values_in(value) if isinstance(each, dict) for name in each}


def _values_in(value: Any) -> Iterator[Any]:
    """Return a value and all those in it, at any depth."""
    return itertools.chain.from_iterable(_levels_of(value))


def _is_answerable(value: Any) -> bool:
    """Return whether others can read a value as JSON: not too deep, no infinity, no lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return len(list(_levels_of(value))) <= _MAX_DEPTH


def _levels_of(value: Any) -> Iterator[list[Any]]:
    level = [value]
    while level:
        yield level
        level = [inner for each in level for inner in _inside(each)]


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _end_of(text: str) -> str:
    return text[-8:]


def _digits_of(number: str) -> str:
    return re.sub("[^0-9]", "", number)
