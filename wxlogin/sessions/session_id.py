"""The id in the cookie: which user it belongs to, and which of the user's sessions it opens."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from base64 import urlsafe_b64encode

from wxlogin.sessions.record import User

USER_HASH_LENGTH = 16
LENGTH = USER_HASH_LENGTH + 43
HANDLE_LENGTH = 22

_PATTERN = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}")
_HANDLE = re.compile(rf"[A-Za-z0-9_-]{{{HANDLE_LENGTH}}}")


@dataclasses.dataclass(frozen=True, slots=True)
class SessionId:
    """16 characters of a hash of the user, then 43 random ones (256 bits), all URL-safe.

    Redis sees the user's hash and a hash of the random part, so what is in Redis opens nothing.
    """

    user_hash: str
    random: str = dataclasses.field(repr=False)

    @classmethod
    def new(cls, user: User) -> SessionId:
        """Make an id that nobody has had before."""
        return cls(hash_of(user), secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> SessionId | None:
        """Return the id that ``text`` is, or None if it can't be one."""
        if not _PATTERN.fullmatch(text):
            return None
        return cls(text[:USER_HASH_LENGTH], text[USER_HASH_LENGTH:])

    @property
    def text(self) -> str:
        """The id as the client holds it: a secret."""
        return self.user_hash + self.random

    @property
    def key(self) -> str:
        """The Redis key of the user's hash of sessions."""
        return key_of(self.user_hash)

    @property
    def field(self) -> str:
        """The field of this session in that hash, and its public handle; 128 bits of SHA-256, URL-safe."""
        return _url_safe(hashlib.sha256(self.random.encode()).digest()[:16])


def is_handle(text: str) -> bool:
    """Say whether ``text`` can be the handle of a session."""
    return bool(_HANDLE.fullmatch(text))


def key_of(user_hash: str) -> str:
    """Return the Redis key of a user's hash of sessions."""
    return f"wxlogin:user:{user_hash}"


def user_hash_in(key: str) -> str:
    """Return what `key_of` made the key of."""
    return key.removeprefix(key_of(""))


def hash_of(user: User) -> str:
    """Return the part of a session id, and of a Redis key, that stands for ``user``.

    It needs no secret: an openid is no more guessable than its hash.
    """
    digest = hashlib.sha256(f"{user.appid}\0{user.openid}".encode()).digest()
    return _url_safe(digest)[:USER_HASH_LENGTH]


def _url_safe(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
