"""Each button: what the phone shows, and what the diagram draws."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import Dev, Simulator

LOGIN = [
    ("miniprogram", "wechat", "wx.login()"),
    ("wechat", "miniprogram", "code"),
    ("miniprogram", "service", "POST /login"),
    ("service", "redis", "EVAL wxlogin:code:…"),
    ("service", "wechat", "GET /sns/jscode2session"),
    ("wechat", "service", "ok"),
    ("service", "redis", "EVAL wxlogin:user:…"),
    ("service", "redis", "EVAL wxlogin:code:…"),
    ("service", "miniprogram", "200 Set-Cookie"),
]


def without_answers_of_redis(arrows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [arrow for arrow in arrows if arrow[0] != "redis"]


def test_two_clicks_lead_to_a_finished_login_in_the_diagram(open_page: Open) -> None:
    simulator = open_page()  # the first: on the address that `make run` prints

    simulator.press("logIn")  # the second

    simulator.see(LOGIN[-1], LOGIN[-2])
    drawn = simulator.arrows
    assert without_answers_of_redis(drawn) == LOGIN
    assert [arrow[:2] for arrow in drawn].count(("redis", "service")) == 3
    assert "Logged in" in simulator.result
    assert simulator.state == "Holds a session"


def test_who_am_i_asks_the_service(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("whoAmI", ("service", "miniprogram", "200"))

    assert '"appid": "wx4f4bc4dec97d474b"' in logged_in.result
    assert without_answers_of_redis(drawn) == [
        ("miniprogram", "service", "GET /session"),
        ("service", "redis", "HGET wxlogin:user:…"),
        ("service", "miniprogram", "200"),
    ]


def test_a_button_that_needs_a_session_logs_in_first(simulator: Simulator) -> None:
    drawn = simulator.arrows_after("whoAmI", ("service", "miniprogram", "200"))

    assert without_answers_of_redis(drawn)[: len(LOGIN)] == LOGIN
    assert drawn[-1] == ("service", "miniprogram", "200")


def test_a_protected_call_gets_to_the_back_end_once_nginx_has_asked(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("callBackend", ("backend", "miniprogram", "200"))

    assert "Your back end knows you by X-WX-APPID, X-WX-OPENID" in logged_in.result
    assert [arrow for arrow in drawn if "redis" not in arrow] == [
        ("miniprogram", "backend", "GET /api/orders"),
        ("backend", "service", "GET /auth"),
        ("service", "backend", "204 X-WX-OPENID"),
        ("backend", "miniprogram", "200"),
    ]


def test_user_info_is_decrypted_at_the_service(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("decryptUserInfo", ("service", "miniprogram", "200"))

    assert '"nickName"' in logged_in.result
    assert [arrow[2] for arrow in drawn if "miniprogram" in arrow[:2]] == [
        "wx.checkSession()",
        "ok",
        "wx.getUserInfo()",
        "encryptedData, iv, rawData, signature",
        "POST /user-data/decrypt",
        "200",
    ]


def test_a_phone_number_is_exchanged_with_an_access_token(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("getPhoneNumber", ("service", "miniprogram", "200"))

    assert '"purePhoneNumber"' in logged_in.result
    assert ("service", "wechat", "POST /wxa/business/getuserphonenumber") in drawn


def test_after_logging_out_nobody_is_logged_in_until_the_button_is_pressed(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("logOut", ("service", "miniprogram", "204"))

    assert ("miniprogram", "service", "DELETE /session") in drawn
    assert logged_in.state == "No session"
    assert "not_logged_in" in logged_in.press("whoAmI")
    assert "Logged in" in logged_in.press("logIn")
    assert '"appid"' in logged_in.press("whoAmI")


def test_logging_out_everywhere_ends_the_session_of_another_phone(open_page: Open, the_dev: Dev) -> None:
    simulator, other = open_page(), open_page()
    simulator.log_in()
    openid = simulator.page.evaluate("localStorage.getItem('simulator:openid')")
    other.page.evaluate("openid => localStorage.setItem('simulator:openid', openid)", openid)
    other.press("logIn")

    drawn = simulator.arrows_after("logOutEverywhere", ("service", "miniprogram", "204"))

    assert ("miniprogram", "service", "DELETE /sessions") in drawn
    assert simulator.state == "No session"
    other_drawn = other.arrows_after("whoAmI", ("service", "miniprogram", "200 Set-Cookie"))
    assert ("service", "miniprogram", "401 not_logged_in") in other_drawn


def test_the_diagram_and_the_sandbox_tell_the_same_of_wechat(simulator: Simulator, the_dev: Dev) -> None:
    the_dev.sandbox("DELETE", "")
    simulator.page.locator("#clear").click()
    simulator.turn("busy")
    simulator.press("logIn")
    simulator.turn("busy")
    for action in ("logIn", "decryptUserInfo", "getPhoneNumber", "logOut"):
        simulator.press(action)

    drawn = [arrow for arrow in simulator.arrows if {"service", "wechat"} == {*arrow[:2]}]

    calls = the_dev.sandbox("GET", "/calls")
    questions = [title.split(" ")[1] for sender, _, title in drawn if sender == "service"]
    answers = [title for sender, _, title in drawn if sender == "wechat"]
    assert len(calls) > 3
    assert questions == [call["path"] for call in calls]
    assert answers == [f"errcode {call['errcode']}" if call["errcode"] else "ok" for call in calls]


def test_a_message_opens_and_shows_what_it_says(simulator: Simulator) -> None:
    simulator.press("logIn")
    row = simulator.page.locator(".message[data-from=miniprogram][data-to=service]").first

    row.locator("summary").click()

    body = row.locator("pre").last
    expect(body).to_be_visible()
    assert set(json.loads(body.inner_text())) == {"code"}


def test_what_stays_on_the_servers_is_marked_and_no_secret_is_in_the_page(
    simulator: Simulator, the_dev: Dev
) -> None:
    for action in ("logIn", "callBackend", "decryptUserInfo", "getPhoneNumber"):
        simulator.press(action)
    simulator.see(("service", "miniprogram", "200"))
    openid = simulator.page.evaluate("localStorage.getItem('simulator:openid')")

    exchange = simulator.page.locator(".message.stays[data-from=wechat][data-to=service]").first
    exchange.locator("summary").click()

    expect(exchange.locator(".mark")).to_contain_text("openid, session_key")
    expect(exchange.locator("mark").first).to_be_visible()
    expect(exchange.locator(".content")).to_contain_text("never leaves the servers")
    page = simulator.page.content()
    told = simulator.page.locator(
        ".message[data-from=miniprogram], .message[data-to=miniprogram]"
    ).all_inner_texts()
    assert "sandbox-secret" not in page
    assert '"session_key": "•••"' in page
    assert page.count('"session_key": "') == page.count('"session_key": "•••"')
    assert page.count('"access_token": "') == page.count('"access_token": "•••"') > 0
    assert openid
    assert not [text for text in told if openid in text]


def test_a_reload_keeps_the_session(simulator: Simulator) -> None:
    simulator.press("logIn")

    simulator.page.reload()

    simulator.page.locator("#state.on").wait_for()
    drawn = simulator.arrows_after("whoAmI", ("service", "miniprogram", "200"))
    assert ("miniprogram", "service", "POST /login") not in drawn


def test_a_reload_after_logging_out_logs_nobody_in(simulator: Simulator) -> None:
    simulator.press("logIn")
    simulator.press("logOut")

    simulator.page.reload()

    simulator.page.locator("#state:not(:empty)").wait_for()
    assert "not_logged_in" in simulator.press("whoAmI")


def test_two_pages_see_the_same(open_page: Open) -> None:
    simulator, other = open_page(), open_page()

    simulator.press("logIn")

    other.see(*LOGIN)
    assert without_answers_of_redis(other.arrows) == LOGIN
