"""Base64 in the forms that clients make of it: read where it has one reading, refused where it has none or two."""

from __future__ import annotations

import base64
import hashlib
import textwrap
import tracemalloc
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wechat.test_crypto import IV, OFFICIAL_DATA
from wxlogin.wechat.api.base64_blocks import InvalidBase64, decode_blocks, decode_exact_blocks

MAX_BLOCKS = 2048
OFFICIAL_BLOCKS = b64decode(OFFICIAL_DATA)
PLUSES = b"\xfb\xef\xbe" * 16  # of which each character of the base64 is a plus
SLASHES = b"\xff" * 48


def wrapped(text: str, *, at: int = 76, by: str = "\n") -> str:
    return by.join(textwrap.wrap(text, at))


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "blanks for pluses": lambda text: text.replace("+", " "),
    "lines of 76": wrapped,
    "lines of 64 that end in CRLF": lambda text: wrapped(text, at=64, by="\r\n"),
    "indented lines": lambda text: wrapped(text, by="\n\t"),
    "lines that were joined with blanks": lambda text: wrapped(text, by=" "),
    "a line break at the end": lambda text: text + "\n",
    "blanks around": lambda text: f" {text} ",
    "the URL-safe alphabet": lambda text: urlsafe_b64encode(b64decode(text)).decode(),
    "the URL-safe alphabet without padding": lambda text: text.translate(str.maketrans("+/", "-_", "=")),
    "no padding": lambda text: text.rstrip("="),
    "one padding character for two": lambda text: text.replace("==", "="),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded pluses": lambda text: text.replace("+", "%2b"),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-encoded three times": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "blanks for pluses, and around": lambda text: f" {text.replace('+', ' ')}  ",
    "percent-encoded blanks for pluses": lambda text: quote(text.replace("+", " ")),
    "lines, percent-encoded": lambda text: quote(wrapped(text)),
}
# A form says nothing about a text that has neither a plus nor a slash nor padding.
BLOCKS = {"official": OFFICIAL_BLOCKS, "slashes": SLASHES, "one block": OFFICIAL_BLOCKS[:16]}


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("form", FORMS)
def test_what_has_one_reading_is_read(form: str, blocks: bytes) -> None:
    text = FORMS[form](b64encode(blocks).decode())

    assert decode_blocks(text, max_blocks=MAX_BLOCKS) == blocks


def test_each_form_but_the_first_changes_a_text() -> None:
    text = b64encode(OFFICIAL_BLOCKS[:160]).decode()
    assert {"+", "/", "="} <= set(text)

    assert [form for form, change in FORMS.items() if change(text) == text] == ["as it is"]


@pytest.mark.parametrize("count", [60, 100, 200])
def test_blanks_for_many_pluses_are_read(count: int) -> None:
    """Of base64 without its pluses, some has the length of other blocks, but for the padding."""
    for number in range(200):
        blocks = hashlib.shake_128(b"%d" % number).digest(16 * count)
        assert decode_blocks(b64encode(blocks).decode().replace("+", " "), max_blocks=MAX_BLOCKS) == blocks


def test_blanks_of_two_kinds_are_not_misread() -> None:
    for number in range(500):
        blocks = hashlib.shake_128(b"%d" % number).digest(16 * 200)
        text = wrapped(b64encode(blocks).decode(), by=" ").replace("+", " ")
        with pytest.raises(InvalidBase64):
            decode_blocks(text, max_blocks=MAX_BLOCKS)


@given(
    blocks=st.binary(min_size=16, max_size=480).map(lambda data: data[: len(data) // 16 * 16]),
    form=st.sampled_from(sorted(FORMS)),
)
@example(blocks=PLUSES[:16], form="blanks for pluses")
def test_a_form_is_read_as_what_it_was_made_of_or_not_at_all(blocks: bytes, form: str) -> None:
    text = FORMS[form](b64encode(blocks).decode())

    try:
        found = decode_blocks(text, max_blocks=MAX_BLOCKS)
    except InvalidBase64:  # pluses and blanks of two kinds, say
        assert " " in text
    else:
        assert found == blocks


def test_what_has_two_readings_has_none() -> None:
    """64 blanks may be pluses, or may be nothing: either way it is base64 of whole blocks."""
    blank = "A" * 64 + " " * 64
    text = blank + b64encode(bytes(16)).decode()
    assert all(decode_exact_blocks(text.replace(" ", reading), max_blocks=MAX_BLOCKS) for reading in ("+", ""))

    with pytest.raises(InvalidBase64):
        decode_blocks(text, max_blocks=MAX_BLOCKS)


NOT_BASE64 = {
    "empty": "",
    "blanks": "   ",
    "padding alone": "====",
    "padding in the middle": OFFICIAL_DATA[:24].replace(OFFICIAL_DATA[4], "=") + OFFICIAL_DATA[24:],
    "bits that decoding drops": IV[:-3] + chr(ord(IV[-3]) + 1) + "==",
    "base64 twice": b64encode(OFFICIAL_DATA.encode()).decode(),
    "base64url of JSON": base64.urlsafe_b64encode(b'{"encryptedData":"x"}').decode(),
    "quoted": f'"{IV}"',
    "full-width letters": OFFICIAL_DATA.replace("C", "Ｃ"),
    "a lone surrogate": OFFICIAL_DATA[:-3] + "\ud800==",
    "a NUL": OFFICIAL_DATA + "\0",
    "two of them": IV * 2,
    "a percent sign": IV + "%",
    "percent-encoded four times": IV.replace("=", "%2525253D"),
    "percent-encoded in full width": IV.replace("=", "%EF%BC%9D"),
    "an object of JavaScript": "[object Object]",
    "undefined": "undefined",
    **{f"{n} bytes": b64encode(b"x" * n).decode() for n in (1, 15, 17, 31, 33, 16 * MAX_BLOCKS + 16, 2**20)},
}


@pytest.mark.parametrize("text", NOT_BASE64.values(), ids=NOT_BASE64)
def test_what_is_not_base64_of_whole_blocks_is_refused(text: str) -> None:
    with pytest.raises(InvalidBase64):
        decode_blocks(text, max_blocks=MAX_BLOCKS)


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_an_iv_is_one_block(length: int) -> None:
    assert decode_blocks(IV, max_blocks=1) == b64decode(IV)
    with pytest.raises(InvalidBase64):
        decode_blocks(b64encode(b"x" * length).decode(), max_blocks=1)


def test_as_many_blocks_are_read_as_are_allowed() -> None:
    blocks = bytes(16 * MAX_BLOCKS)

    assert decode_blocks(b64encode(blocks).decode(), max_blocks=MAX_BLOCKS) == blocks


@given(text=st.text(st.characters(exclude_categories=())))
@example(text="\ud800")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        blocks = decode_blocks(text, max_blocks=MAX_BLOCKS)
    except InvalidBase64:
        return
    assert len(blocks) % 16 == 0


def test_megabytes_are_refused_without_copying_them() -> None:
    text = " " * 10_000_000
    tracemalloc.start()

    with pytest.raises(InvalidBase64):
        decode_blocks(text, max_blocks=MAX_BLOCKS)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
