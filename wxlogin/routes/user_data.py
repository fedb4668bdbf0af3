"""``/user-data``: what the mini-program got from WeChat, encrypted or signed with a key that stays here."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from marshmallow import Schema, fields

from wxlogin.auth import current_session
from wxlogin.routes.bodies import read_body
from wxlogin.services import Services
from wxlogin.wechat.crypto import is_signature
from wxlogin.wechat.user_data import read_user_data

blueprint = Blueprint("user_data", __name__, url_prefix="/user-data")

_IDS = ("openId", "unionId")


class EncryptedSchema(Schema):
    """What WeChat's API functions give a mini-program about its user."""

    encrypted_data = fields.String(
        required=True,
        data_key="encryptedData",
        metadata={
            "description": "In base64, as WeChat gave it.",
            "examples": ["CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZM"],
        },
    )
    iv = fields.String(
        required=True,
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
    body, services = read_body(_encrypted), Services.of(current_app)
    stored = current_session().stored
    user = stored.record.user
    with services.rate_limits.counting_failures_of(stored.session_id.user_hash):
        payload = read_user_data(
            body["encrypted_data"],
            body["iv"],
            session_keys=current_session().session_keys(),
            appid=user.appid,
            openid=user.openid,
            max_age_seconds=services.settings.watermark_max_age_seconds or None,
            now=services.sessions.now(),
        )
    return jsonify(payload if services.settings.expose_openid else _without_ids(payload))


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
