"""What the cipher keeps from those who can read and write Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxlogin.storage.encryption import DecryptionError, RecordCipher

NEWEST = "the-newest-secret-key-0123456789abcdef"
OLDER = "an-older-secret-key-0123456789abcdef"
STRANGE = "somebody-elses-secret-key-0123456789"
DATA = b"openid and session_key"
PLACE = b"wxlogin:user:AAAAAAAAAAAAAAAA field"
LABEL = b"\x6a\xb0\x00\x00"


def sealed_with(*keys: str) -> bytes:
    return RecordCipher(keys).encrypt(DATA, context=PLACE, associated_data=LABEL)


def opens(sealed: bytes, *keys: str, place: bytes = PLACE, label: bytes = LABEL) -> bool:
    """Say whether the cipher is whole; what comes out of it then is what went in."""
    try:
        opened = RecordCipher(keys or [NEWEST]).decrypt(sealed, context=place, associated_data=label)
    except DecryptionError:
        return False
    assert opened == DATA
    return True


@given(data=st.binary(), place=st.binary(), label=st.binary())
def test_what_was_sealed_comes_back(data: bytes, place: bytes, label: bytes) -> None:
    cipher = RecordCipher([NEWEST])

    assert (
        cipher.decrypt(
            cipher.encrypt(data, context=place, associated_data=label), context=place, associated_data=label
        )
        == data
    )


@pytest.mark.parametrize("place", [b"", PLACE[:-1], PLACE + b" ", PLACE.swapcase(), PLACE + LABEL])
def test_it_does_not_open_in_another_place(place: bytes) -> None:
    assert not opens(sealed_with(NEWEST), place=place)


@pytest.mark.parametrize("label", [b"", b"\x6a\xb0\x00\x01", LABEL[:-1], LABEL + b"\0", PLACE])
def test_it_does_not_open_under_another_label(label: bytes) -> None:
    assert not opens(sealed_with(NEWEST), label=label)


def test_the_border_between_place_and_label_counts() -> None:
    assert not opens(sealed_with(NEWEST), place=PLACE + LABEL[:1], label=LABEL[1:])


@pytest.mark.parametrize("keys", [(STRANGE,), (STRANGE, OLDER)])
def test_it_does_not_open_without_its_key(keys: tuple[str, ...]) -> None:
    assert not opens(sealed_with(NEWEST), *keys)


def test_it_does_not_open_with_any_bit_flipped() -> None:
    sealed = sealed_with(NEWEST)
    as_number = int.from_bytes(sealed, "big")

    flipped = [(as_number ^ 1 << bit).to_bytes(len(sealed), "big") for bit in range(8 * len(sealed))]

    assert len(flipped) >= 8 * (12 + len(DATA) + 16)
    assert not any(map(opens, flipped))


def test_it_does_not_open_truncated() -> None:
    sealed = sealed_with(NEWEST)

    assert not any(opens(sealed[:length]) for length in range(len(sealed)))


@pytest.mark.parametrize("added", [b"\0", b"\0" * 16])
def test_it_does_not_open_with_something_added(added: bytes) -> None:
    sealed = sealed_with(NEWEST)

    assert not opens(sealed + added)
    assert not opens(added + sealed)


@given(st.binary(max_size=100))
def test_garbage_does_not_open(garbage: bytes) -> None:
    assert not opens(garbage)


def test_what_an_older_key_sealed_still_opens() -> None:
    assert opens(sealed_with(OLDER), NEWEST, OLDER)


def test_the_newest_key_seals() -> None:
    sealed = sealed_with(NEWEST, OLDER)

    assert opens(sealed, NEWEST)
    assert not opens(sealed, OLDER)


def test_the_same_data_is_never_sealed_the_same() -> None:
    seals = {sealed_with(NEWEST) for _ in range(100)}

    assert len(seals) == 100


def test_nothing_of_the_data_is_visible() -> None:
    sealed = sealed_with(NEWEST)

    assert not any(DATA[at : at + 4] in sealed for at in range(len(DATA) - 3))


def test_two_sealed_in_one_place_do_not_share_their_keystream() -> None:
    blank, dotted = (
        RecordCipher([NEWEST]).encrypt(data * 32, context=PLACE, associated_data=LABEL)[12:44]
        for data in (b" ", b".")
    )

    assert bytes(a ^ b for a, b in zip(blank, dotted, strict=True)) != bytes([0x20 ^ 0x2E]) * 32


def test_the_secret_keys_are_not_shown() -> None:
    assert NEWEST not in repr(RecordCipher([NEWEST]))
