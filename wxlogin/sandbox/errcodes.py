"""WeChat's errcodes, and the English text it sends with each.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session lists those of the
login; the rest is what developers report from the live service.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

INVALID_GRANT_TYPE: Final = 40002
INVALID_APPID: Final = 40013
INVALID_CODE: Final = 40029
INVALID_URL: Final = 40066
INVALID_SECRET: Final = 40125
CODE_USED: Final = 40163
APPID_MISSING: Final = 41002
SECRET_MISSING: Final = 41004
CODE_MISSING: Final = 41008

ERRMSGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -1: "system error",
        40001: "invalid credential, access_token is invalid or not latest",
        INVALID_GRANT_TYPE: "invalid grant_type",
        INVALID_APPID: "invalid appid",
        40014: "invalid access_token",
        INVALID_CODE: "invalid code",
        INVALID_URL: "invalid url",
        INVALID_SECRET: "invalid appsecret",
        CODE_USED: "code been used",
        40164: "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
        40226: "code blocked",
        40243: "appsecret frozen",
        41001: "access_token missing",
        APPID_MISSING: "appid missing",
        SECRET_MISSING: "appsecret missing",
        CODE_MISSING: "missing code",
        42001: "access_token expired",
        45009: "reach max api daily quota limit",
        # The double spaces are WeChat's.
        45011: "api minute-quota reach limit  mustslower  retry next minute",
    }
)
UNKNOWN_ERRMSG: Final = "unknown error"
