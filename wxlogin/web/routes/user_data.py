"""``/user-data``: what the mini-program got from WeChat, encrypted or signed with a key that stays here."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from marshmallow import Schema, fields
from werkzeug.exceptions import BadRequest

from wxlogin.services import Services
from wxlogin.web.request_body import read_body
from wxlogin.web.session_context import call_wechat, current_session
from wxlogin.wechat.api.base64_blocks import BLOCK_BYTES, InvalidBase64, decode_blocks
from wxlogin.wechat.api.crypto import is_signature
from wxlogin.wechat.api.errors import ConnectionFailed, InvalidResponse, ResponseLost, SystemBusy
from wxlogin.wechat.api.user_data import ForeignPhoneNumber, Owner, PhoneNumberNotChecked, read_user_data

blueprint = Blueprint("user_data", __name__, url_prefix="/user-data")

_IDS = ("openId", "unionId")
_MAX_BLOCKS = 32 * 1024 // BLOCK_BYTES

# Base64 of 48, 32 and 16 bytes, to the letter.
_THREE_BLOCKS = "[A-Za-z0-9+/]{64}"
_TWO_BLOCKS = "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
_ONE_BLOCK = "[A-Za-z0-9+/]{21}[AQgw]=="


class EncryptedSchema(Schema):
    """What WeChat's API functions give a mini-program about its user."""

    encrypted_data = fields.String(
        required=True,
        data_key="encryptedData",
        metadata={
            "description": f"In base64, as WeChat gave it: 1 to {_MAX_BLOCKS} blocks of 16 bytes.",
            "pattern": f"^({_THREE_BLOCKS})*({_THREE_BLOCKS}|{_TWO_BLOCKS}|{_ONE_BLOCK})$",
            "maxLength": (_MAX_BLOCKS * BLOCK_BYTES + 2) // 3 * 4,
            "examples": ["CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrA="],
        },
    )
    iv = fields.String(
        required=True,
        metadata={
            "description": "In base64, as WeChat gave it: 16 bytes.",
            "pattern": f"^{_ONE_BLOCK}$",
            "examples": ["r7BXXKkLb8qrSNn05n0qiA=="],
        },
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
    body, services = read_body(_encrypted), Services.of(current_app)
    stored = current_session().stored
    ciphertext, iv = _blocks_in(body)
    with services.rate_limits.counting_failures_of(stored.session_id.user_hash):
        payload = _read(ciphertext, iv)
        if services.settings.confirm_phone_numbers and "phoneNumber" in payload:
            _confirm(ciphertext)
    return jsonify(payload if services.settings.expose_openid else _without_ids(payload))


def _blocks_in(body: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the encrypted data and its IV, or raise `BadRequest` that tells what is wrong with either."""
    ciphertext = _blocks_or_none(body["encrypted_data"], max_blocks=_MAX_BLOCKS)
    iv = _blocks_or_none(body["iv"], max_blocks=1)
    if ciphertext and iv:
        return ciphertext, iv
    problems = {f"encryptedData: Not base64 of 1 to {_MAX_BLOCKS} blocks of 16 bytes": ciphertext}
    problems |= {"iv: Not base64 of 16 bytes": iv}
    raise BadRequest(
        " ".join(f"{text}: send what WeChat gave, as it is." for text, is_fine in problems.items() if not is_fine)
    )


def _blocks_or_none(text: str, *, max_blocks: int) -> bytes | None:
    try:
        return decode_blocks(text, max_blocks=max_blocks)
    except InvalidBase64:
        return None


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
    """Raise `ForeignPhoneNumber` unless WeChat says that it has made this text, in the last three days.

    Raises `PhoneNumberNotChecked` if WeChat does not say, and what `call_wechat` does.
    """
    digest = hashlib.sha256(b64encode(ciphertext)).hexdigest()
    try:
        is_wechats = call_wechat(lambda client, token: client.checkencryptedmsg(token, digest))
    except (ConnectionFailed, ResponseLost, InvalidResponse, SystemBusy) as error:
        raise PhoneNumberNotChecked(str(error)) from None
    if not is_wechats:
        raise ForeignPhoneNumber


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
