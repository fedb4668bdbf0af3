"""What somebody who holds the phone, and not the ``session_key``, can make of genuine texts, and does not get.

AES-CBC has no authentication. The attacker knows a stock of texts of one key, of which he chose the nickname and
the city, and each block's encryption. So he can choose the first 16 characters (by the IV), leave out blocks at
the front and join two texts; where they meet, 16 characters are garbled, which he finds among his pairs of blocks
and can't choose. Here they are drawn from what is legal in a string of JSON: anything else breaks the text.

The rule and its limits: docs/decisions/what-makes-user-data-authentic.md.
"""

from __future__ import annotations

import itertools
import json
import random
import string
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.wechat.drivers import APPID, OPENID, UNIONID
from wxlogin.wechat.api.user_data import Owner, Verdict, judge

BLOCK = 16
OWNER = Owner(appid=APPID, openid=OPENID, unionid=UNIONID)
OWNER_WITHOUT_UNIONID = Owner(appid=APPID, openid=OPENID)
IDS = ("unionId", "openGId", "opengid", "open_single_roomid", "group_openid", "activityId")

# What the attacker wants to have believed, none of which is true.
NUMBER = "13800138000"
VICTIM = "oVICTIM0victim1VICTIM2victim"
WANTED_ID = "tGWANTED0wanted1WANTED2wanted3"
WANTED = {VICTIM, WANTED_ID, "a", "tGWA"}  # the last two fit into a first block

TIMES = itertools.count(1_795_000_000)


def text_of(fields: dict[str, Any], **behind: Any) -> bytes:
    """Return a text as WeChat writes it, each with a time of its own."""
    watermark = {"timestamp": next(TIMES), "appid": APPID}
    payload = {**fields, "watermark": watermark, **behind}
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def profile(nick: str, city: str = "") -> dict[str, Any]:
    avatar = (
        "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4/132"
    )
    fields = {"nickName": nick, "gender": 0, "language": "zh_CN", "city": city, "province": "", "country": ""}
    return {**fields, "avatarUrl": avatar}


def phone(number: str, pure: str, country: str | int) -> dict[str, Any]:
    return {"phoneNumber": number, "purePhoneNumber": pure, "countryCode": country}


def group(opengid: str, room: str, kind: int) -> dict[str, Any]:
    return {
        "opengid": opengid,
        "open_single_roomid": room,
        "group_openid": "oGXVqG5IZmqkGArWBhZNJ",
        "chat_type": kind,
    }


def werun(steps: int) -> dict[str, Any]:
    return {"stepInfoList": [{"timestamp": 1_794_900_000 + 86_400 * day, "step": steps + day} for day in range(3)]}


# Text of the attacker's own, as nickname or city: what he wants, and what could close or open a string or a name.
CHOSEN = [
    NUMBER,
    f'{NUMBER}","purePhoneNumber":"{NUMBER}","countryCode":"86","x":"',
    f'":"{WANTED_ID}"',
    WANTED_ID,
    VICTIM,
    f"{VICTIM}\\",
    f'\\",\\"unionId\\":\\"{VICTIM}',
    f"[{{'step':99999}}],{NUMBER}",
    f":{NUMBER},",
]
# Blanks before it, so that each of its characters begins a block in one of the texts.
SHIFTED = [" " * blanks + chosen for chosen in CHOSEN for blanks in range(BLOCK)]

PHONES = [
    text_of(phone("13580006666", "13580006666", "86")),
    text_of(phone("13580007777", "13580007777", 86)),
    text_of(phone("+85261234567", "61234567", "852")),
    text_of(phone("+1 4155550100", "4155550100", 1), is_demote=True),
]
TEXTS = [
    *PHONES,
    *(text_of({"openId": OPENID, **profile(nick), "unionId": UNIONID}) for nick in SHIFTED[:: BLOCK // 2 + 1]),
    *(text_of(profile(nick), is_demote=True) for nick in SHIFTED),
    *(text_of(profile("", city)) for city in SHIFTED[:: BLOCK // 4 + 1]),
    text_of({"openId": OPENID, **profile("n")}, is_demote=False),
    text_of({"openGId": "tG0123456789abcdefghijABCDEF"}),
    text_of({"openGId": "tG0123456789abcdefghijABCDE", "msgTicket": "a/b+c=="}),
    text_of(group("tGXVqG5IZmqkGArWBhZNJwn2NsqaQ", "", 3)),
    text_of(group("", "sXVqG5IZmqkGArWBhZNJwn2NsqaQ", 1)),
    text_of({"opengid": "tGXVqG5IZmqkGArWBhZNJwn2NsqaQ"}),
    text_of(werun(100)),
    text_of(werun(200)),
    text_of({"activityId": "1014_NGiqxZOdZBCyNDZr~"}),
]
OTHERS = [text for text in TEXTS if not text.startswith((b'{"nickName', b'{"openId'))]
NAMES = {name for text in TEXTS for name in json.loads(text)}
GENUINE = [json.loads(text) for text in TEXTS]

# The first block, as an attacker would choose it: what a kind begins with, an id, a string or a name left open.
FIRST_NAMES = ("openId", "nickName", "phoneNumber", "openGId", "opengid", "stepInfoList", "activityId", "x")
ENDINGS = ('":"', '":', '":[', '":1,"', '":"",', '":"","', '":"a","', '":"",       ', '":"1')
FIRST_BLOCKS = sorted(
    {
        f'{{"{name}{ending}{filling * BLOCK}'[:BLOCK].encode()
        for name in FIRST_NAMES
        for ending in ENDINGS
        for filling in ("t", "1")
    }
    | {b"{" + (BLOCK - 1) * b" "}
)


def gain_of(text: bytes, owner: Owner = OWNER) -> list[str]:
    """Return the names of what is believed of a text and not true; none, if all is well."""
    verdict, payload = judge(text, owner=owner, max_age_seconds=None, now=0)
    if verdict is not Verdict.AUTHENTIC:
        return []
    claims = [("openId",), ("stepInfoList",), tuple(phone("", "", "")), *([("unionId",)] if owner.unionid else [])]
    lies = ["".join(claim) for claim in claims if not is_genuine(payload, *claim)]
    ids = () if has_seam(payload) else IDS
    return lies + [name for name in ids if payload.get(name) in WANTED]


def has_seam(payload: Mapping[str, Any]) -> bool:
    """Return whether a new field in front of the watermark could hide a seam: then ids prove nothing."""
    front = itertools.takewhile(lambda name: name != "watermark", payload)
    return any(len(name) >= BLOCK or isinstance(payload[name], str) for name in front if name not in NAMES)


def is_genuine(payload: Mapping[str, Any], *names: str) -> bool:
    """Return whether these fields are, taken together, those of one genuine text, or none of them is there."""
    found = [payload.get(name) for name in names]
    return found == [None] * len(names) or any(found == [each.get(name) for name in names] for each in GENUINE)


# What is legal in a string, or is one to the middle and begins another: one pair of the attacker's blocks in 2^16,
# to one in 2^52, gives such characters.
LETTERS, DIGITS = string.ascii_letters, string.digits
PRINTABLE = "".join(set(map(chr, range(0x20, 0x7F))) - set('"\\'))
GARBLED: dict[str, Callable[[random.Random], str]] = {
    "letters": lambda chance: "".join(chance.choices(LETTERS, k=BLOCK)),
    "small letters": lambda chance: "".join(chance.choices(string.ascii_lowercase, k=BLOCK)),
    "a name": lambda chance: "".join(chance.choices(LETTERS + DIGITS + "_", k=BLOCK)),
    "an id": lambda chance: "".join(chance.choices(LETTERS + DIGITS + "-_", k=BLOCK)),
    "printable": lambda chance: "".join(chance.choices(PRINTABLE, k=BLOCK)),
    "raw control characters": lambda chance: "".join(chance.choices(PRINTABLE + "\x00\n\x14", k=BLOCK)),
    "a backslash at the end": lambda chance: "".join(chance.choices(PRINTABLE, k=BLOCK - 1)) + "\\",
    "an escape": lambda chance: "\\u00" + "".join(chance.choices("0123456789abcdef", k=BLOCK - 4)),
    "the end of a name, and a text": lambda chance: '":"' + "".join(chance.choices(PRINTABLE, k=BLOCK - 3)),
    "a letter more of a name, and a text": lambda chance: 'x":"' + "".join(chance.choices(PRINTABLE, k=BLOCK - 4)),
    "the end of a name, and control characters": lambda chance: (
        '":"\x14' + "".join(chance.choices(PRINTABLE, k=BLOCK - 4))
    ),
    "the end of a text, and a name": lambda chance: "".join(chance.choices(PRINTABLE, k=BLOCK - 3)) + '","',
    "Chinese": lambda chance: "".join(chance.choices("微信用户登录", k=5)) + "x",
}


def tails() -> set[bytes]:
    """Return what is left of the texts when blocks at the front are cut off."""
    return {text[start:] for text in TEXTS for start in range(BLOCK, len(text), BLOCK)}


def splice(chance: random.Random) -> bytes:
    """Return two or three texts in one, perhaps behind a first block of the attacker's own."""
    parts = [_head(chance), garble(chance)]
    if chance.random() < 0.25:
        parts += [_cut(chance.choice(TEXTS), chance), garble(chance)]
    return b"".join([*parts, _tail(chance)])


def garble(chance: random.Random) -> bytes:
    return GARBLED[chance.choice(list(GARBLED))](chance).encode()


def _head(chance: random.Random) -> bytes:
    text = _any_text(chance)
    if chance.random() < 0.5:
        return text[: BLOCK * chance.randint(1, len(text) // BLOCK)]
    return chance.choice(FIRST_BLOCKS) + _cut(text, chance)


def _cut(text: bytes, chance: random.Random) -> bytes:
    start = chance.randint(1, len(text) // BLOCK)
    return text[BLOCK * start : BLOCK * chance.randint(start, len(text) // BLOCK)]


def _tail(chance: random.Random) -> bytes:
    text = _any_text(chance)
    return text[BLOCK * chance.randint(1, (len(text) - 1) // BLOCK) :]


def _any_text(chance: random.Random) -> bytes:
    """Return a text of any kind; most are profiles, which are of little use to an attacker."""
    return chance.choice(chance.choice([TEXTS, PHONES, OTHERS]))


@pytest.mark.parametrize("text", TEXTS)
def test_the_genuine_texts_are_authentic(text: bytes) -> None:
    verdict, payload = judge(text, owner=OWNER, max_age_seconds=None, now=0)

    assert (verdict, payload) == (Verdict.AUTHENTIC, json.loads(text))


def test_no_bit_of_the_iv_can_be_flipped_to_gain_anything() -> None:
    texts = [
        (int.from_bytes(text[:BLOCK], "big") ^ 1 << bit).to_bytes(BLOCK, "big") + text[BLOCK:]
        for text in TEXTS
        for bit in range(8 * BLOCK)
    ]

    assert [text for text in texts if gain_of(text)] == []


@given(text=st.sampled_from(TEXTS), first=st.binary(min_size=BLOCK, max_size=BLOCK))
def test_no_iv_gains_anything(text: bytes, first: bytes) -> None:
    assert gain_of(first + text[BLOCK:]) == []


def test_no_cut_and_no_first_block_gains_anything() -> None:
    """Some 320,000 texts: each cut of each text, behind each first block or behind none."""
    texts = (first + tail for first in (b"", *FIRST_BLOCKS) for tail in tails())

    assert [text for text in texts if gain_of(text)] == []


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32), owner=st.sampled_from([OWNER, Owner(appid=APPID, openid=OPENID)]))
def test_no_splice_gains_anything(seed: int, owner: Owner) -> None:
    """60,000 texts."""
    chance = random.Random(seed)

    texts = (splice(chance) for _ in range(1_000))

    assert [text for text in texts if gain_of(text, owner)] == []


@pytest.mark.parametrize("garbled", GARBLED)
def test_no_two_texts_that_tell_of_numbers_or_steps_can_be_joined(garbled: str) -> None:
    """Every place in every pair, with a garbled block between: 11,000 texts of each sort, 150,000 in all."""
    chance = random.Random(garbled)
    heads = [text[:end] for text in OTHERS for end in range(BLOCK, len(text), BLOCK)]
    ends = [text[start:] for text in OTHERS for start in range(BLOCK, len(text), BLOCK)]

    texts = (head + GARBLED[garbled](chance).encode() + end for head in heads for end in ends)

    assert [text for text in texts if gain_of(text)] == []


def beginning_at(value: str, *, make: Callable[[str], dict[str, Any]]) -> bytes:
    """Return the tail of a text whose field has this value, with blanks before it, so that it begins a block."""
    texts = (text_of(make(" " * blanks + value)) for blanks in range(BLOCK))
    escaped = json.dumps(value, ensure_ascii=False)[1:-1].encode()
    return next(text[text.index(escaped) :] for text in texts if text.index(escaped) % BLOCK == 0)


def until(text: bytes, end: bytes) -> bytes:
    """Return whole blocks of a text, as many as there are before the end of ``end``."""
    return text[: (text.index(end) + len(end)) // BLOCK * BLOCK]


def ending_with(end: bytes, *, make: Callable[[str], dict[str, Any]]) -> bytes:
    """Return the blocks until ``end`` of a text whose field is so long that they end with it."""
    heads = (until(text_of(make("n" * length)), end) for length in range(BLOCK))
    return next(head for head in heads if head.endswith(end))


def behind(text: bytes, start: bytes) -> bytes:
    """Return the whole blocks of a text that begin in or after ``start``, but not with it."""
    return text[text.index(start) // BLOCK * BLOCK + BLOCK :]


MAINLAND, _, HONG_KONG, _ = PHONES
USER = {"openId": OPENID}
BOUND, UNBOUND = text_of(USER | profile("n") | {"unionId": UNIONID}), text_of(USER | profile("n"))
ANOTHER = b"abcdefghijklmnop"
NAMED = {
    "a number in a nickname": b'{"phoneNumber":"' + beginning_at(NUMBER, make=profile),
    "a number in a city": b'{"phoneNumber":"' + beginning_at(NUMBER, make=lambda city: profile("", city)),
    "a whole object in a nickname": b'{"phoneNumber":"' + beginning_at(CHOSEN[1], make=profile),
    "a group's id in a nickname": b'{"openGId":"tGWA' + beginning_at(WANTED_ID[4:], make=profile),
    "a group's id behind an empty one": b'{"opengid":"","x' + beginning_at(WANTED_ID, make=profile),
    "a group's id that is chosen whole": b'{"openGId":"a","' + behind(text_of(profile("n" * 9)), b'"avatarUrl'),
    "a group's id of four characters": b'{"openGId":"tGWA' + beginning_at('"', make=profile)[1:],
    "another user's openId in a nickname": b'{"openId":"oVICT' + beginning_at(VICTIM[5:], make=profile),
    "the openId renamed to unionId": b'{"unionId":"VICT' + UNBOUND[BLOCK:],
    "the openId cut off": b'{"x":"          ' + BOUND[2 * BLOCK :],
    "the openId cut off behind a nickname": b'{"nickName":"   ' + BOUND[2 * BLOCK :],
    "steps in a nickname": b'{"stepInfoList":' + beginning_at("[],", make=profile),
    "an activity's id in a nickname": b'{"activityId":"t' + beginning_at(WANTED_ID[1:], make=profile),
    "the number of one text, the country of another": (
        until(MAINLAND, b'13580006666","co') + ANOTHER + behind(HONG_KONG, b'"countryCode')
    ),
    "the number of one text, the pure one of another": (
        until(MAINLAND, b'13580006666","pu') + ANOTHER + behind(HONG_KONG, b'"purePhone')
    ),
    "a number in a nickname, joined with a genuine pure one": (
        b'{"phoneNumber":"'
        + until(beginning_at(NUMBER, make=profile), b"https://third")
        + ANOTHER
        + behind(MAINLAND, b'{"phoneNumber":"')
    ),
    "another unionId from a nickname": (
        ending_with(b'"unionId":"', make=lambda nick: USER | profile(nick) | {"unionId": UNIONID})
        + ANOTHER
        + beginning_at(VICTIM, make=profile)
    ),
}


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_a_forgery_that_was_thought_of_gains_nothing(text: bytes) -> None:
    assert gain_of(text) == []
    assert gain_of(text, Owner(appid=APPID, openid=OPENID)) == []


# What can't be told from genuine data: the decision record and SECURITY.md say so.


def test_the_first_characters_of_a_groups_id_prove_nothing() -> None:
    text = text_of({"openGId": "tG0123456789abcdefghijABCDEF"})

    verdict, payload = judge(b'{"openGId":"XXXX' + text[BLOCK:], owner=OWNER, max_age_seconds=None, now=0)

    assert (verdict, payload["openGId"]) == (Verdict.AUTHENTIC, "XXXX23456789abcdefghijABCDEF")


# One garbled block in 2^40 is a name of words, and one in 2^39 is the end of a name and a text without control
# characters: as many pairs of blocks can't be had while a key lives. One in 2^32 is any name, and one in 2^35 the
# end of a name and any text.
@pytest.mark.parametrize(
    ("garbled", "expected"),
    [
        (b"abcdefghijklmnop", Verdict.AUTHENTIC),
        (b"abcdefghijklm0op", Verdict.REFUSED),
        (b'":"bcdefghijklmn', Verdict.AUTHENTIC),
        (b'":"bcdefghij\x14mn', Verdict.REFUSED),
    ],
)
def test_a_seam_that_is_hardly_ever_found_can_lend_old_data_a_new_time(garbled: bytes, expected: Verdict) -> None:
    old, new = PHONES[1], text_of(profile("n" * 9))
    assert until(old, b'"countryCode":86,"w').endswith(b'"w')
    assert behind(new, b'"avatarUrl').startswith(b'arUrl":')
    end = behind(new, b'"avatarUrl')[BLOCK if b'"' in garbled else 0 :]

    text = until(old, b'"countryCode":86,"w') + garbled + end

    assert judge(text, owner=OWNER, max_age_seconds=None, now=0)[0] is expected


@pytest.mark.parametrize(
    ("garbled", "expected"),
    [(b'":"bcdefghijklmn', Verdict.AUTHENTIC), (b'":"bcdefghij\x14mn', Verdict.REFUSED)],
)
def test_a_seam_that_is_hardly_ever_found_can_choose_a_groups_id(garbled: bytes, expected: Verdict) -> None:
    nick = beginning_at(WANTED_ID[4:], make=profile)
    end = behind(text_of(profile("n" * 9)), b'"avatarUrl')[BLOCK:]

    text = b'{"openGId":"tGWA' + nick[: 2 * BLOCK] + garbled + end

    assert text.startswith(f'{{"openGId":"{WANTED_ID}","g'.encode())
    assert judge(text, owner=OWNER, max_age_seconds=None, now=0)[0] is expected
