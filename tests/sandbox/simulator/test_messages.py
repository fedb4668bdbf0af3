"""The messages that the diagram draws."""

from __future__ import annotations

import json
import re
import threading

import pytest

from wxlogin.sandbox.simulator.messages import MASK, MAX_KEPT, TOO_DEEP, Messages, readable


@pytest.fixture
def messages() -> Messages:
    return Messages(lambda: 1_681_378_415.75)


def test_a_message_has_all_that_the_page_draws(messages: Messages) -> None:
    messages.tell("service", "wechat", "GET /x", {"query": {"openid": "o"}}, kind="refusal")

    (told,) = messages.after(0, seconds=0)

    assert json.loads(told.as_json()) == {
        "number": 1,
        "at": 1_681_378_415.75,
        "from": "service",
        "to": "wechat",
        "title": "GET /x",
        "content": {"query": {"openid": "o"}},
        "stays": ["openid"],
        "kind": "refusal",
    }


@pytest.mark.parametrize("name", ["secret", "session_key", "access_token"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_secret_is_masked_and_named_wherever_it_is(messages: Messages, name: str, depth: int) -> None:
    content: dict[str, object] = {name: "s3cret"}
    for _ in range(depth):
        content = {"body": [content, "x"]}

    messages.tell("wechat", "service", "ok", content)

    (told,) = messages.after(0, seconds=0)
    assert "s3cret" not in told.as_json()
    assert MASK in str(told.content)
    assert told.stays == (name,)


def test_what_a_mini_program_sends_and_gets_is_shown_as_it_is(messages: Messages) -> None:
    messages.tell("miniprogram", "service", "POST /login", {"body": {"code": "c", "secret": "its own fault"}})

    (told,) = messages.after(0, seconds=0)

    assert told.content == {"body": {"code": "c", "secret": "its own fault"}}
    assert told.stays == ()


def test_what_is_empty_is_left_out(messages: Messages) -> None:
    messages.tell("service", "miniprogram", "204", {"header": {}, "body": ""})

    assert messages.after(0, seconds=0)[0].content == {}


def test_only_what_is_new_is_returned(messages: Messages) -> None:
    for title in ("one", "two", "three"):
        messages.tell("redis", "service", title)

    assert [each.title for each in messages.after(1, seconds=0)] == ["two", "three"]
    assert messages.after(messages.last, seconds=0) == []


def test_the_oldest_of_too_many_are_forgotten(messages: Messages) -> None:
    for _ in range(MAX_KEPT + 2):
        messages.tell("redis", "service", "1")

    kept = messages.after(0, seconds=0)

    assert (len(kept), kept[0].number) == (MAX_KEPT, 3)


def test_who_waits_is_told_at_once(messages: Messages) -> None:
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(m.title for m in messages.after(0, seconds=60)))
    waiting.start()

    messages.tell("redis", "service", "news")

    waiting.join(20)
    assert found == ["news"]


@pytest.mark.parametrize("sender", ["miniprogram", "service"])
@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_what_is_nested_too_deeply_is_cut_off(messages: Messages, sender: str, bracket: str) -> None:
    closing = {"[": "]"}.get(bracket, "}")
    body = readable(bracket * 60 + "1" + closing * 60)

    messages.tell(sender, "wechat", "POST /x", {"body": body})

    (told,) = messages.after(0, seconds=0)
    assert TOO_DEEP in repr(json.loads(told.as_json())["content"]["body"])


@pytest.mark.parametrize("body", ["[" * 60_000, "<html>", "\ud800", '{"a":'])
def test_a_body_that_is_no_json_is_a_text(body: str) -> None:
    assert readable(body) == body


@pytest.mark.parametrize(
    "content", [{"body": "secret=s3cret&x"}, {"query": {"Secret": "s3cret"}}, {"a": ["{'s3cret'"]}]
)
def test_an_app_secret_is_masked_in_whatever_text_it_is(content: dict[str, object]) -> None:
    messages = Messages(lambda: 0.0, secrets=["s3cret"])

    messages.tell("service", "wechat", "POST /x", content)

    (told,) = messages.after(0, seconds=0)
    assert "s3cret" not in told.as_json()
    assert MASK in str(told.content)


@pytest.mark.parametrize("name", ["X-WX-OPENID", "x-wx-openid", "openId", "UNIONID"])
def test_an_identity_is_named_in_any_case(messages: Messages, name: str) -> None:
    messages.tell("service", "backend", "204", {"header": {name: "o"}})

    assert messages.after(0, seconds=0)[0].stays == (name,)


@pytest.mark.parametrize(
    "body",
    [
        "appid=wx1&secret=s%2Fb%2B2&js_code=c",
        '{"appsecret": "s/b+2"}',
        "access_token=s/b+2",
        '{"component_access_token": "s/b+2"}',
        '{"key_info_list": [{"encrypt_key": "s/b+2"}]}',
        "signature=s%2fb%2B2",
    ],
)
def test_a_secret_is_masked_in_bodies_of_all_forms(messages: Messages, body: str) -> None:
    messages.tell("service", "wechat", "POST /x", {"body": readable(body)})

    (told,) = messages.after(0, seconds=0)
    assert MASK in repr(told.content)
    assert not {"s/b+2", "s/b 2", "s%2F", "s%2f"} & set(re.split("[ '\"=&]", repr(told.content)))
