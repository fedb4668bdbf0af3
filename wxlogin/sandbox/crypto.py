"""What WeChat encrypts and signs with a `session_key`.

https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
"""

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7


def encrypt(text: str, *, session_key: str, iv: bytes) -> str:
    """Return the base64 of AES-128-CBC with PKCS#7 padding."""
    padder = PKCS7(AES128.block_size).padder()
    encryptor = Cipher(AES128(base64.b64decode(session_key)), CBC(iv)).encryptor()
    padded = padder.update(text.encode()) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def sign_raw_data(raw_data: str, *, session_key: str) -> str:
    """Return the `signature` that a mini-program gets beside its `rawData`: the key's text goes in."""
    return hashlib.sha1((raw_data + session_key).encode(), usedforsecurity=False).hexdigest()


def sign_message(message: bytes, *, session_key: str) -> str:
    """Return what `sig_method=hmac_sha256` stands for: HMAC under the key's text, which is not decoded."""
    return hmac.new(session_key.encode(), message, hashlib.sha256).hexdigest()
