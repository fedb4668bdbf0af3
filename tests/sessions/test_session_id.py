"""What an id looks like, what it says about its user, and what of it Redis gets to see."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId, hash_of

USER = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
SOMEBODY = "A" * 16
RANDOM = "B" * 43


def test_an_id_is_59_url_safe_characters() -> None:
    text = SessionId.new(USER).text

    assert re.fullmatch(r"[A-Za-z0-9_-]{59}", text)


def test_all_ids_of_a_user_start_with_the_same_16_characters() -> None:
    ids = [SessionId.new(USER) for _ in range(3)]

    assert {session_id.text[:16] for session_id in ids} == {hash_of(USER)}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(User(USER.appid, "oGZUI0egBJY1zhBYw2KhdUfwVJJF"), id="another openid"),
        pytest.param(User("wx4f4bc4dec97d474c", USER.openid), id="another appid"),
        pytest.param(User(USER.appid + "o", USER.openid[1:]), id="the border between the two elsewhere"),
        pytest.param(User(USER.openid, USER.appid), id="the two exchanged"),
    ],
)
def test_another_user_has_other_16_characters(other: User) -> None:
    assert hash_of(other) != hash_of(USER)


def test_a_unionid_learnt_later_does_not_make_another_user() -> None:
    assert hash_of(User(USER.appid, USER.openid, "oUnion")) == hash_of(USER)


def test_of_100_000_ids_no_two_are_the_same() -> None:
    ids = {SessionId.new(USER).text for _ in range(100_000)}

    assert len(ids) == 100_000


def test_who_knows_the_state_of_pythons_random_numbers_can_not_tell_an_id() -> None:
    random.seed(1)
    first = SessionId.new(USER)

    random.seed(1)
    second = SessionId.new(USER)

    assert first != second


def test_the_text_of_an_id_is_understood() -> None:
    session_id = SessionId.new(USER)

    assert SessionId.parse(session_id.text) == session_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sessionid",
        "A" * 58,
        "A" * 60,
        "A" * 58 + "\n",
        "A" * 59 + "\n",
        " " + "A" * 58,
        "A" * 58 + "\0",
        *("A" * 58 + character for character in "+/=.~:*{%"),
        pytest.param("A" * 58 + "А", id="a Cyrillic letter"),
        pytest.param("A" * 58 + "１", id="a full-width digit"),
        pytest.param("A" * 58 + "é", id="an accented letter"),
        pytest.param("A" * 59 + "\u200b", id="a zero-width space"),
        pytest.param("A" * 58 + "\ud800", id="a lone surrogate"),
    ],
)
def test_what_can_not_be_an_id_is_none(text: str) -> None:
    assert SessionId.parse(text) is None


@given(st.text() | st.from_regex(r"[\w.~-]{58,60}", fullmatch=True))
def test_what_is_taken_for_an_id_is_all_of_the_text(text: str) -> None:
    session_id = SessionId.parse(text)

    assert session_id is None or session_id.text == text


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_the_random_part_is_not_shown(show: type[str]) -> None:
    session_id = SessionId.new(USER)

    assert session_id.random not in show(session_id)


def test_the_key_and_the_field_are_where_they_have_always_been() -> None:
    session_id = SessionId.parse(SOMEBODY + RANDOM)

    assert session_id
    assert session_id.key == "wxlogin:user:AAAAAAAAAAAAAAAA"
    assert session_id.field == "QS3EbMnjyybyn3wUFcVWNA"


def test_a_users_hash_is_what_it_has_always_been() -> None:
    assert hash_of(USER) == "F6o6712g3mCqnWDS"


def test_redis_sees_neither_the_random_part_nor_the_openid() -> None:
    session_id = SessionId.new(USER)

    seen = f"{session_id.key} {session_id.field}"

    assert USER.openid not in seen
    assert not any(session_id.random[at : at + 8] in seen for at in range(43 - 8 + 1))


def test_ids_that_differ_in_one_character_have_nothing_of_their_fields_in_common() -> None:
    one, other = (SessionId(SOMEBODY, RANDOM[:-1] + last) for last in "BC")

    same = sum(a == b for a, b in zip(one.field, other.field, strict=True))

    assert len(one.field) == 22
    assert same < 11
