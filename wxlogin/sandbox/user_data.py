"""What `wx.getUserInfo()` and its like hand a mini-program: data that only the `session_key` opens.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from wxlogin.sandbox.crypto import encrypt, sign_raw_data
from wxlogin.sandbox.json_text import compact_json
from wxlogin.sandbox.phone_numbers import split_phone_number
from wxlogin.sandbox.state import DEFAULT_PHONE_NUMBER, User

NOT_IN_RAW_DATA: Final = frozenset({"openId", "unionId", "watermark"})
WERUN_DAYS: Final = 31
DAY_SECONDS: Final = 86_400
CHINA_OFFSET_SECONDS: Final = 8 * 3600
# What everybody is called and looks like: https://developers.weixin.qq.com/community/develop/doc/00022c683e8a80b29bed2142b56c01
DEFAULT_NICKNAME: Final = "微信用户"
DEFAULT_AVATAR_URL: Final = (
    "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGu"
    "G1icwxaQX6grC9VemZoJ8rg/132"
)
LAST: Final = ("watermark", "is_demote")


def make_user_data(user: User, kind: str, *, changes: Mapping[str, Any], now: float) -> dict[str, str]:
    """Return what the mini-program gets; `changes` replace and add to the fields of the payload."""
    payload = {**KINDS[kind](user, int(now)), **with_number_split(changes)}
    payload |= {name: payload.pop(name) for name in LAST if name in payload}
    raw_data = compact_json({name: value for name, value in payload.items() if name not in NOT_IN_RAW_DATA})
    iv = secrets.token_bytes(16)
    return {
        "encryptedData": encrypt(compact_json(payload), session_key=user.session_key, iv=iv),
        "iv": base64.b64encode(iv).decode(),
        "rawData": raw_data,
        "signature": sign_raw_data(raw_data, session_key=user.session_key),
    }


def with_number_split(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes, with what another phone number changes as well unless they say it themselves."""
    number = changes.get("phoneNumber")
    if not isinstance(number, str) or changes.keys() & {"purePhoneNumber", "countryCode"}:
        return dict(changes)
    return {**changes, **split_phone_number(number)}


def watermark(user: User, timestamp: int) -> dict[str, Any]:
    return {"watermark": {"timestamp": timestamp, "appid": user.appid}}


def default_profile() -> dict[str, Any]:
    return {
        "nickName": DEFAULT_NICKNAME,
        "gender": 0,
        "language": "",
        "city": "",
        "province": "",
        "country": "",
        "avatarUrl": DEFAULT_AVATAR_URL,
    }


def user_info(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.getUserInfo()`."""
    unionid = {"unionId": user.unionid} if user.unionid else {}
    return {"openId": user.openid, **default_profile(), **unionid, **watermark(user, timestamp)}


def profile(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.getUserProfile()`: that it tells nothing is told by `is_demote`."""
    return {**default_profile(), **watermark(user, timestamp), "is_demote": True}


def phone_number(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of a button `getPhoneNumber`, whose watermark has another order."""
    mark = {"appid": user.appid, "timestamp": timestamp}
    return {**split_phone_number(DEFAULT_PHONE_NUMBER), "watermark": mark}


def share(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.getShareInfo()`."""
    return {"openGId": "tG" + 28 * "0", **watermark(user, timestamp)}


def group(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.getGroupEnterInfo()` in a group."""
    return {**chat("tG" + 27 * "0", "", chat_type=3), **watermark(user, timestamp)}


def chat_tool(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.getChatToolInfo()` in a chat of two."""
    return {**chat("", "sG" + 27 * "0", chat_type=1), **watermark(user, timestamp)}


def chat(opengid: str, roomid: str, *, chat_type: int) -> dict[str, Any]:
    member = "oG" + 27 * "0"
    return {"opengid": opengid, "open_single_roomid": roomid, "group_openid": member, "chat_type": chat_type}


def private_message(user: User, timestamp: int) -> dict[str, Any]:
    """Return the data of `wx.authPrivateMessage()`."""
    return {"activityId": "1014_" + 16 * "0", **watermark(user, timestamp)}


def werun(user: User, timestamp: int) -> dict[str, Any]:
    """Return the steps of the last days, oldest first, each under the midnight it began with in China."""
    today = timestamp - (timestamp + CHINA_OFFSET_SECONDS) % DAY_SECONDS
    days = [today - DAY_SECONDS * ago for ago in reversed(range(WERUN_DAYS))]
    return {
        "stepInfoList": [{"timestamp": day, "step": 100 * number} for number, day in enumerate(days, 1)],
        **watermark(user, timestamp),
    }


KINDS: Final[Mapping[str, Callable[[User, int], dict[str, Any]]]] = MappingProxyType(
    {
        make.__name__: make
        for make in (user_info, profile, phone_number, share, group, chat_tool, private_message, werun)
    }
)
