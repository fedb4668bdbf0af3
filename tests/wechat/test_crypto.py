"""The official vectors, and all that is not quite like them."""

from __future__ import annotations

import unicodedata
from base64 import b64decode, b64encode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wechat.drivers import SESSION_KEY
from wxlogin.wechat.api.crypto import Plaintext, decipher, is_signature, session_signature, signature_of

IV = "r7BXXKkLb8qrSNn05n0qiA=="

# Of WeChat's WXBizDataCrypt demo.
OFFICIAL_DATA = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+4lGOET"
    "KUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXw"
    "u0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UI"
    "eorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYV"
    "oKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)
OFFICIAL_TEXT = (
    b'{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou",'
    b'"province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kj'
    b'giak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsnfN5pRjl1p8HQ/0","unionId":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA",'
    b'"watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}}'
)

SIGNING_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
RAW_DATA = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpuj'
    'xyzYsrztuuICqIM5ibXQ/0"}'
)
SIGNATURE = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"

# Of EncryptHelperTests.cs in JeffreySu/WeiXinMPSDK: CheckSignatureTest.
CHINESE_SIGNING_KEY = "lEIWEBVlmAj/Ng0t54iahA=="
CHINESE_RAW_DATA = (
    '{"nickName":"苏震巍","gender":1,"language":"zh_CN","city":"Suzhou","province":"Jiangsu","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/PiajxSqBRaEKXyjX4N6I5Vx1aeiaBeJ2iaTLy15n0HgvjNbWEpKA3ZbdgXkOhWK7OH8ia'
    'r3iaLxsZia5Ha4DnRPlMerw/0"}'
)
CHINESE_SIGNATURE = "1149a88c75125de3146040c90d7bcc4b2a564a34"

# "é" in one character and in two: the same to people, not to SHA-1.
COMPOSED = unicodedata.normalize("NFC", "Renée")
DECOMPOSED = unicodedata.normalize("NFD", "Renée")


def encrypted(padded: bytes, *, session_key: str = SESSION_KEY, iv: str = IV) -> str:
    """Return the base64 of ``padded`` encrypted: whole blocks, the last one padded or not."""
    encryptor = Cipher(AES128(b64decode(session_key)), CBC(b64decode(iv))).encryptor()
    return b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def base64_of(length: int) -> str:
    return b64encode(b"x" * length).decode()


def opened(encrypted_data: str, iv: str = IV, *, session_key: str = SESSION_KEY) -> Plaintext:
    return decipher(b64decode(encrypted_data), b64decode(iv), session_key=session_key)


def test_the_official_vector_decrypts() -> None:
    assert opened(OFFICIAL_DATA) == Plaintext(OFFICIAL_TEXT, is_valid=True)


@pytest.mark.parametrize("length", range(17))
def test_every_length_of_padding_is_taken_off(length: int) -> None:
    text, padding = b"x" * length, 16 - length % 16

    assert opened(encrypted(text + bytes([padding]) * padding)) == Plaintext(text, is_valid=True)


@given(
    text=st.binary(max_size=100), key=st.binary(min_size=16, max_size=16), iv=st.binary(min_size=16, max_size=16)
)
def test_what_was_encrypted_comes_back(text: bytes, key: bytes, iv: bytes) -> None:
    session_key, iv_text, padding = b64encode(key).decode(), b64encode(iv).decode(), 16 - len(text) % 16
    padded = text + bytes([padding]) * padding

    encrypted_data = encrypted(padded, session_key=session_key, iv=iv_text)

    assert opened(encrypted_data, iv_text, session_key=session_key) == Plaintext(text, is_valid=True)


PADDINGS = {
    "zero": b"x" * 15 + b"\x00",
    "one more than a block": b"\x11" * 32,
    "far more than a block": b"x" * 15 + b"\xc8",
    "more than there is": b"\x20" * 16,
    "its first byte differs": b"x" * 12 + b"\x05\x04\x04\x04",
    "its middle differs": b"x" * 12 + b"\x04\x04\x05\x04",
    "a full block, but for one byte": b"\x00" + b"\x10" * 15,
    "missing": b"x" * 16,
    "followed by something": b"x" * 12 + b"\x03\x03\x03\x00",
}
BROKEN_KEYS = {
    "empty": "",
    "no padding": SESSION_KEY.rstrip("="),
    "too much padding": SESSION_KEY + "=",
    "bits that decoding drops": SESSION_KEY[:-3] + chr(ord(SESSION_KEY[-3]) + 1) + "==",
    "the URL-safe alphabet": urlsafe_b64encode(b"\xff" * 16).decode(),
    "hexadecimal": b64decode(SESSION_KEY).hex(),
    "a line break at the end": SESSION_KEY + "\n",
    "spaces around": f" {SESSION_KEY} ",
    "full-width letters": SESSION_KEY.replace("t", "ｔ"),
    "a lone surrogate": SESSION_KEY[:-3] + "\ud800==",
    **{f"{n} bytes": base64_of(n) for n in (1, 15, 17, 18, 24, 32)},
}
FAILURES = {
    **{f"padding: {name}": (encrypted(padded), IV, SESSION_KEY) for name, padded in PADDINGS.items()},
    **{f"key: {name}": (OFFICIAL_DATA, IV, text) for name, text in BROKEN_KEYS.items()},
    "data: one block": (base64_of(16), IV, SESSION_KEY),
    "another key": (OFFICIAL_DATA, IV, SIGNING_KEY),
    "another key (WxJava's testDecrypt)": (OFFICIAL_DATA, "TarMFjnzHVxy8pdS93wQbw==", "7MG7jbTToVVRWRXVA885rg=="),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_a_value_that_is_not_sound(failure: tuple[str, str, str]) -> None:
    encrypted_data, iv, session_key = failure

    assert not opened(encrypted_data, iv, session_key=session_key).is_valid


def test_what_stands_in_for_a_broken_key_opens_nothing() -> None:
    zeros = b64encode(bytes(16)).decode()
    encrypted_data = encrypted(b"\x10" * 16, session_key=zeros)

    assert opened(encrypted_data, session_key=zeros) == Plaintext(b"", is_valid=True)
    assert not opened(encrypted_data, session_key="?").is_valid


@given(blocks=st.binary(min_size=16, max_size=64), iv=st.binary(min_size=16, max_size=16), session_key=st.text())
def test_no_key_that_is_none_opens_anything(blocks: bytes, iv: bytes, session_key: str) -> None:
    whole = blocks[: len(blocks) // 16 * 16]

    assert not decipher(whole, iv, session_key=session_key).is_valid


def test_what_was_decrypted_is_not_shown() -> None:
    plaintext = opened(OFFICIAL_DATA)

    assert repr(plaintext) == "Plaintext(is_valid=True)"


VECTORS = [
    pytest.param(RAW_DATA, SIGNING_KEY, SIGNATURE, id="official"),
    pytest.param(CHINESE_RAW_DATA, CHINESE_SIGNING_KEY, CHINESE_SIGNATURE, id="not ASCII"),
]


@pytest.mark.parametrize(("raw_data", "session_key", "signature"), VECTORS)
def test_raw_data_is_signed_as_wechat_does(raw_data: str, session_key: str, signature: str) -> None:
    assert signature_of(raw_data, session_key=session_key) == signature
    assert is_signature(signature, raw_data=raw_data, session_key=session_key)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(SIGNATURE.upper(), id="upper case"),
        pytest.param(SIGNATURE[:-1], id="truncated"),
        pytest.param(SIGNATURE + "0", id="too long"),
        pytest.param(f" {SIGNATURE}", id="a space before"),
        pytest.param(f"{SIGNATURE}\n", id="a line break after"),
        pytest.param("", id="empty"),
        pytest.param("é", id="not ASCII"),
        pytest.param(SIGNATURE.replace("7", "７"), id="a full-width digit"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param(b64encode(bytes.fromhex(SIGNATURE)).decode(), id="in base64"),
        pytest.param(CHINESE_SIGNATURE, id="of something else"),
    ],
)
def test_another_signature_is_none(signature: str) -> None:
    assert not is_signature(signature, raw_data=RAW_DATA, session_key=SIGNING_KEY)


@pytest.mark.parametrize(
    "raw_data",
    [
        pytest.param(CHINESE_RAW_DATA.replace("苏", r"\u82cf"), id="with an escape"),
        pytest.param(CHINESE_RAW_DATA.replace("/", r"\/"), id="with slashes escaped"),
        pytest.param(CHINESE_RAW_DATA.replace(",", ", "), id="with spaces"),
        pytest.param(CHINESE_RAW_DATA + "\n", id="with a line break"),
        pytest.param("", id="empty"),
    ],
)
def test_the_same_data_spelled_in_another_way_was_not_signed(raw_data: str) -> None:
    assert not is_signature(CHINESE_SIGNATURE, raw_data=raw_data, session_key=CHINESE_SIGNING_KEY)


def test_nothing_is_normalised_before_it_is_signed() -> None:
    signature = signature_of(COMPOSED, session_key=SIGNING_KEY)

    assert COMPOSED != DECOMPOSED
    assert not is_signature(signature, raw_data=DECOMPOSED, session_key=SIGNING_KEY)


def test_another_session_key_did_not_sign() -> None:
    assert not is_signature(SIGNATURE, raw_data=RAW_DATA, session_key=SESSION_KEY)


@given(raw_data=st.text(st.characters(exclude_categories=())), session_key=st.text())
@example(raw_data="\ud800", session_key=SIGNING_KEY)
def test_anything_can_be_signed(raw_data: str, session_key: str) -> None:
    signature = signature_of(raw_data, session_key=session_key)

    assert is_signature(signature, raw_data=raw_data, session_key=session_key)


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b'{"foo":"bar"}', "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"),
        (b"", "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"),
    ],
)
def test_calls_about_a_session_are_signed_as_wechat_expects(body: bytes, signature: str) -> None:
    assert session_signature("o0q0otL8aEzpcZL/FT9WsQ==", body) == signature


def test_a_call_without_a_body_signs_the_empty_one() -> None:
    assert session_signature(SESSION_KEY) == session_signature(SESSION_KEY, b"")
    assert session_signature(SESSION_KEY) != session_signature(SESSION_KEY, b"{}")
