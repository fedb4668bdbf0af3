"""``/user-data``: what the mini-program got from WeChat, encrypted or signed with a key that stays here."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from marshmallow import Schema, ValidationError, fields

from wxlogin.auth import ask_wechat, current_session
from wxlogin.routes.bodies import read_body
from wxlogin.services import Services
from wxlogin.wechat.base64_blocks import InvalidBase64, decode_blocks
from wxlogin.wechat.crypto import is_signature
from wxlogin.wechat.user_data import Owner, StaleSessionKey, read_user_data

blueprint = Blueprint("user_data", __name__, url_prefix="/user-data")

_IDS = ("openId", "unionId")
_MAX_BLOCKS = 32 * 1024 // 16


class _Blocks(fields.String):
    """Base64 of 1 to ``max_blocks`` blocks of 16 bytes, as bytes."""

    def __init__(self, *, max_blocks: int, **about: Any) -> None:
        super().__init__(required=True, **about)
        self._max_blocks = max_blocks

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bytes:  # type: ignore[override]  # text outside
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return decode_blocks(text, max_blocks=self._max_blocks)
        except InvalidBase64:
            raise ValidationError(f"Not base64 of {self._extent()}: send what WeChat gave, as it is.") from None

    def _extent(self) -> str:
        return "16 bytes" if self._max_blocks == 1 else f"1 to {self._max_blocks} blocks of 16 bytes"


class EncryptedSchema(Schema):
    """What WeChat's API functions give a mini-program about its user."""

    encrypted_data = _Blocks(
        max_blocks=_MAX_BLOCKS,
        data_key="encryptedData",
        metadata={
            "description": "In base64, as WeChat gave it.",
            "examples": ["CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrA="],
        },
    )
    iv = _Blocks(
        max_blocks=1,
        metadata={"description": "In base64, as WeChat gave it.", "examples": ["r7BXXKkLb8qrSNn05n0qiA=="]},
    )


class SignedSchema(Schema):
    """The user's profile in clear, exactly as WeChat gave it, and its signature."""

    raw_data = fields.String(
        required=True,
        data_key="rawData",
        metadata={
            "description": "As WeChat gave it, to the letter.",
            "examples": ['{"nickName":"Band","gender":1,"language":"zh_CN"}'],
        },
    )
    signature = fields.String(
        required=True,
        metadata={
            "description": "As WeChat gave it: 40 hexadecimal digits.",
            "examples": ["75e81ceda165f4ffa64f4068af58c64b8f54b88c"],
        },
    )


_encrypted, _signed = EncryptedSchema(), SignedSchema()


@blueprint.post("/decrypt")
def decrypt() -> Response:
    """Decrypt with any key of the user's; who the user is stays here, unless ``WXLOGIN_EXPOSE_OPENID``."""
    services, stored = Services.of(current_app), current_session().stored
    body = read_body(_encrypted)
    with services.rate_limits.counting_failures_of(stored.session_id.user_hash):
        payload = _read(body["encrypted_data"], body["iv"])
        if services.settings.confirm_phone_numbers and "phoneNumber" in payload:
            _confirm(body["encrypted_data"])
    return jsonify(payload if services.settings.expose_openid else _without_ids(payload))


def _read(ciphertext: bytes, iv: bytes) -> dict[str, Any]:
    services, user = Services.of(current_app), current_session().stored.record.user
    return read_user_data(
        ciphertext,
        iv,
        session_keys=current_session().session_keys(),
        owner=Owner(appid=user.appid, openid=user.openid, unionid=user.unionid),
        max_age_seconds=services.settings.watermark_max_age_seconds or None,
        now=services.sessions.now(),
    )


def _confirm(ciphertext: bytes) -> None:
    """Raise `StaleSessionKey` unless WeChat says that it has made this text, in the last three days."""
    digest = hashlib.sha256(b64encode(ciphertext)).hexdigest()
    if not ask_wechat(lambda client, token: client.checkencryptedmsg(token, digest)):
        raise StaleSessionKey


@blueprint.post("/verify")
def verify() -> Response:
    """Say whether the signature was made with any key of the user's over these very bytes."""
    body = read_body(_signed)
    found = [
        is_signature(body["signature"], raw_data=body["raw_data"], session_key=session_key)
        for session_key in current_session().session_keys()
    ]
    return jsonify(valid=any(found))


def _without_ids(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in _IDS}
