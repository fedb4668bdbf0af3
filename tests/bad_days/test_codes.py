"""Rows C: what is sent in place of a code, and what WeChat says about one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.bad_days.bench import Bench, Told, bench, told
from tests.drivers import Answer, MiniProgram, Sandbox
from tests.servers import sandbox_server

INVALID: Told = (400, "invalid_request")
OTHER_APP = "wx1234567890abcdef"

Way = Callable[[MiniProgram, str], Answer]


def _by_json(phone: MiniProgram, code: str) -> Answer:
    return phone.send("POST", "/login", json={"code": code})


def _by_form(phone: MiniProgram, code: str) -> Answer:
    body = f"code={quote(code, safe='')}"
    return phone.send("POST", "/login", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})


def _by_get(phone: MiniProgram, code: str) -> Answer:
    return phone.send("GET", f"/getOpenid?code={quote(code, safe='')}")


def _by_url(phone: MiniProgram, code: str) -> Answer:
    url = f"https://api.weixin.qq.com/sns/jscode2session?appid=wx4f4bc4dec97d474b&js_code={quote(code, safe='')}"
    return phone.send("GET", f"/getOpenid?url={quote(url, safe='')}")


WAYS: dict[str, Way] = {"json": _by_json, "form": _by_form, "get": _by_get, "url": _by_url}

# No part of these may be in an answer or the log; what is too short to be told from other text is left out.
CODES = {
    "C-01-empty": "",
    "C-01-blank": " ",
    "C-01-blanks": " \t\r\n ",
    "C-03-129": "c" * 129,
    "C-03-4096": "c" * 4096,
    "C-04-leading": " canary0a3f",
    "C-04-trailing": "canary0a3f ",
    "C-04-within": "canary 0a3f",
    "C-04-tab": "canary\t0a3f",
    "C-05-nul": "canary\0a3f",
    "C-05-line": "canary0a3f\r\nX-Admin: 1",
    "C-05-line-at-the-end": "canary0a3f\n",
    "C-05-zero-width": "canary\u200b0a3f",
    "C-05-homoglyph": "c\u0430nary0a3f",
    "C-05-emoji": "canary\U0001f6000a3f",
    "C-05-full-width-digit": "canary\uff10a3f",
    "C-07-appid": "canary0a3f&appid=wxevil",
    "C-07-secret": "canary0a3f&secret=x",
    "C-07-fragment": "canary0a3f#",
    "C-07-query": "canary0a3f?",
    "C-07-encoded": "canary0a3f%26secret%3Dx",
    "C-09-path": "../../cgi-bin/token",
    "C-09-url": "http://evil.example/",
    "C-09-scheme": "//evil.example",
}

BODIES = {
    "C-01-missing": "{}",
    "C-02-number": '{"code": 1234567}',
    "C-02-true": '{"code": true}',
    "C-02-null": '{"code": null}',
    "C-02-list": '{"code": ["a", "b"]}',
    "C-02-object": '{"code": {"a": "b"}}',
    "C-02-NaN": '{"code": NaN}',
    "C-06-lone-surrogate": r'{"code": "\ud800"}',
    "C-06-lone-low-surrogate": r'{"code": "canary\udfff0a3f"}',
    "C-06-surrogates-the-wrong-way-round": r'{"code": "\udc00\ud800"}',
}


ROWS = [pytest.param(way, code, id=f"{row}-{name}") for row, code in CODES.items() for name, way in WAYS.items()]


@pytest.mark.parametrize(("way", "code"), ROWS)
def test_what_cannot_be_a_code_is_refused_before_anybody_is_asked(day: Bench, way: Way, code: str) -> None:
    answer = way(day.user(), code)

    assert told(answer) == INVALID
    assert (day.exchanges(), day.keys()) == (0, [])
    assert day.leaks([answer], *([code] if len(code) > 5 else [])) == []
    assert day.user().log_in().status == 200


@pytest.mark.parametrize("body", [pytest.param(body, id=row) for row, body in BODIES.items()])
def test_what_is_no_text_is_refused_before_anybody_is_asked(day: Bench, body: str) -> None:
    answer = day.user().send("POST", "/login", data=body, content_type="application/json")

    assert told(answer) == INVALID
    assert (day.exchanges(), day.keys()) == (0, [])
    assert day.user().log_in().status == 200


@pytest.mark.parametrize("query", ["", "?", "?code", "?url=", "?js_code="], ids="C-01-{}".format)
def test_no_code_at_all_is_refused_the_old_way_as_well(day: Bench, query: str) -> None:
    answer = day.user().send("GET", f"/getOpenid{query}")

    assert told(answer) == INVALID
    assert (day.exchanges(), day.keys()) == (0, [])


@pytest.mark.parametrize("length", [1, 128], ids="C-03-{}".format)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_can_be_a_code_is_for_wechat_to_judge(day: Bench, way: Way, length: int) -> None:
    answer = way(day.user(), "c" * length)

    assert told(answer) == (400, "invalid_code")
    assert day.exchanges() == 1


def test_c_03_a_code_of_a_megabyte_is_too_large(day: Bench) -> None:
    answer = day.user().log_in_with("c" * 1_000_000)

    assert told(answer) == (413, "content_too_large")
    assert (day.exchanges(), day.keys()) == (0, [])


REFUSALS: dict[str, tuple[int, Told, str | None]] = {
    "C-10": (40029, (400, "invalid_code"), None),
    "C-11": (40163, (400, "code_used"), None),
    "C-12": (40226, (403, "user_blocked"), None),
    "C-13": (45011, (429, "wechat_rate_limited"), "60"),
    "C-15-appid": (40013, (500, "wechat_rejected_credentials"), None),
    "C-15-secret": (40125, (500, "wechat_rejected_credentials"), None),
    "C-15-unknown": (87654, (502, "wechat_error"), None),
}


@pytest.mark.parametrize(
    ("errcode", "expected", "retry_after"), [pytest.param(*row, id=name) for name, row in REFUSALS.items()]
)
def test_what_wechat_refuses_is_told_in_our_words_and_asked_once(
    day: Bench, errcode: int, expected: Told, retry_after: str | None
) -> None:
    errmsg = "canary of WeChat, hints: [ req_id: canary-req-id ]"
    day.sandbox.arm(body=json.dumps({"errcode": errcode, "errmsg": errmsg}), times=2)
    code = day.sandbox.issue_code()

    answer = day.user().log_in_with(code)

    assert told(answer) == expected
    assert answer.headers.get("Retry-After") == retry_after
    assert (day.exchanges(), day.sessions()) == (1, 0)
    assert day.leaks([answer], errmsg, "canary-req-id", code, "sandbox-secret") == []


def test_c_10_the_code_of_another_mini_program_is_invalid(day: Bench, tmp_path: Path) -> None:
    apps = {"wx4f4bc4dec97d474b": "sandbox-secret", OTHER_APP: "its-own-secret"}
    file = tmp_path / "apps.json"
    file.write_text(json.dumps(apps))
    with sandbox_server(apps) as url:
        several = dataclasses.replace(
            day.settings, appid="", app_secret="", apps_file=str(file), wechat_api_url=url
        )
        phone = bench(several, Sandbox(url), day.redis, day.log).user()
        code = phone.sandbox.issue_code(appid=OTHER_APP)

        answer = phone.send("POST", "/login", json={"code": code, "appid": "wx4f4bc4dec97d474b"})

    assert told(answer) == (400, "invalid_code")
    assert day.sessions() == 0


def test_c_11_a_used_code_is_told_apart_only_by_its_code(day: Bench) -> None:
    once = bench(dataclasses.replace(day.settings, login_replay_seconds=0), day.sandbox, day.redis, day.log)
    code = day.sandbox.issue_code()
    assert once.user().log_in_with(code).status == 200
    day.forget("wxlogin:code:")

    answer = once.user().log_in_with(code)

    assert told(answer) == (400, "code_used")
    assert day.sessions() == 1


def test_c_14_a_busy_wechat_is_asked_once_more_and_no_oftener(day: Bench) -> None:
    day.sandbox.arm(errcode=-1, times=9)

    answer = day.user().log_in()

    assert told(answer) == (503, "wechat_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert day.exchanges() == 2


def test_c_14_a_wechat_that_is_busy_for_a_moment_costs_nobody_a_login(day: Bench) -> None:
    day.sandbox.arm(errcode=-1)

    assert day.user().log_in().status == 200


@pytest.mark.parametrize("errcode", [40013, 40125], ids="C-15-{}".format)
def test_rejected_credentials_raise_an_alarm_and_no_breaker(day: Bench, errcode: int) -> None:
    day.sandbox.arm(errcode=errcode, times=20)

    answers = [day.user().log_in() for _ in range(20)]

    assert {told(answer) for answer in answers} == {(500, "wechat_rejected_credentials")}
    assert day.exchanges() == 20
    assert '"event": "credentials_rejected"' in day.log.getvalue()
    assert day.user().log_in().status == 200


def test_c_16_fifty_posts_of_one_code_at_once_are_one_call_and_one_session(day: Bench) -> None:
    code = day.sandbox.issue_code()

    with ThreadPoolExecutor(50) as threads:
        answers = [*threads.map(lambda _: day.user().log_in_with(code), range(50))]

    assert {(answer.status, answer.set_cookie, answer.text) for answer in answers} == {
        (200, answers[0].set_cookie, answers[0].text)
    }
    assert (day.exchanges(), day.sessions()) == (1, 1)


def test_c_17_a_code_again_at_once_is_the_same_session_and_no_call(day: Bench) -> None:
    code = day.sandbox.issue_code()
    first = day.user().log_in_with(code)

    second = day.user().log_in_with(code)

    assert (second.status, second.set_cookie) == (200, first.set_cookie)
    assert (day.exchanges(), day.sessions()) == (1, 1)


def test_c_17_a_code_again_after_the_time_for_repeats_is_used(day: Bench) -> None:
    code = day.sandbox.issue_code()
    day.user().log_in_with(code)
    day.forget("wxlogin:code:")

    answer = day.user().log_in_with(code)

    assert told(answer) == (400, "code_used")
    assert day.sessions() == 1


def test_c_17_a_code_again_after_logging_out_is_used(day: Bench) -> None:
    phone, code = day.user(), day.sandbox.issue_code()
    phone.log_in_with(code)
    phone.log_out()

    answer = day.user().log_in_with(code)

    assert told(answer) == (400, "code_used")
    assert (day.exchanges(), day.sessions()) == (1, 0)


def test_c_17_a_code_again_that_leads_nowhere_leaves_the_session_of_its_sender_alone(day: Bench) -> None:
    phone, other, code = day.user(), day.user(), day.sandbox.issue_code()
    phone.log_in()
    other.log_in_with(code)
    other.log_out()

    answer = phone.post("/login", json={"code": code})

    assert told(answer) == (400, "code_used")
    assert phone.whoami().status == 200


def test_c_18_two_hundred_codes_a_minute_from_one_address_do_not_all_reach_wechat(day: Bench) -> None:
    limited = dataclasses.replace(day.settings, login_limit_per_address="90/minute")
    phone = bench(limited, day.sandbox, day.redis, day.log).user()

    answers = [phone.log_in_with(f"canary-{number}") for number in range(200)]

    refused = [answer for answer in answers if answer.status == 429]
    assert {told(answer) for answer in refused} == {(429, "rate_limited")}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
    assert (len(refused), day.exchanges()) == (110, 90)
