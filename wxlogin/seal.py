"""Sealing: what is written to Redis can be read, and moved or altered unnoticed, by nobody but us."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

_NONCE_BYTES = 12


class BrokenSeal(Exception):
    """Raised if bytes were not sealed under one of our keys for this place, or were altered since."""


class Seal:
    """AES-256-GCM (NIST SP 800-38D) under the newest secret key; the older ones open what they sealed.

    Each place gets a key of its own (HKDF, RFC 5869): GCM allows 2^32 random nonces to a key, which a busy
    service would use up in months, and a place in Redis never will.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [_derive(secret_key) for secret_key in secret_keys]

    def seal(self, data: bytes, *, place: bytes, label: bytes) -> bytes:
        """Return ``data`` sealed for ``place``; ``label`` is not stored, but has to be the same to open it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + _cipher(self._keys[0], place).encrypt(nonce, data, label)

    def open(self, sealed: bytes, *, place: bytes, label: bytes) -> bytes:
        """Return what `seal` was given, or raise `BrokenSeal`."""
        for key in self._keys:
            try:
                return _cipher(key, place).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
            except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
                continue
        raise BrokenSeal


def _derive(secret_key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=b"wxlogin", info=b"seal").derive(secret_key.encode())


def _cipher(key: bytes, place: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(algorithm=SHA256(), length=32, info=place).derive(key))
