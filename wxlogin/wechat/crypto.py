"""What a session_key decrypts and signs: pure functions, which tell no failure from another.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

_BLOCK_BYTES = 16
_MOST_BLOCKS = 32 * 1024 // _BLOCK_BYTES
_PADDINGS = [bytes([length]) * length for length in range(1, _BLOCK_BYTES + 1)]
_STAND_IN = bytes(_BLOCK_BYTES)


class DecryptionFailed(Exception):
    """Raised if data does not decrypt; it does not say why, or it would be a padding oracle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plaintext:
    """What came out of a decryption; unless it ``is_sound``, it is nothing but work to be done all the same."""

    data: bytes = dataclasses.field(repr=False)
    is_sound: bool


def decrypt(encrypted_data: str, iv: str, *, session_key: str) -> bytes:
    """Return what WeChat encrypted, or raise `DecryptionFailed`. All three are base64, as WeChat gives them."""
    plaintext = decipher(encrypted_data, iv, session_key=session_key)
    if not plaintext.is_sound:
        raise DecryptionFailed
    return plaintext.data


def decipher(encrypted_data: str, iv: str, *, session_key: str) -> Plaintext:
    """Decrypt like `decrypt`, but return a failure as a value, after the same work as a success.

    Whoever goes on to look at the data should do so in either case, and ask ``is_sound`` last.
    """
    blocks = _blocks_of(encrypted_data, most=_MOST_BLOCKS)
    first, key = _blocks_of(iv, most=1), _blocks_of(session_key, most=1)
    padded = _decrypted(blocks or _STAND_IN, iv=first or _STAND_IN, key=key or _STAND_IN)
    padding = _padding_length(padded)
    is_sound = bool(blocks) & bool(first) & bool(key) & bool(padding)
    return Plaintext(padded[: len(padded) - padding], is_sound)


def signature_of(raw_data: str, *, session_key: str) -> str:
    """Return the ``signature`` that WeChat gives the mini-program along with ``rawData``.

    A lone surrogate, which JSON can smuggle in, has no UTF-8: it is hashed all the same, and nothing fits it.
    """
    signed = (raw_data + session_key).encode(errors="surrogatepass")
    return hashlib.sha1(signed, usedforsecurity=False).hexdigest()  # WeChat's choice, not ours


def is_signature(signature: str, *, raw_data: str, session_key: str) -> bool:
    """Say whether WeChat signed ``raw_data``. The one spelling that it sends counts: lower-case hex."""
    expected = signature_of(raw_data, session_key=session_key)
    return hmac.compare_digest(signature.encode(errors="surrogatepass"), expected.encode())


def session_signature(session_key: str, body: bytes = b"") -> str:
    """Return the ``signature`` of a call about a user's session (``sig_method=hmac_sha256``).

    The key is the session_key's text, not what it is base64 of; a call without a body signs the empty one.

    https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey
    """
    return hmac.new(session_key.encode(), body, hashlib.sha256).hexdigest()


def _blocks_of(text: str, *, most: int) -> bytes:
    """Return the AES blocks, 1 to ``most``, that ``text`` is base64 of; none if it is anything else.

    Form decoding turns pluses into spaces: they are turned back. Nothing else is mended or skipped: encoded again,
    it has to be the same text.
    """
    if len(text) > (most * _BLOCK_BYTES + 2) // 3 * 4:
        return b""
    text = text.replace(" ", "+")
    try:
        blocks = b64decode(text)
    except ValueError:
        return b""
    is_exact = b64encode(blocks).decode() == text
    return blocks if is_exact and len(blocks) % _BLOCK_BYTES == 0 else b""


def _decrypted(blocks: bytes, *, iv: bytes, key: bytes) -> bytes:
    decryptor = Cipher(AES128(key), CBC(iv)).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def _padding_length(padded: bytes) -> int:
    """Return the length of the PKCS#7 padding, 0 if there is none; whatever there is, all 16 are compared."""
    matches = [hmac.compare_digest(padded[-len(padding) :], padding) for padding in _PADDINGS]
    return sum(length * is_match for length, is_match in enumerate(matches, start=1))
