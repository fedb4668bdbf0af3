"""A record's bytes: everything comes back, and bytes that are no record do nothing at all."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wxlogin.sessions.record import SessionRecord, UnreadableRecord, User

USER = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE", "oUnionOfThisUser_0123456789a")
RECORD = SessionRecord(
    user=USER,
    session_key="tiihtNczf5v6AKRyjwEUhQ==",
    created_at=1_790_000_000,
    last_seen_at=1_790_000_060,
    user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) MicroMessenger/8.0.50",
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 13; 2211133C Build/TKQ1.220905.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 XWEB/1160065 MMWEBSDK/20231202 MMWEBID/2247 "
    "MicroMessenger/8.0.47.2560(0x28002F35) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN ABI/arm64 "
    "MiniProgramEnv/android"
)

session_keys = st.sampled_from([15, 16, 17, 0, 24]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size).map(lambda key: b64encode(key).decode())
)
seconds = st.integers(min_value=0, max_value=2**32 - 1)
records = st.builds(
    SessionRecord,
    user=st.builds(User, st.text(), st.text(), st.none() | st.text()),
    session_key=session_keys | st.text(),
    created_at=seconds,
    last_seen_at=seconds,
    user_agent=st.text(max_size=255) | st.text(st.characters(max_codepoint=255), max_size=255),
)


def packed(**changes: Any) -> bytes:
    """Return the bytes of a record that is well-formed but for the changes."""
    fields = {
        "version": 1,
        "appid": bytes.fromhex(USER.appid[2:]),
        "openid": USER.openid,
        "unionid": None,
        "session_key": b"k" * 16,
        "created_at": 1,
        "seen_after": 1,
        "user_agent": deflated(b"agent"),
    }
    return msgspec.msgpack.encode(list((fields | changes).values()))


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


@given(records)
@example(RECORD)
@example(dataclasses.replace(RECORD, user_agent="微信 😀"))
@example(dataclasses.replace(RECORD, user_agent="å¾®ä¿¡"))  # UTF-8 as WSGI hands it over
@example(dataclasses.replace(RECORD, user_agent="😀" * 255))
@example(dataclasses.replace(RECORD, user=User(USER.appid, USER.openid)))
def test_a_record_comes_back_as_it_was(record: SessionRecord) -> None:
    decoded = SessionRecord.decode(record.encode())

    assert decoded.as_dict() == record.as_dict()


@pytest.mark.parametrize(
    "session_key",
    [
        pytest.param("", id="empty"),
        pytest.param("tiihtNczf5v6AKRyjwEUhQ", id="no padding"),
        pytest.param("tiihtNczf5v6AKRyjwEUhR==", id="bits set that stand for nothing"),
        pytest.param("tiihtNczf5v6AKRyjwEUhQ==\n", id="a line's end"),
        pytest.param("tiih tNcz f5v6 AKRy jwEU hQ==", id="blanks"),
        pytest.param("-_ihtNczf5v6AKRyjwEUhQ==", id="the URL-safe alphabet"),
        pytest.param("tiih=NczftiihtNczf5v6AKRyjwEUhQ=", id="padding in the middle"),
        pytest.param("a key", id="no base64"),
        pytest.param("密钥", id="not ASCII"),
    ],
)
def test_a_session_key_that_is_no_canonical_base64_comes_back_as_it_was(session_key: str) -> None:
    record = dataclasses.replace(RECORD, session_key=session_key)

    assert SessionRecord.decode(record.encode()).session_key == session_key


def test_a_lone_surrogate_in_a_user_agent_becomes_a_question_mark() -> None:
    record = dataclasses.replace(RECORD, user_agent="Weixin\ud83d")

    assert SessionRecord.decode(record.encode()).user_agent == "Weixin?"


def test_of_a_user_agent_255_characters_are_kept() -> None:
    record = dataclasses.replace(RECORD, user_agent="微" * 256)

    assert SessionRecord.decode(record.encode()).user_agent == "微" * 255


def test_wechats_user_agents_take_little() -> None:
    with_agent = dataclasses.replace(RECORD, user_agent=ANDROID)
    without = dataclasses.replace(RECORD, user_agent="")

    assert len(ANDROID) > 315
    assert len(with_agent.encode()) - len(without.encode()) < 100


def test_a_session_key_takes_the_16_bytes_that_it_stands_for() -> None:
    with_key = dataclasses.replace(RECORD, session_key=b64encode(b"0123456789abcdef").decode())
    without = dataclasses.replace(RECORD, session_key="")

    assert len(with_key.encode()) - len(without.encode()) == 16


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_unreadable_and_runs_nothing(protocol: int, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "code ran"),)

    pickled = pickle.dumps(Bomb(), protocol)

    with pytest.raises(UnreadableRecord):
        SessionRecord.decode(pickled)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"12",
        b'"str"',
        b"\xff\xfe",
        b"\x90",
        b"\xc0",
        json.dumps([1, "a", "b", None, "k", 1, 1, ""]).encode(),
        json.dumps(RECORD.as_dict()).encode(),
        msgspec.msgpack.encode(RECORD.as_dict()),
        pytest.param(packed(version=0), id="an older version"),
        pytest.param(packed(version=2), id="a newer version"),
        pytest.param(packed(version="1"), id="a version in words"),
        pytest.param(packed(openid=None), id="no openid"),
        pytest.param(packed(openid=b"bytes"), id="an openid in bytes"),
        pytest.param(packed(session_key=None), id="no session key"),
        pytest.param(packed(session_key=[]), id="an empty session key"),
        pytest.param(packed(session_key=["one", "two"]), id="two session keys"),
        pytest.param(packed(created_at="now"), id="a time in words"),
        pytest.param(packed(created_at=1.5), id="a time with a fraction"),
        pytest.param(packed(user_agent=b"not deflated"), id="a user agent not deflated"),
        pytest.param(packed(user_agent=deflated(b"\xff\xfe")), id="a user agent not in UTF-8"),
        pytest.param(packed() + b"\x00", id="something after the end"),
        pytest.param(packed(more="more"), id="a field too many"),
        pytest.param(b"\x99" + packed()[1:] + b"\x91" * 200_000, id="a field too many, of 200,000 levels"),
        pytest.param(packed().replace(USER.openid[:4].encode(), b"\xff\xff\xff\xff"), id="an openid not in UTF-8"),
    ],
)
def test_what_is_no_record_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        SessionRecord.decode(data)


def test_the_record_that_those_deviate_from_is_readable() -> None:
    assert SessionRecord.decode(packed()).user_agent == "agent"


@pytest.mark.parametrize("length", range(len(RECORD.encode())))
def test_a_truncated_record_is_unreadable(length: int) -> None:
    with pytest.raises(UnreadableRecord):
        SessionRecord.decode(RECORD.encode()[:length])


@given(st.binary() | st.binary(max_size=40).map(lambda tail: packed()[:-20] + tail))
def test_garbage_is_unreadable_if_it_is_not_a_record_by_chance(garbage: bytes) -> None:
    try:
        record = SessionRecord.decode(garbage)
    except UnreadableRecord:
        return

    assert SessionRecord.decode(record.encode()).as_dict() == record.as_dict()


def test_what_is_unreadable_is_not_quoted() -> None:
    with pytest.raises(UnreadableRecord) as caught:
        SessionRecord.decode(packed(created_at=USER.openid))

    assert USER.openid not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_long_user_agent_makes_no_long_record() -> None:
    record = dataclasses.replace(RECORD, user_agent="\U0010ffff" * 10_000_000)

    assert len(record.encode()) < 200


def test_a_user_agent_that_would_grow_without_end_is_cut() -> None:
    bomb = packed(user_agent=deflated(b"a" * 50_000_000))

    assert len(SessionRecord.decode(bomb).user_agent) == 4 * 255


@pytest.mark.parametrize("show", [repr, str])
def test_a_record_shows_no_secret(show: type[str]) -> None:
    shown = show(RECORD) + show(USER)

    assert not [secret for secret in (RECORD.session_key, USER.openid, USER.unionid) if str(secret) in shown]


def test_a_user_is_the_same_with_and_without_a_unionid() -> None:
    assert User(USER.appid, USER.openid) == USER
