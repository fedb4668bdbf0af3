from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.wechat.drivers import OPENID, SESSION_KEY, UNIONID, UNUSABLE_IDS
from wxlogin.wechat.errors import UnusableAnswer
from wxlogin.wechat.models import CodeSession, code_session_of

ANSWER = {"openid": OPENID, "session_key": SESSION_KEY}


def test_an_answer_becomes_a_code_session() -> None:
    session = code_session_of({**ANSWER, "unionid": UNIONID})

    assert session == CodeSession(openid=OPENID, session_key=SESSION_KEY, unionid=UNIONID)


@pytest.mark.parametrize("answer", [ANSWER, {**ANSWER, "unionid": None}, {**ANSWER, "unionid": ""}])
def test_an_app_that_is_not_bound_has_no_unionid(answer: dict[str, Any]) -> None:
    session = code_session_of(answer)

    assert session.unionid is None


def test_unknown_fields_are_ignored() -> None:
    session = code_session_of({**ANSWER, "expires_in": 7200, "nickname": "\x00"})

    assert session == CodeSession(openid=OPENID, session_key=SESSION_KEY)


@pytest.mark.parametrize("value", ["o", "o" * 128, "-_", "0"])
def test_ids_are_url_safe_and_of_any_usual_length(value: str) -> None:
    session = code_session_of({**ANSWER, "openid": value, "unionid": value})

    assert (session.openid, session.unionid) == (value, value)


@pytest.mark.parametrize("value", ["o" * 129, "o o", "o+o", "o/o", "o=", "ｏ", "o\x7f", " o", "o "])
@pytest.mark.parametrize("name", ["openid", "unionid"])
def test_other_ids_are_unusable(name: str, value: str) -> None:
    with pytest.raises(UnusableAnswer):
        code_session_of({**ANSWER, name: value})


@pytest.mark.parametrize("value", ["k", "k" * 128, "tiihtNczf5v6AKRyjwEUhQ==", "+/"])
def test_session_keys_are_visible_ascii_of_any_usual_length(value: str) -> None:
    session = code_session_of({**ANSWER, "session_key": value})

    assert session.session_key == value


@pytest.mark.parametrize("value", ["k" * 129, "k k", "k\x7f", "k\t", "ｋ"])
def test_other_session_keys_are_unusable(value: str) -> None:
    with pytest.raises(UnusableAnswer):
        code_session_of({**ANSWER, "session_key": value})


@pytest.mark.parametrize("value", UNUSABLE_IDS.values(), ids=UNUSABLE_IDS)
@pytest.mark.parametrize("name", ANSWER)
def test_an_unusable_field_is_named_and_not_shown(name: str, value: object) -> None:
    with pytest.raises(UnusableAnswer) as raised:
        code_session_of({**ANSWER, name: value})

    assert str(raised.value) == f"the answer has no usable {name}"


def test_a_code_session_shows_nothing_of_itself() -> None:
    session = CodeSession(openid=OPENID, session_key=SESSION_KEY, unionid=UNIONID)

    assert repr(session) == "CodeSession()"


def test_a_code_session_does_not_change() -> None:
    session = CodeSession(openid=OPENID, session_key=SESSION_KEY)

    with pytest.raises(dataclasses.FrozenInstanceError):
        session.openid = "o"  # type: ignore[misc]
