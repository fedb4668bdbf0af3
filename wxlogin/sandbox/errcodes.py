"""WeChat's errcodes, and the English text it sends with each.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session lists those of the
login; the rest is what the other endpoints' pages list, and what developers report from the live service.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

DATA_NOT_FOUND: Final = 1
PLUGIN_BAD_PARAMETER: Final = 1001
PLUGIN_BAD_CODE: Final = 1007
INVALID_CREDENTIAL: Final = 40001
INVALID_GRANT_TYPE: Final = 40002
INVALID_OPENID: Final = 40003
INVALID_APPID: Final = 40013
INVALID_ACCESS_TOKEN: Final = 40014
INVALID_CODE: Final = 40029
INVALID_URL: Final = 40066
INVALID_ARGUMENTS: Final = 40097
INVALID_SECRET: Final = 40125
INVALID_SCENE: Final = 40129
CODE_USED: Final = 40163
NOT_IN_WHITELIST: Final = 40164
ACCESS_TOKEN_MISSING: Final = 41001
APPID_MISSING: Final = 41002
SECRET_MISSING: Final = 41004
CODE_MISSING: Final = 41008
ACCESS_TOKEN_EXPIRED: Final = 42001
GET_REQUIRED: Final = 43001
POST_REQUIRED: Final = 43002
APPID_MISMATCH: Final = 43104
EMPTY_POST_DATA: Final = 44002
MINUTE_QUOTA_REACHED: Final = 45011
DATA_FORMAT: Final = 47001
QUOTA_NOT_CLEARED: Final = 48006
USER_WAS_NOT_HERE: Final = 61010
RID_NOT_FOUND: Final = 76001
INVALID_RID: Final = 76002
RID_OF_ANOTHER_APP: Final = 76003
RID_OF_SNS: Final = 76022
INVALID_SIG_METHOD: Final = 87008
INVALID_SIGNATURE: Final = 87009
NOT_BOUND: Final = 89002
INVALID_ORDER: Final = 89300

ERRMSGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -1: "system error",
        DATA_NOT_FOUND: "data not exit",  # the spelling is WeChat's
        PLUGIN_BAD_PARAMETER: "invalid parameter",
        PLUGIN_BAD_CODE: "",
        INVALID_CREDENTIAL: (
            "invalid credential, access_token is invalid or not latest, could get access_token by "
            "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
        ),
        INVALID_GRANT_TYPE: "invalid grant_type",
        INVALID_OPENID: "invalid openid",
        INVALID_APPID: "invalid appid",
        INVALID_ACCESS_TOKEN: "invalid access_token",
        INVALID_CODE: "invalid code",
        INVALID_URL: "invalid url",
        INVALID_ARGUMENTS: "invalid args",
        INVALID_SECRET: "invalid appsecret",
        INVALID_SCENE: "invalid scene",
        CODE_USED: "code been used",
        NOT_IN_WHITELIST: "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
        40226: "code blocked",
        40243: "appsecret frozen",
        ACCESS_TOKEN_MISSING: "access_token missing",
        APPID_MISSING: "appid missing",
        SECRET_MISSING: "appsecret missing",
        CODE_MISSING: "missing code",
        ACCESS_TOKEN_EXPIRED: "access_token expired",
        42003: "code expired",
        GET_REQUIRED: "require GET method",
        POST_REQUIRED: "require POST method",
        APPID_MISMATCH: "invalid appid for this openid",
        EMPTY_POST_DATA: "empty post data",
        45009: "reach max api daily quota limit",
        # The double spaces are WeChat's.
        MINUTE_QUOTA_REACHED: "api minute-quota reach limit  mustslower  retry next minute",
        DATA_FORMAT: "data format error",
        48001: "api unauthorized",
        QUOTA_NOT_CLEARED: "forbid to clear quota because of reaching the limit",
        50002: "user limited",
        USER_WAS_NOT_HERE: "code is expired",
        RID_NOT_FOUND: "rid not found",
        INVALID_RID: "rid is error",
        RID_OF_ANOTHER_APP: "could not query this rid for no permission",
        RID_OF_SNS: "could not use this cgi",
        87007: "session_key not existed or expired",
        INVALID_SIG_METHOD: "invalid sig_method",
        INVALID_SIGNATURE: "invalid signature",
        NOT_BOUND: "open account not bound",
        INVALID_ORDER: "invalid order",
    }
)
UNKNOWN_ERRMSG: Final = "unknown error"


class ApiError(Exception):
    """Raised if WeChat would answer with `errcode` instead of doing what it was asked."""

    def __init__(self, errcode: int) -> None:
        super().__init__(errcode)
        self.errcode = errcode
