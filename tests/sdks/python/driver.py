"""A back end with wechatpy: it does what it is told on stdin, a JSON line each, and answers on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from wechatpy import WeChatClient
from wechatpy.crypto import WeChatWxaCrypto
from wechatpy.exceptions import WeChatException

# The SDK has no method for it, and sends whatever one has an address for.
PHONE_NUMBER = "https://api.weixin.qq.com/wxa/business/getuserphonenumber"
TIMEOUT_SECONDS = 20


class Backend:
    """What the SDK offers, by the names of the commands."""

    def __init__(self, appid: str, secret: str) -> None:
        self._appid = appid
        self._client = WeChatClient(appid, secret, timeout=TIMEOUT_SECONDS)

    def log_in(self, code: str) -> Any:
        return self._client.wxa.code_to_session(code)

    def access_token(self) -> Any:
        return self._client.access_token

    def renew_token(self) -> Any:
        return self._client.fetch_access_token()

    def phone_number(self, code: str) -> Any:
        return self._client.post(PHONE_NUMBER, data={"code": code})["phone_info"]

    def decrypt(self, session_key: str, encryptedData: str, iv: str) -> Any:  # noqa: N803 (WeChat's name)
        return WeChatWxaCrypto(session_key, iv, self._appid).decrypt_message(encryptedData)


def answer(backend: Backend, do: str, **told: str) -> dict[str, Any]:
    """Do what is told, and return what comes of it."""
    try:
        return {"result": getattr(backend, do)(**told)}
    except (WeChatException, ValueError, OSError) as error:
        return {"error": {"errcode": getattr(error, "errcode", None), "message": repr(error)}}


def main(appid: str, secret: str, _tokens: str) -> None:
    """Serve until stdin ends; the SDK knows one kind of token."""
    backend = Backend(appid, secret)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(backend, **json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
