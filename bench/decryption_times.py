"""Whether the time of a failed decryption tells why it failed: ``.venv/bin/python bench/decryption_times.py``.

Needs nothing and takes three minutes. WeChat's encryption has the shape of a padding oracle, so every failure has
to look the same, in its time as well. Each way to fail is tried in turn, in an order that is shuffled every round;
told are the medians and how far each is from the median of all. A difference counts only as far as it is more than
what two halves of the same way's measurements differ by.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import statistics
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

from wxlogin.wechat.api.user_data import Owner, StaleSessionKey, read_user_data

ROUNDS = 3000
KEY, IV = b64encode(os.urandom(16)).decode(), b64encode(os.urandom(16)).decode()
APPID, OPENID, NOW = "wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE", 1477314187
DATA = {
    "openId": OPENID,
    "nickName": "Band",
    "gender": 1,
    "language": "zh_CN",
    "city": "Guangzhou",
    "province": "Guangdong",
    "country": "CN",
    "avatarUrl": "https://thirdwx.qlogo.cn/mmopen/vi_32/" + "a" * 120 + "/132",
    "watermark": {"timestamp": NOW, "appid": APPID},
}


def main() -> int:
    """Measure, and print the table."""
    ways = ways_to_fail()
    times = measure(ways, rounds=100) and measure(ways, rounds=ROUNDS)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    middle = statistics.median(medians.values())
    sys.stdout.write(f"{dt.datetime.now(dt.UTC).date()}, Python {sys.version.split()[0]}, {ROUNDS} rounds\n\n")
    sys.stdout.write("| failure | median us | from the middle | two halves differ by |\n|---|---|---|---|\n")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        halves = statistics.median(times[name][::2]), statistics.median(times[name][1::2])
        noise = abs(halves[0] - halves[1]) / median
        sys.stdout.write(f"| {name} | {median:.1f} | {median / middle - 1:+.1%} | {noise:.1%} |\n")
    return 0


def ways_to_fail() -> dict[str, Callable[[], Any]]:
    """Return decryptions that fail, by what is wrong."""
    good, text = encrypted(), json.dumps(DATA, separators=(",", ":")).encode()
    return {
        "a stored key that is none": reading(good, key="junk"),
        "another key": reading(good, key=b64encode(os.urandom(16)).decode()),
        "bad padding": reading(encrypted(text + b"\0" * (-len(text) % 16), padded=False)),
        "the last byte flipped": reading(flipped(good, -1)),
        "the byte before the last block flipped": reading(flipped(good, -17)),
        "a byte in the middle flipped": reading(flipped(good, 200)),
        "an IV that breaks the JSON": reading(good, iv=flipped(IV, 0)),
        "an IV that renames a field": reading(good, iv=flipped(IV, 3)),
        "an IV that changes the openId": reading(good, iv=flipped(IV, 12)),
        "a field that another kind has": reading(encrypted(changed(openGId="tG0000"))),
        "a field of another type": reading(encrypted(changed(gender="1"))),
        "another app's": reading(good, appid="wx0000000000000000"),
        "another user's": reading(good, openid="o" * 28),
        "too old": reading(good, now=NOW + 1000),
    }


def reading(
    data: str, *, iv: str = IV, key: str = KEY, appid: str = APPID, openid: str = OPENID, now: int = NOW
) -> Callable[[], Any]:
    """Return a decryption to be done."""
    owner = Owner(appid=appid, openid=openid)
    return lambda: read_user_data(
        b64decode(data), b64decode(iv), session_keys=[key], owner=owner, max_age_seconds=600, now=now
    )


def measure(ways: dict[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[float]]:
    """Return the times of each way, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = [*ways]
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            started_at = time.perf_counter_ns()
            with contextlib.suppress(StaleSessionKey):
                raise AssertionError(f"{name}: {ways[name]()} was accepted")
            times[name].append((time.perf_counter_ns() - started_at) / 1000)
    return times


def encrypted(text: bytes | None = None, *, padded: bool = True) -> str:
    """Return what WeChat would send."""
    text = json.dumps(DATA, separators=(",", ":")).encode() if text is None else text
    length = 16 - len(text) % 16
    encryptor = Cipher(AES128(b64decode(KEY)), CBC(b64decode(IV))).encryptor()
    return b64encode(encryptor.update(text + bytes([length]) * length * padded) + encryptor.finalize()).decode()


def changed(**fields: object) -> bytes:
    """Return the data with other fields."""
    return json.dumps(DATA | fields, separators=(",", ":")).encode()


def flipped(text: str, position: int) -> str:
    """Return base64 with a bit of one byte flipped."""
    data = bytearray(b64decode(text))
    data[position] ^= 1
    return b64encode(data).decode()


if __name__ == "__main__":
    sys.exit(main())
