"""WeChat's endpoints, as methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from wxlogin.resilience.deadline import NEVER, Deadline
from wxlogin.wechat.api.crypto import session_signature
from wxlogin.wechat.api.errors import CodeUsed, InvalidCode, InvalidSessionKey, WeChatAPIError
from wxlogin.wechat.api.http import WeChatApi
from wxlogin.wechat.api.models import (
    AccessToken,
    CodeSession,
    PhoneNumber,
    access_token_of,
    check_is_ok,
    code_session_of,
    is_encrypted_by_wechat,
    phone_number_of,
    session_key_of,
)
from wxlogin.wechat.api.transport import Call

_DATA_NOT_FOUND = 1  # what checkencryptedmsg says of a text that is not its own, or is older than three days


class WeChatClient:
    """WeChat's API for one mini-program. Thread-safe; all of a process share ``api``.

    Every method raises `WeChatError`: `WeChatAPIError` and its kin where WeChat said no. No exception that leaves
    it, and no log line, has the secret, a token, a code or anything of the answer but its errcode and rid.
    """

    def __init__(self, appid: str, secret: str, *, api: WeChatApi, deadline: Deadline = NEVER) -> None:
        self.appid = appid
        self.deadline = deadline
        self._secret = secret
        self._api = api

    def within(self, deadline: Deadline) -> WeChatClient:
        """Return the client of the same mini-program for calls that are over by then."""
        client = copy.copy(self)
        client.deadline = deadline
        return client

    def code2session(self, js_code: str) -> CodeSession:
        """Exchange the code of a ``wx.login()`` for who the user is; each code works once, for five minutes.

        https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session
        """
        query = {
            "appid": self.appid,
            "secret": self._secret,
            "js_code": js_code,
            "grant_type": "authorization_code",
        }
        return code_session_of(self._call("/sns/jscode2session", query, done_already=(CodeUsed,)))

    def token(self) -> AccessToken:
        """Fetch a new access_token; the one before it works for five minutes more.

        https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getAccessToken.html
        """
        return access_token_of(self._call("/cgi-bin/token", self._credentials()))

    def stable_token(self, *, force_refresh: bool = False) -> AccessToken:
        """Fetch the access_token that all who ask share; ``force_refresh`` replaces it, and voids it at once.

        WeChat heeds ``force_refresh`` 20 times a day and not within 30 seconds; else it does nothing.

        https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getStableAccessToken.html
        """
        body = {**self._credentials(), "force_refresh": force_refresh}
        return access_token_of(self._call("/cgi-bin/stable_token", {}, body=body))

    def getuserphonenumber(self, access_token: str, code: str, *, openid: str) -> PhoneNumber:
        """Exchange the code of a ``getPhoneNumber`` button; it works once, and for this user only.

        https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/phone-number/getPhoneNumber.html
        """
        answer = self._call(
            "/wxa/business/getuserphonenumber",
            {"access_token": access_token},
            body={"code": code, "openid": openid},
            done_already=(InvalidCode, CodeUsed),
        )
        return phone_number_of(answer, appid=self.appid)

    def checkencryptedmsg(self, access_token: str, encrypted_msg_hash: str) -> bool:
        """Return whether WeChat has encrypted a phone number to the text of this hash, in the last three days.

        The hash is SHA-256 in hex, of ``encryptedData`` as base64; the IV is not part of it.

        https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/basic-info/checkEncryptedData.html
        """
        body = {"encrypted_msg_hash": encrypted_msg_hash}
        try:
            answer = self._call("/wxa/business/checkencryptedmsg", {"access_token": access_token}, body=body)
        except WeChatAPIError as refusal:
            if refusal.errcode == _DATA_NOT_FOUND:
                return False
            raise
        return is_encrypted_by_wechat(answer)

    def checksession(self, access_token: str, *, openid: str, session_key: str) -> bool:
        """Say whether a session_key is the user's, and still good.

        https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey
        """
        query = _signed(access_token, openid=openid, session_key=session_key)
        try:
            answer = self._call("/wxa/checksession", query)
        except InvalidSessionKey:
            return False
        check_is_ok(answer)
        return True

    def resetusersessionkey(self, access_token: str, *, openid: str, session_key: str) -> str:
        """Replace a session_key, void at once, by the new one that is returned; it lives no longer than the old.

        https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_resetusersessionkey
        """
        query = _signed(access_token, openid=openid, session_key=session_key)
        answer = self._call("/wxa/resetusersessionkey", query, done_already=(InvalidSessionKey,))
        return session_key_of(answer, openid=openid)

    def _call(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None = None,
        done_already: tuple[type[WeChatAPIError], ...] = (),
    ) -> Mapping[str, Any]:
        return self._api.call(Call(path, query, body), deadline=self.deadline, done_already=done_already)

    def _credentials(self) -> dict[str, str]:
        return {"grant_type": "client_credential", "appid": self.appid, "secret": self._secret}


def _signed(access_token: str, *, openid: str, session_key: str) -> dict[str, str]:
    return {
        "access_token": access_token,
        "openid": openid,
        "signature": session_signature(session_key),
        "sig_method": "hmac_sha256",
    }
