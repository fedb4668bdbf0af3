"""The access_tokens of every app, and what becomes of each."""

import secrets
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from wxlogin.sandbox.errcodes import (
    ACCESS_TOKEN_EXPIRED,
    ACCESS_TOKEN_MISSING,
    INVALID_CREDENTIAL,
    ApiError,
)

TOKEN_LIFETIME_SECONDS: Final = 7200
HANDOVER_SECONDS: Final = 300
FORCED_REFRESHES_PER_DAY: Final = 20
FORCED_REFRESH_INTERVAL_SECONDS: Final = 30
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What lets a back end call WeChat for `appid` before `ends_at`, and gets it `ended_as` from then on."""

    text: str = field(repr=False)
    appid: str
    is_stable: bool
    ends_at: float
    ended_as: int = ACCESS_TOKEN_EXPIRED


class AccessTokens:
    """Issue and end tokens, those of the two endpoints apart; not safe to share between threads.

    https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html
    """

    def __init__(self) -> None:
        self._tokens: dict[str, AccessToken] = {}
        self._latest: dict[tuple[str, bool], str] = {}
        self._forced_at: dict[str, list[float]] = defaultdict(list)

    def fetch(self, appid: str, *, now: float) -> AccessToken:
        """Return a new token; the one before it works for `HANDOVER_SECONDS` more."""
        previous = self._latest_of(appid, is_stable=False)
        if previous:
            self._end(previous, at=now + HANDOVER_SECONDS, ended_as=INVALID_CREDENTIAL)
        return self._issue(appid, is_stable=False, now=now)

    def fetch_stable(self, appid: str, *, force_refresh: bool, now: float) -> AccessToken:
        """Return the app's token, or a new one if it ends within `HANDOVER_SECONDS`; both work until then.

        Forced, every token before the new one is void at once, but a call that comes too soon, or too often
        in 24 hours, is like any other.
        """
        if force_refresh and self._may_force(appid, now=now):
            self._forced_at[appid].append(now)
            self._end_all(self._of_app(appid, is_stable=True), at=now, ended_as=INVALID_CREDENTIAL)
        latest = self._latest_of(appid, is_stable=True)
        if latest and latest.ends_at - now >= HANDOVER_SECONDS:
            return latest
        return self._issue(appid, is_stable=True, now=now)

    def appid_of(self, text: str, *, now: float) -> str:
        """Return whose token it is, or raise `ApiError`."""
        if not text:
            raise ApiError(ACCESS_TOKEN_MISSING)
        token = self._tokens.get(text)
        if token is None:
            raise ApiError(INVALID_CREDENTIAL)
        if now >= token.ends_at:
            raise ApiError(token.ended_as)
        return token.appid

    def owner_of(self, text: str) -> str:
        """Return whose token it is or was, or nothing."""
        token = self._tokens.get(text)
        return token.appid if token else ""

    def end(self, appid: str, *, ended_as: int, now: float) -> int:
        """End every token of an app that works, of either kind; return how many that were."""
        working = [token for token in self._of_app(appid) if now < token.ends_at]
        self._end_all(working, at=now, ended_as=ended_as)
        return len(working)

    def _may_force(self, appid: str, *, now: float) -> bool:
        recent = [at for at in self._forced_at[appid] if now - at < DAY_SECONDS]
        too_soon = bool(recent) and now - recent[-1] < FORCED_REFRESH_INTERVAL_SECONDS
        return not too_soon and len(recent) < FORCED_REFRESHES_PER_DAY

    def _latest_of(self, appid: str, *, is_stable: bool) -> AccessToken | None:
        return self._tokens.get(self._latest.get((appid, is_stable), ""))

    def _of_app(self, appid: str, *, is_stable: bool | None = None) -> list[AccessToken]:
        kinds = {False, True} if is_stable is None else {is_stable}
        return [token for token in self._tokens.values() if token.appid == appid and token.is_stable in kinds]

    def _issue(self, appid: str, *, is_stable: bool, now: float) -> AccessToken:
        token = AccessToken(new_access_token(), appid, is_stable, now + TOKEN_LIFETIME_SECONDS)
        self._tokens[token.text] = token
        self._latest[appid, is_stable] = token.text
        return token

    def _end_all(self, tokens: list[AccessToken], *, at: float, ended_as: int) -> None:
        for token in tokens:
            self._end(token, at=at, ended_as=ended_as)

    def _end(self, token: AccessToken, *, at: float, ended_as: int) -> None:
        if at < token.ends_at:
            self._tokens[token.text] = replace(token, ends_at=at, ended_as=ended_as)


def new_access_token() -> str:
    return "61_" + secrets.token_urlsafe(96)
