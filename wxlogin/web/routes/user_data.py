"""``/user-data``: what the mini-program got from WeChat, encrypted or signed with a key that stays here."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Annotated, Any

import msgspec
from flask import current_app
from werkzeug.exceptions import BadRequest

from wxlogin.login.service import MiniProgramRemoved
from wxlogin.services import Services
from wxlogin.web.request_body import read_body
from wxlogin.web.routing import COMMON_ERRORS, OF_USER, USER, Answer, Operation, Routes, any_of, described
from wxlogin.web.session_context import call_wechat, current_session
from wxlogin.wechat.api import errors as wechat
from wxlogin.wechat.api.base64_blocks import BLOCK_BYTES, InvalidBase64, decode_blocks
from wxlogin.wechat.api.crypto import is_signature
from wxlogin.wechat.api.user_data import (
    ForeignPhoneNumber,
    Owner,
    PhoneNumberNotChecked,
    StaleSessionKey,
    UnknownUserData,
    read_user_data,
)
from wxlogin.wechat.api.user_data_kinds import KINDS

blueprint = Routes("user_data", url_prefix="/user-data", limit="user_data")

_IDS = ("openId", "unionId")
_MAX_BLOCKS = 32 * 1024 // BLOCK_BYTES

# Base64 of 48, 32 and 16 bytes, to the letter.
_THREE_BLOCKS = "[A-Za-z0-9+/]{64}"
_TWO_BLOCKS = "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
_ONE_BLOCK = "[A-Za-z0-9+/]{21}[AQgw]=="


class Encrypted(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What WeChat's API functions give a mini-program about its user."""

    encrypted_data: Annotated[
        str,
        described(
            f"In base64, as WeChat gave it: 1 to {_MAX_BLOCKS} blocks of 16 bytes.",
            "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrA=",
            pattern=f"^({_THREE_BLOCKS})*({_THREE_BLOCKS}|{_TWO_BLOCKS}|{_ONE_BLOCK})$",
            maxLength=(_MAX_BLOCKS * BLOCK_BYTES + 2) // 3 * 4,
        ),
    ]
    iv: Annotated[
        str,
        described(
            "In base64, as WeChat gave it: 16 bytes.", "r7BXXKkLb8qrSNn05n0qiA==", pattern=f"^{_ONE_BLOCK}$"
        ),
    ]


class Signed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The user's profile in clear, exactly as WeChat gave it, and its signature."""

    raw_data: Annotated[
        str, described("As WeChat gave it, to the letter.", '{"nickName":"Band","gender":1,"language":"zh_CN"}')
    ]
    signature: Annotated[
        str,
        described("As WeChat gave it: 40 hexadecimal digits.", "75e81ceda165f4ffa64f4068af58c64b8f54b88c"),
    ]


class Signature(Answer):
    """Whether the signature is right."""

    valid: Annotated[
        bool, described("Whether a `session_key` of the user's made the signature of these very bytes.", True)
    ]


@blueprint.route_of(
    "POST",
    "/decrypt",
    Operation(
        tag="User data",
        callers=USER,
        takes=Encrypted,
        says="What WeChat encrypted, without its watermark: one of these kinds, and fields that WeChat has added.",
        content={"application/json": any_of(*KINDS.values())},
        raises=(
            *(*COMMON_ERRORS, *OF_USER, StaleSessionKey, UnknownUserData),
            # With WXLOGIN_CONFIRM_PHONE_NUMBERS.
            *(PhoneNumberNotChecked, wechat.CredentialsRejected, wechat.WeChatAPIError, wechat.RateLimited),
            MiniProgramRemoved,
        ),
    ),
)
def decrypt() -> dict[str, Any]:
    """Decrypt with any key of the user's; who the user is stays here, unless ``WXLOGIN_EXPOSE_OPENID``."""
    body, services = read_body(Encrypted), Services.of(current_app)
    stored = current_session().stored
    ciphertext, iv = _blocks_in(body)
    with services.rate_limits.counting_failures_of(stored.session_id.user_hash):
        payload = _read(ciphertext, iv)
        if services.settings.confirm_phone_numbers and "phoneNumber" in payload:
            _confirm(ciphertext)
    return payload if services.settings.expose_openid else _without_ids(payload)


def _blocks_in(body: Encrypted) -> tuple[bytes, bytes]:
    """Return the encrypted data and its IV, or raise `BadRequest` that tells what is wrong with either."""
    ciphertext = _blocks_or_none(body.encrypted_data, max_blocks=_MAX_BLOCKS)
    iv = _blocks_or_none(body.iv, max_blocks=1)
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
    except (wechat.ConnectionFailed, wechat.ResponseLost, wechat.InvalidResponse, wechat.SystemBusy) as error:
        raise PhoneNumberNotChecked(str(error)) from None
    if not is_wechats:
        raise ForeignPhoneNumber


@blueprint.route_of(
    "POST",
    "/verify",
    Operation(
        tag="User data",
        callers=USER,
        takes=Signed,
        says="Whether the signature is right.",
        answers=Signature,
        raises=(*COMMON_ERRORS, *OF_USER),
    ),
)
def verify() -> Signature:
    """Say whether the signature was made with any key of the user's over these very bytes."""
    body = read_body(Signed)
    found = [
        is_signature(body.signature, raw_data=body.raw_data, session_key=session_key)
        for session_key in current_session().session_keys()
    ]
    return Signature(valid=any(found))


def _without_ids(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in _IDS}
