"""What a session remembers, and its bytes: msgpack with a schema, and nothing that could run."""

from __future__ import annotations

import dataclasses
import re
import zlib
from base64 import b64decode, b64encode
from typing import Any, Literal

import msgspec

USER_AGENT_LENGTH = 255

_APPID = re.compile("wx[0-9a-f]{16}")

# What WeChat's user agents are made of, the most frequent last: with it, 320 characters take 60 bytes.
# It is part of the format: records written with another one can't be read.
_USER_AGENTS = (
    b"Mozilla/5.0 (Windows NT 6.1; WOW64) Chrome/98.0.4758.102 NetType/WIFI MiniProgramEnv/Windows "
    b"WindowsWechat/WMPF Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) MiniProgramEnv/Mac MacWechat/ "
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    b"Mobile/15E148 MicroMessenger/8.0.50(0x1800) NetType/WIFI Language/zh_CN Mozilla/5.0 (Linux; Android 14; "
    b"Build/; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/107.0.5304.141 Mobile "
    b"Safari/537.36 XWEB/5023 MMWEBSDK/2024 MMWEBID/ MicroMessenger/8.0.50.2300(0x2800) WeChat/arm64 Weixin "
    b"GPVersion/1 NetType/4G Language/zh_CN ABI/arm64 MiniProgramEnv/android"
)


class UnreadableRecord(Exception):
    """Raised if bytes are not a record that this version writes."""


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Who: an ``openid`` means something together with its ``appid`` only."""

    appid: str
    openid: str = dataclasses.field(repr=False)
    unionid: str | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """All that is kept about a session; times are Unix seconds."""

    user: User
    session_key: str = dataclasses.field(repr=False)
    created_at: int
    last_seen_at: int
    user_agent: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as ``flask.session`` shows it, without levels."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        user = values.pop("user")
        return {"appid": user.appid, "openid": user.openid, "unionid": user.unionid, **values}

    def encode(self) -> bytes:
        """Return the record's bytes, which `decode` reads."""
        packed = _Packed(
            1,
            _pack_appid(self.user.appid),
            self.user.openid,
            self.user.unionid,
            _pack_key(self.session_key),
            self.created_at,
            self.last_seen_at - self.created_at,
            _deflate(self.user_agent[:USER_AGENT_LENGTH]),
        )
        return msgspec.msgpack.encode(packed)

    @classmethod
    def decode(cls, data: bytes) -> SessionRecord:
        """Return the record that ``data`` holds, or raise `UnreadableRecord`."""
        try:
            packed = _decoder.decode(data)
            return cls(
                user=User(_unpack_appid(packed.appid), packed.openid, packed.unionid),
                session_key=_unpack_key(packed.session_key),
                created_at=packed.created_at,
                last_seen_at=packed.created_at + packed.seen_after,
                user_agent=_inflate(packed.user_agent),
            )
        except (msgspec.DecodeError, UnicodeDecodeError, zlib.error) as error:
            raise UnreadableRecord(type(error).__name__) from None


class _Packed(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: Literal[1]
    appid: bytes | tuple[str]
    openid: str
    unionid: str | None
    session_key: bytes | tuple[str]
    created_at: int
    seen_after: int
    user_agent: bytes


_decoder = msgspec.msgpack.Decoder(_Packed)


def _pack_appid(appid: str) -> bytes | tuple[str]:
    """Return the 8 bytes that are in WeChat's 18 characters; anything else as it is."""
    return bytes.fromhex(appid[2:]) if _APPID.fullmatch(appid) else (appid,)


def _unpack_appid(packed: bytes | tuple[str]) -> str:
    return f"wx{packed.hex()}" if isinstance(packed, bytes) else packed[0]


def _pack_key(session_key: str) -> bytes | tuple[str]:
    """Return the 16 bytes that WeChat's 24 characters stand for; anything else as it is."""
    try:
        key = b64decode(session_key, validate=True)
    except ValueError:
        return (session_key,)
    return key if b64encode(key).decode() == session_key else (session_key,)


def _unpack_key(packed: bytes | tuple[str]) -> str:
    return b64encode(packed).decode() if isinstance(packed, bytes) else packed[0]


def _deflate(text: str) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_USER_AGENTS)
    return deflate.compress(text.encode("utf-8", "replace")) + deflate.flush()


def _inflate(data: bytes) -> str:
    inflate = zlib.decompressobj(-15, zdict=_USER_AGENTS)
    return inflate.decompress(data, 4 * USER_AGENT_LENGTH).decode()
