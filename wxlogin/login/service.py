"""Log users in: the code of ``wx.login()`` goes in, the session of the user that WeChat names comes out."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from typing import TypeVar

from wxlogin.login.code_exchange import CodeClaim, CodeExchangeStore
from wxlogin.login.rate_limits import RateLimited, RateLimits
from wxlogin.observability import events
from wxlogin.observability import logging as logs
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import SessionId, hash_of
from wxlogin.sessions.store import NotLoggedIn, SessionStore, StoredSession
from wxlogin.storage.gateway import StoreUnavailable
from wxlogin.wechat.access_tokens import AccessTokens
from wxlogin.wechat.api.bulkhead import SPARE_SECONDS, Bulkhead
from wxlogin.wechat.api.client import WeChatClient
from wxlogin.wechat.api.errors import CodeUsed
from wxlogin.wechat.mini_programs import MiniPrograms, UnknownMiniProgram

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# What WeChat puts there and a mini-program can't change; the tail is a version, `devtools` or `0`, and a page.
# https://developers.weixin.qq.com/miniprogram/dev/framework/ability/network.html
_REFERER = re.compile(r"https://servicewechat\.com/(wx[0-9a-f]{16})/")

_CODE_USED = 40163  # WeChat's errcode


class MiniProgramRemoved(Exception):
    """Raised if a user is logged in with a mini-program that is not ours any more, and WeChat has to be asked."""


class SessionNotStored(StoreUnavailable):
    """Raised if the code is spent, but its session could not be kept: only a new code helps."""


class LoginRateLimited(RateLimited):
    """Raised if a user logs in too often, which is known only when the code is spent."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoginService:
    """Exchange codes for sessions, and call WeChat for users who are logged in. Thread-safe."""

    exchanges: CodeExchangeStore
    bulkhead: Bulkhead
    rate_limits: RateLimits
    mini_programs: MiniPrograms
    access_tokens: AccessTokens
    sessions: SessionStore

    def client_for(self, appid: str | None) -> WeChatClient:
        """Return the client of one of our mini-programs, or of the only one.

        Raises `UnknownMiniProgram`, or `MiniProgramNotNamed` if there are several.
        """
        return self.mini_programs.client_for(appid) if appid else self.mini_programs.only_client()

    def choose_client(self, appid: str | None, *, referer: str) -> WeChatClient:
        """Return the client of the mini-program that a login is for: named, else WeChat's word, else the only one.

        Raises what `client_for` does.
        """
        # A hint, which anybody can forge, as they can the body: a code is good for its own mini-program only.
        hinted = None if appid else _REFERER.match(referer)
        client = self.mini_programs.find(hinted[1]) if hinted else None
        return client or self.client_for(appid)

    def user_hash_of(self, openid: str, *, appid: str | None) -> str:
        """Return what stands for a user of one of our mini-programs in Redis; raises what `client_for` does."""
        return hash_of(User(self.client_for(appid).appid, openid))

    def log_in(
        self, code: str, *, client: WeChatClient, user_agent: str, replaced: SessionId | None
    ) -> StoredSession:
        """Exchange ``code`` and return a new session of its user; the session ``replaced`` ends.

        Whoever sends the same code meanwhile, or soon after, gets the same session. Raises `WeChatError` if WeChat
        does not name a user, `LoginRateLimited`, `StoreUnavailable` before the code is spent and
        `SessionNotStored` after.
        """
        claim = self.exchanges.claim(code, appid=client.appid)
        if not claim.is_ours:
            return self._await_outcome(claim, replaced)
        with claim:
            return self._exchange(claim, client, user_agent=user_agent, replaced=replaced)

    def _exchange(
        self, claim: CodeClaim, client: WeChatClient, *, user_agent: str, replaced: SessionId | None
    ) -> StoredSession:
        """Ask WeChat who the user is, and store a session."""
        with self.bulkhead.slot() as deadline:
            told = client.within(deadline).code2session(claim.code)
        user = User(client.appid, told.openid, told.unionid)
        self._count(user)
        now = self.sessions.now()
        record = SessionRecord(
            user=user, session_key=told.session_key, created_at=now, last_seen_at=now, user_agent=user_agent
        )
        try:
            return self.sessions.create(record, replaced=replaced, also_run=claim.outcome_script)
        except StoreUnavailable as error:
            raise SessionNotStored(str(error)) from error

    def _count(self, user: User) -> None:
        try:
            self.rate_limits.hit_user(hash_of(user), "login")
        except RateLimited as error:
            raise LoginRateLimited(error.retry_after_seconds) from None

    def _await_outcome(self, claim: CodeClaim, replaced: SessionId | None) -> StoredSession:
        """Wait for the session that another request gets for the same code, and return that."""
        if not claim.is_done:
            with self.bulkhead.slot(quick_seconds=SPARE_SECONDS) as deadline:
                claim.wait(deadline)
        try:
            stored = self._session_of(claim)
        except NotLoggedIn:  # it has ended since, so nothing is left of the code
            raise CodeUsed(_CODE_USED) from None
        logs.bind_user(stored.session_id.user_hash)
        if replaced and replaced != stored.session_id:
            self.sessions.delete(replaced, cause="replaced")
        events.emit("login_replayed", by=logger)
        return stored

    def _session_of(self, claim: CodeClaim) -> StoredSession:
        session_id = SessionId.parse(claim.session_id())
        if session_id is None:
            raise NotLoggedIn
        return self.sessions.get(session_id)

    def call_wechat(self, appid: str, call: Callable[[WeChatClient, str], Result]) -> Result:
        """Return what ``call`` returns, given the client and an access_token of the mini-program ``appid``.

        Raises `MiniProgramRemoved`, and what `AccessTokens.call` does.
        """
        try:
            client = self.client_for(appid)
        except UnknownMiniProgram:
            raise MiniProgramRemoved from None
        with self.bulkhead.slot() as deadline:
            return self.access_tokens.call(client.within(deadline), call)
