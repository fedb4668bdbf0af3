"""JSON as WeChat writes it, and as both sides of the imitation read it."""

import json


def compact_json(value: object) -> str:
    """Return `value` without spaces, in the order given, text beyond ASCII as it is."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_json(body: bytes) -> object:
    """Return what `body` says, or raise `ValueError`; also for what could never be sent again.

    That is half a surrogate pair and numbers such as NaN: Python takes them for JSON.
    """
    try:
        value: object = json.loads(body)
        compact_json(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value
