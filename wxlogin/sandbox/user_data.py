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
from wxlogin.sandbox.state import DEFAULT_PHONE_NUMBER, User

NOT_IN_RAW_DATA: Final = frozenset({"openId", "unionId", "watermark"})
WERUN_DAYS: Final = 31
DAY_SECONDS: Final = 86_400
CHINA_OFFSET_SECONDS: Final = 8 * 3600
AVATAR_URL: Final = (
    "http://wx.qlogo.cn/mmopen/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ib"
    "KicsnfN5pRjl1p8HQ/0"
)


def make_user_data(user: User, kind: str, *, changes: Mapping[str, Any], now: float) -> dict[str, str]:
    """Return what the mini-program gets; `changes` replace and add to the fields of the payload."""
    payload = {**KINDS[kind](user, int(now)), **changes}
    payload["watermark"] = payload.pop("watermark")
    raw_data = compact_json({name: value for name, value in payload.items() if name not in NOT_IN_RAW_DATA})
    iv = secrets.token_bytes(16)
    return {
        "encryptedData": encrypt(compact_json(payload), session_key=user.session_key, iv=iv),
        "iv": base64.b64encode(iv).decode(),
        "rawData": raw_data,
        "signature": sign_raw_data(raw_data, session_key=user.session_key),
    }


def user_info(user: User, timestamp: int) -> dict[str, Any]:
    unionid = {"unionId": user.unionid} if user.unionid else {}
    return {
        "openId": user.openid,
        "nickName": "Band",
        "gender": 1,
        "language": "zh_CN",
        "city": "Guangzhou",
        "province": "Guangdong",
        "country": "CN",
        "avatarUrl": AVATAR_URL,
        **unionid,
        "watermark": {"timestamp": timestamp, "appid": user.appid},
    }


def phone_number(user: User, timestamp: int) -> dict[str, Any]:
    return {
        "phoneNumber": DEFAULT_PHONE_NUMBER,
        "purePhoneNumber": DEFAULT_PHONE_NUMBER,
        "countryCode": "86",
        "watermark": {"appid": user.appid, "timestamp": timestamp},
    }


def share(user: User, timestamp: int) -> dict[str, Any]:
    return {
        "openGId": "tG" + 28 * "0",
        "watermark": {"timestamp": timestamp, "appid": user.appid},
    }


def werun(user: User, timestamp: int) -> dict[str, Any]:
    """Return the steps of the last days, oldest first, each under the midnight it began with in China."""
    today = timestamp - (timestamp + CHINA_OFFSET_SECONDS) % DAY_SECONDS
    days = [today - DAY_SECONDS * ago for ago in reversed(range(WERUN_DAYS))]
    return {
        "stepInfoList": [{"timestamp": day, "step": 100 * number} for number, day in enumerate(days, 1)],
        "watermark": {"timestamp": timestamp, "appid": user.appid},
    }


KINDS: Final[Mapping[str, Callable[[User, int], dict[str, Any]]]] = MappingProxyType(
    {"user_info": user_info, "phone_number": phone_number, "share": share, "werun": werun}
)
