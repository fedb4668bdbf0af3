"""The diagram's messages: that they are all there is, what they show, and what they never do."""

from __future__ import annotations

import json
import time

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import MESSAGES_OF_A_LOGIN, Dev, Simulator, without_answers_of_redis
from tests.sandbox.simulator.drivers import LOGIN, Arrow

OPENID = "oOpenidOfTheSecretsTest"
SESSION_KEY = "0123456789abcdefABCDEF=="
ACCESS_TOKEN = "the-access-token-0123456789"
SECRETS = {"secret": "sandbox-secret", "session_key": SESSION_KEY, "access_token": ACCESS_TOKEN}

STAYS: dict[Arrow, str] = {
    ("service", "wechat", "GET /sns/jscode2session"): "secret",
    ("wechat", "service", "ok"): "openid, session_key",
    ("service", "redis", "EVAL wxlogin:user:…"): "sealed record",
    ("service", "backend", "204 X-WX-OPENID"): "X-WX-OPENID",
    ("service", "wechat", "POST /wxa/business/getuserphonenumber"): "access_token, openid",
}
FREE: list[Arrow] = [
    ("miniprogram", "service", "POST /login"),
    ("service", "miniprogram", "200 Set-Cookie"),
    ("backend", "service", "GET /auth"),
    ("backend", "miniprogram", "200"),
]


def test_the_diagram_and_the_sandbox_tell_the_same_of_wechat(simulator: Simulator, the_dev: Dev) -> None:
    the_dev.sandbox("DELETE", "")
    simulator.turn("codeUsed")
    simulator.press("logIn")
    simulator.turn("codeUsed")

    said = [simulator.press(action) for action in ("logIn", "decryptUserInfo", "getPhoneNumber", "logOut")]

    calls = the_dev.sandbox("GET", "/calls")
    simulator.see(("service", "miniprogram", "204 Set-Cookie"))
    drawn = [arrow for arrow in simulator.arrows if {*arrow[:2]} == {"service", "wechat"}]
    questions = [title.split(" ")[1] for sender, _, title in drawn if sender == "service"]
    answers = [title for sender, _, title in drawn if sender == "wechat"]
    assert "It failed" not in "".join(said)
    assert [call["errcode"] for call in calls][:3] == [40163, 40163, 0]
    assert len(calls) > 3
    assert questions == [call["path"] for call in calls]
    assert answers == [f"errcode {call['errcode']}" if call["errcode"] else "ok" for call in calls]
    assert [sender for sender, _, _ in drawn] == ["service", "wechat"] * len(calls)


def test_what_is_told_late_is_drawn_where_it_happened(simulator: Simulator, the_dev: Dev) -> None:
    now = time.time()
    told = [{**COMMAND, "title": f"GET {seconds}", "at": now + seconds} for seconds in (3, 1, 2)]

    for each in told:
        the_dev.tell(each)

    expect(simulator.page.locator("#messages .message")).to_have_count(3)
    assert [title for _, _, title in simulator.arrows] == ["GET 1", "GET 2", "GET 3"]


COMMAND = {"from": "service", "to": "redis", "kind": "question", "content": {}, "stays": []}


def test_a_message_opens_on_a_click_and_shows_what_it_says(logged_in: Simulator) -> None:
    row = logged_in.message("miniprogram", "service", "POST /login")
    body = row.locator("pre").last
    expect(body).to_be_hidden()

    row.locator("summary").click()

    expect(body).to_be_visible()
    assert set(json.loads(body.inner_text())) == {"code"}


def test_what_redis_was_asked_is_explained_and_in_full_among_the_details(logged_in: Simulator) -> None:
    row = logged_in.message("service", "redis", "EVAL wxlogin:user:…")

    row.locator("summary").click()

    expect(row.locator(".gloss")).to_have_text(" the sessions of this user")
    expect(row.get_by_role("heading", name="script")).to_be_visible()
    expect(row.locator("pre").last).to_contain_text("redis.call")


def test_no_secret_is_anywhere_in_the_page(simulator: Simulator, the_dev: Dev) -> None:
    user = json.dumps({"openid": OPENID, "session_key": SESSION_KEY})
    token = json.dumps({"access_token": ACCESS_TOKEN, "expires_in": 7200})
    the_dev.sandbox("POST", "/tokens", {"expire": True})
    the_dev.sandbox("POST", "/faults", {"path": "/sns/jscode2session", "body": user})
    the_dev.sandbox("POST", "/faults", {"path": "/cgi-bin/stable_token", "body": token})

    for action in ("logIn", "callBackend", "getPhoneNumber", "logOut"):
        simulator.press(action)

    simulator.see(("service", "miniprogram", "204 Set-Cookie"))
    page = simulator.page.content()
    assert OPENID in page  # where the service and WeChat talk
    assert {name for name, value in SECRETS.items() if value in page} == set()
    for name in SECRETS:
        assert page.count(f'"{name}": "') == page.count(f'"{name}": "•••"') > 0


def test_no_message_of_the_mini_programs_has_its_users_openid(simulator: Simulator) -> None:
    for action in ("logIn", "whoAmI", "callBackend", "decryptUserInfo", "getPhoneNumber", "logOut"):
        simulator.press(action)
        # Who asks who they are is told by the phone, which is WeChat's, and not by the service.
        assert (simulator.openid in simulator.result) == (action == "whoAmI")

    simulator.see(("service", "miniprogram", "204 Set-Cookie"))

    told = simulator.told("miniprogram")
    assert len(told) > 15
    assert [text for text in told if simulator.openid in text] == []
    assert [text for text in simulator.told("wechat") if simulator.openid in text] != []


def test_a_lock_is_on_messages_with_what_stays_on_the_servers(logged_in: Simulator) -> None:
    logged_in.press("callBackend")
    logged_in.press("getPhoneNumber")

    logged_in.see(*STAYS, *FREE)

    for arrow, names in STAYS.items():
        mark = logged_in.message(*arrow).locator(".mark")
        expect(mark).to_have_text(f"{names} never leaves the servers")
        expect(mark.locator("svg")).to_be_visible()
    for arrow in FREE:
        expect(logged_in.message(*arrow).locator(".mark")).to_have_count(0)
    expect(logged_in.page.locator("[data-from=miniprogram] .mark, [data-to=miniprogram] .mark")).to_have_count(0)


def test_what_stays_on_the_servers_is_marked_in_the_details(logged_in: Simulator) -> None:
    exchange = logged_in.message("wechat", "service", "ok")

    exchange.locator("summary").click()

    expect(exchange.locator(".locked")).to_have_text("openid, session_key: never leaves the servers")
    expect(exchange.locator(".locked")).to_be_visible()
    marked = exchange.locator("mark").all_inner_texts()
    assert sorted(line.split('"')[1] for line in marked) == ["openid", "session_key"]


def test_two_pages_see_the_same(open_page: Open) -> None:
    simulator, other = open_page(), open_page()

    simulator.log_in()

    expect(other.page.locator("#messages .message")).to_have_count(MESSAGES_OF_A_LOGIN)
    assert other.arrows == simulator.arrows
    assert without_answers_of_redis(other.arrows) == LOGIN


def test_a_cleared_diagram_draws_what_comes_next(logged_in: Simulator) -> None:
    logged_in.page.get_by_role("button", name="Clear").click()
    expect(logged_in.page.locator("#messages li")).to_have_count(0)

    logged_in.press("whoAmI")

    logged_in.see(("service", "miniprogram", "200"))
    assert logged_in.page.locator("#messages li").first.inner_text() == "Who am I?"
    assert ("miniprogram", "service", "POST /login") not in logged_in.arrows
