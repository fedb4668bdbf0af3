"""AES blocks as base64, also in the forms that careless clients make of what WeChat gave them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from urllib.parse import unquote

BLOCK_BYTES = 16

_MAX_CHARACTERS = 64 * 1024
_MAX_PERCENT_LAYERS = 3
_URL_SAFE = str.maketrans("-_", "+/", "\r\n\t")  # and without line breaks, which no encoding makes of a plus


class InvalidBase64(ValueError):
    """Raised if a text is not base64 of whole blocks, or can be read as two different ones."""


def decode_blocks(text: str, *, max_blocks: int) -> bytes:
    """Return the 1 to ``max_blocks`` blocks that ``text`` is base64 of, or raise `InvalidBase64`.

    These forms are read where only one reading is possible: blanks in place of pluses, as form decoding makes
    them; wrapped lines; the URL-safe alphabet; percent-encoding, up to three times; missing padding. The result,
    encoded again, has to be the repaired text.
    """
    if len(text) > _MAX_CHARACTERS:
        raise InvalidBase64
    readings = {blocks for each in _readings(text) if (blocks := decode_exact_blocks(each, max_blocks=max_blocks))}
    if len(readings) != 1:
        raise InvalidBase64
    return readings.pop()


def decode_exact_blocks(text: str, *, max_blocks: int) -> bytes:
    """Return the 1 to ``max_blocks`` blocks that ``text`` is base64 of to the letter, or nothing."""
    if len(text) > (max_blocks * BLOCK_BYTES + 2) // 3 * 4:
        return b""
    try:
        blocks = b64decode(text)
    except ValueError:
        return b""
    is_exact = b64encode(blocks).decode() == text
    return blocks if is_exact and len(blocks) % BLOCK_BYTES == 0 else b""


def _readings(text: str) -> set[str]:
    """Return the texts that a client may have been given: a blank stands for a plus, or for a line break."""
    joined = _without_percent(text).translate(_URL_SAFE)
    if " " in joined:
        pluses = {joined.replace(" ", "+"), joined.strip(" ").replace(" ", "+")}
        return pluses | ({joined.replace(" ", "")} if _has_lines(joined) else set())
    bare = joined.rstrip("=")
    return {bare + "=" * (-len(bare) % 4)}


def _has_lines(text: str) -> bool:
    """Return whether blanks come where lines end: all are as long as the first, but for the last."""
    *lines, last = map(len, text.split() or [""])
    return len(set(lines)) <= 1 and last <= max(lines, default=last)


def _without_percent(text: str) -> str:
    for _ in range(_MAX_PERCENT_LAYERS if "%" in text else 0):
        text = unquote(text)
    return text
