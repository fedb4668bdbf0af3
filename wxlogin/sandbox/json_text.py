"""JSON as WeChat writes it, and as both sides of the imitation read it."""

import json
import re
from typing import Final

MAX_DEPTH: Final = 100
STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
BRACKET: Final = re.compile(rb"[][{}]")
DEEP: Final = re.compile(rb"(?:[\[{][^\[{]*){%d}" % MAX_DEPTH)


def compact_json(value: object) -> str:
    """Return `value` without spaces, in the order given, text beyond ASCII as it is."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_json(body: bytes) -> object:
    """Return what `body` says, or raise `ValueError`; also for what could never be sent again.

    That is half a surrogate pair, numbers such as NaN, which Python takes for JSON, and what is nested too deeply.
    """
    if DEEP.search(body):
        check_depth(body)
    value: object = json.loads(body)
    compact_json(value).encode()
    return value


def check_depth(body: bytes) -> None:
    """Raise `ValueError` if brackets, those in strings left out, are nested more than `MAX_DEPTH` times."""
    depth = 0
    for bracket in BRACKET.findall(STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
