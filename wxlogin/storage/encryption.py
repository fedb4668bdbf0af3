"""Authenticated encryption: nobody but us can read what is written to Redis, or move or alter it unnoticed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

_NONCE_BYTES = 12


class DecryptionError(Exception):
    """Raised if bytes were not sealed under one of our keys for this place, or were altered since."""


class RecordCipher:
    """AES-256-GCM (NIST SP 800-38D) under the newest secret key; the older ones decrypt what they encrypted.

    Each ``context``, a place in Redis, gets a key of its own (HKDF, RFC 5869): GCM allows 2^32 random nonces to a
    key, which a busy service would use up in months, and one place never will.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [_derive(secret_key) for secret_key in secret_keys]

    def encrypt(self, data: bytes, *, context: bytes, associated_data: bytes) -> bytes:
        """Return nonce, ciphertext and tag; to decrypt them, ``associated_data`` has to be the same, and given."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + _cipher(self._keys[0], context).encrypt(nonce, data, associated_data)

    def decrypt(self, ciphertext: bytes, *, context: bytes, associated_data: bytes) -> bytes:
        """Return what `encrypt` was given, or raise `DecryptionError`."""
        for key in self._keys:
            try:
                cipher, nonce = _cipher(key, context), ciphertext[:_NONCE_BYTES]
                return cipher.decrypt(nonce, ciphertext[_NONCE_BYTES:], associated_data)
            except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
                continue
        raise DecryptionError


def _derive(secret_key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=b"wxlogin", info=b"seal").derive(secret_key.encode())


def _cipher(key: bytes, context: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(algorithm=SHA256(), length=32, info=context).derive(key))
