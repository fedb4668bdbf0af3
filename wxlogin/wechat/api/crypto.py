"""What a session_key decrypts and signs: pure functions, which tell no failure from another.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

from wxlogin.wechat.api.base64_blocks import BLOCK_BYTES, decode_exact_blocks

_PADDINGS = [bytes([length]) * length for length in range(1, BLOCK_BYTES + 1)]
_DUMMY_BLOCK = bytes(BLOCK_BYTES)


@dataclasses.dataclass(frozen=True, slots=True)
class Plaintext:
    """What came out of a decryption; unless it ``is_valid``, it is nothing but work to be done all the same."""

    data: bytes = dataclasses.field(repr=False)
    is_valid: bool


def decipher(ciphertext: bytes, iv: bytes, *, session_key: str) -> Plaintext:
    """Decrypt whole blocks, and return a failure as a value, after the same work as a success.

    ``session_key`` is base64, as WeChat gives it. Whoever goes on to look at the data should do so in either case,
    and ask ``is_valid`` last. A failure does not say why, or it would be a padding oracle.
    """
    key = decode_exact_blocks(session_key, max_blocks=1)
    padded = _decrypted(ciphertext, iv=iv, key=key or _DUMMY_BLOCK)
    padding = _padding_length(padded)
    return Plaintext(padded[: len(padded) - padding], bool(key) & bool(padding))


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


def _decrypted(blocks: bytes, *, iv: bytes, key: bytes) -> bytes:
    decryptor = Cipher(AES128(key), CBC(iv)).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def _padding_length(padded: bytes) -> int:
    """Return the length of the PKCS#7 padding, 0 if there is none; whatever there is, all 16 are compared."""
    matches = [hmac.compare_digest(padded[-len(padding) :], padding) for padding in _PADDINGS]
    return sum(length * is_match for length, is_match in enumerate(matches, start=1))
