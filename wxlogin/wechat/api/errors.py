"""What can go wrong with WeChat, as a tree, and the one place that knows its errcodes.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session, and for all errcodes
https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
"""

from __future__ import annotations

import re
from typing import ClassVar

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")


class WeChatError(Exception):
    """Raised if WeChat did not give us what we asked for; metrics call a class by its ``outcome``."""

    outcome: ClassVar[str]


class ConnectionFailed(WeChatError):
    """Raised if no connection came about: WeChat knows nothing of the request."""

    outcome = "not_reached"


class CallRejected(ConnectionFailed):
    """Raised if nothing was sent: this process did not try."""

    outcome = "turned_away"


class CircuitOpen(CallRejected):
    """Raised if WeChat failed too often lately."""


class BulkheadFull(CallRejected):
    """Raised if too many requests wait for WeChat already."""


class NoTimeLeft(CallRejected):
    """Raised if a call could not be over in time."""


class ResponseLost(WeChatError):
    """Raised if WeChat may have done the work, but its answer did not arrive whole and in time."""

    outcome = "no_answer"


class InvalidResponse(WeChatError):
    """Raised if WeChat answered with something that its documentation does not know."""

    outcome = "unusable_answer"


class WeChatAPIError(WeChatError):
    """Raised if WeChat said no: ``errcode`` says why, ``rid`` names the request when asking WeChat's support."""

    outcome = "refused"

    def __init__(self, errcode: int, rid: str | None = None) -> None:
        super().__init__(f"errcode {errcode}, rid {rid or 'unknown'}")
        self.errcode = errcode
        self.rid = rid


class SystemBusy(WeChatAPIError):
    """Raised if WeChat is busy (-1)."""

    outcome = "busy"


class InvalidCode(WeChatAPIError):
    """Raised if a code is unknown, expired or of another mini-program; a phone code also if it was used before."""

    outcome = "invalid_code"


class CodeUsed(WeChatAPIError):
    """Raised if a code was exchanged before."""

    outcome = "code_used"


class UserBlocked(WeChatAPIError):
    """Raised if WeChat holds the user for a risk and stops the login."""

    outcome = "user_blocked"


class InvalidSessionKey(WeChatAPIError):
    """Raised if a session_key is not the user's, or no more."""

    outcome = "invalid_session_key"


class RateLimited(WeChatAPIError):
    """Raised if WeChat has had enough requests about this user (for a minute) or from this app (for longer)."""

    outcome = "rate_limited"

    @property
    def retry_after_seconds(self) -> int:
        """How long to wait before the next try."""
        return 60 if self.errcode == 45011 else 3600


class CredentialsRejected(WeChatAPIError):
    """Raised if the operator has something to repair: AppID, AppSecret, IP whitelist, permissions, an account."""

    outcome = "credentials_rejected"


class BadAccessToken(CredentialsRejected):
    """Raised if an access_token is wrong, replaced or expired: another may do.

    Where it was asked for an access_token, WeChat means the AppSecret by it (40001).
    """

    outcome = "bad_access_token"


_KINDS: dict[int, type[WeChatAPIError]] = {
    -1: SystemBusy,
    40029: InvalidCode,
    42003: InvalidCode,  # code expired: in enums only, never seen for mini-programs
    40163: CodeUsed,
    40226: UserBlocked,
    87007: InvalidSessionKey,  # session_key not existed or expired: in an enum only
    87009: InvalidSessionKey,  # invalid signature: what a dead key gets as well
    45009: RateLimited,  # the app's quota of a day
    45011: RateLimited,  # 100 a minute and user
    1400001: RateLimited,  # the app's phone numbers are used up: the operator buys more
    40001: BadAccessToken,  # not the latest any more
    40014: BadAccessToken,  # none at all
    42001: BadAccessToken,  # expired
    40013: CredentialsRejected,  # invalid appid
    40125: CredentialsRejected,  # invalid appsecret
    40164: CredentialsRejected,  # this host's address is not in the IP whitelist
    40243: CredentialsRejected,  # the AppSecret is frozen
    40066: CredentialsRejected,  # no such path: WXLOGIN_WECHAT_API_URL leads to something else
    43003: CredentialsRejected,  # HTTPS required: WXLOGIN_WECHAT_API_URL has to have it
    45035: CredentialsRejected,  # this host's address is not in the whitelist
    61004: CredentialsRejected,  # the same
    48001: CredentialsRejected,  # the app may not use this API
    48004: CredentialsRejected,  # nor may it after what it has done wrong
    61007: CredentialsRejected,  # as 48001
    50002: CredentialsRejected,  # "user limited": the mini-program is frozen, has moved or is closed
    61016: CredentialsRejected,  # as 48001, until its category is confirmed
    **dict.fromkeys(range(40230, 40241), CredentialsRejected),  # API security is switched on for the app
    89501: CredentialsRejected,  # a call from this address waits for the administrator's yes
    89503: CredentialsRejected,  # the same
    89506: CredentialsRejected,  # the administrator refused this address twice (a day)
    89507: CredentialsRejected,  # the administrator refused this address once (an hour)
    41001: CredentialsRejected,  # access_token missing: ours to repair, as are those that follow
    41002: CredentialsRejected,  # appid missing
    41004: CredentialsRejected,  # appsecret missing
    40002: WeChatAPIError,  # invalid grant_type
    40003: WeChatAPIError,  # invalid openid
    40097: WeChatAPIError,  # invalid arguments
    41008: WeChatAPIError,  # code missing
    43001: WeChatAPIError,  # GET required
    43002: WeChatAPIError,  # POST required
    44002: WeChatAPIError,  # empty body
    47001: WeChatAPIError,  # no JSON
    87008: WeChatAPIError,  # invalid sig_method
}


def api_error(errcode: int, rid: str | None) -> WeChatAPIError:
    """Return the exception for an errcode; of one, its ``errcode`` and ``rid`` make the same again."""
    return _KINDS.get(errcode, WeChatAPIError)(errcode, rid)


def errcode_of(kind: type[WeChatAPIError]) -> int:
    """Return the errcode that is the first example of a class."""
    return next(errcode for errcode, each in _KINDS.items() if each is kind)


def api_error_in(errcode: int, errmsg: str) -> WeChatAPIError:
    """Return the exception for an errcode; of ``errmsg``, whose wording changes, only the rid is kept."""
    rid = _RID.search(errmsg)
    return api_error(errcode, rid[1] if rid else None)
