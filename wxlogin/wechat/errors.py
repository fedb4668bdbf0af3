"""What can go wrong with WeChat, as a tree, and the one place that knows its errcodes.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session
"""

from __future__ import annotations

import re

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")


class WeChatError(Exception):
    """Raised if WeChat did not give us what we asked for."""


class NotReached(WeChatError):
    """Raised if no connection came about: WeChat knows nothing of the request."""


class NoAnswer(WeChatError):
    """Raised if WeChat may have done the work, but its answer did not arrive whole and in time."""


class UnusableAnswer(WeChatError):
    """Raised if WeChat answered with something that its documentation does not know."""


class Refused(WeChatError):
    """Raised if WeChat said no: ``errcode`` says why, ``rid`` names the request when asking WeChat's support."""

    def __init__(self, errcode: int, rid: str | None = None) -> None:
        super().__init__(f"errcode {errcode}, rid {rid or 'unknown'}")
        self.errcode = errcode
        self.rid = rid


class Busy(Refused):
    """Raised if WeChat is busy (-1)."""


class InvalidCode(Refused):
    """Raised if a code is unknown, expired or of another mini-program."""


class CodeUsed(Refused):
    """Raised if a code was exchanged before."""


class UserBlocked(Refused):
    """Raised if WeChat holds the user for a risk and stops the login."""


class RateLimited(Refused):
    """Raised if WeChat has had enough requests about this user (for a minute) or from this app (for a day)."""

    @property
    def retry_after_seconds(self) -> int:
        """How long to wait before the next try."""
        return 3600 if self.errcode == 45009 else 60


class CredentialsRejected(Refused):
    """Raised if the operator has something to repair: AppID, AppSecret, IP whitelist, a frozen account."""


_REFUSALS: dict[int, type[Refused]] = {
    -1: Busy,
    40029: InvalidCode,
    42003: InvalidCode,  # code expired: in enums only, never seen for mini-programs
    40163: CodeUsed,
    40226: UserBlocked,
    45009: RateLimited,  # the app's quota of a day
    45011: RateLimited,  # 100 a minute and user
    40013: CredentialsRejected,  # invalid appid
    40125: CredentialsRejected,  # invalid appsecret
    40164: CredentialsRejected,  # this host's address is not in the IP whitelist
    40243: CredentialsRejected,  # the AppSecret is frozen
    41002: CredentialsRejected,  # appid missing
    41004: CredentialsRejected,  # appsecret missing
    89503: CredentialsRejected,  # a call from this address waits for the administrator's yes
    89506: CredentialsRejected,  # the administrator refused this address twice (a day)
    89507: CredentialsRejected,  # the administrator refused this address once (an hour)
}


def refusal_of(errcode: int, errmsg: str) -> Refused:
    """Return the exception for an errcode; of ``errmsg``, whose wording changes, only the rid is kept."""
    rid = _RID.search(errmsg)
    return _REFUSALS.get(errcode, Refused)(errcode, rid[1] if rid else None)
