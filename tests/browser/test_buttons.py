"""Each button: what the phone shows, and what the diagram draws."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import Simulator, without_answers_of_redis, without_redis
from tests.sandbox.simulator.drivers import LOGIN

NEED_A_SESSION = ("whoAmI", "decryptUserInfo", "getPhoneNumber", "callBackend")


def test_two_clicks_lead_to_a_finished_login_in_the_diagram(open_page: Open) -> None:
    simulator = open_page()  # the first: on the address that `make run` prints

    simulator.log_in()  # the second

    drawn = simulator.arrows
    assert without_answers_of_redis(drawn) == LOGIN
    assert [arrow[:2] for arrow in drawn].count(("redis", "service")) == 3
    assert "Logged in" in simulator.result
    assert simulator.state == "Holds a session"


def test_who_am_i_asks_the_service(logged_in: Simulator) -> None:
    expected = [
        ("miniprogram", "service", "GET /session"),
        ("service", "redis", "HGET wxlogin:user:…"),
        ("service", "miniprogram", "200"),
    ]

    drawn = logged_in.arrows_after("whoAmI", *expected)

    assert f'"openid": "{logged_in.openid}"' in logged_in.result
    assert '"appid": "wx4f4bc4dec97d474b"' in logged_in.result
    assert without_answers_of_redis(drawn) == expected


def test_a_button_that_needs_a_session_logs_in_first(simulator: Simulator) -> None:
    drawn = simulator.arrows_after("whoAmI", ("service", "miniprogram", "200"))

    assert without_redis(drawn) == [
        *without_redis(LOGIN),
        ("miniprogram", "service", "GET /session"),
        ("service", "miniprogram", "200"),
    ]
    assert simulator.state == "Holds a session"
    assert f'"openid": "{simulator.openid}"' in simulator.result


def test_a_protected_call_gets_to_the_back_end_once_nginx_has_asked(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("callBackend", ("backend", "miniprogram", "200"))

    assert "Your back end knows you by X-WX-APPID, X-WX-OPENID" in logged_in.result
    assert without_redis(drawn) == [
        ("miniprogram", "backend", "GET /api/orders"),
        ("backend", "service", "GET /auth"),
        ("service", "backend", "204 X-WX-OPENID"),
        ("backend", "miniprogram", "200"),
    ]


def test_user_info_is_decrypted_at_the_service(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("decryptUserInfo", ("service", "miniprogram", "200"))

    assert '"nickName": "微信用户"' in logged_in.result
    assert without_redis(drawn) == [
        ("miniprogram", "wechat", "wx.checkSession()"),
        ("wechat", "miniprogram", "ok"),
        ("miniprogram", "wechat", "wx.getUserInfo()"),
        ("wechat", "miniprogram", "encryptedData, iv, rawData, signature"),
        ("miniprogram", "service", "POST /user-data/decrypt"),
        ("service", "miniprogram", "200"),
    ]


def test_a_phone_number_is_exchanged_with_an_access_token(logged_in: Simulator) -> None:
    logged_in.press("getPhoneNumber")  # from now on, the service has a token
    logged_in.see(("service", "miniprogram", "200"))

    drawn = logged_in.arrows_after("getPhoneNumber", ("service", "miniprogram", "200"))

    assert '"purePhoneNumber": "13580006666"' in logged_in.result
    assert without_redis(drawn) == [
        ("miniprogram", "wechat", "button getPhoneNumber"),
        ("wechat", "miniprogram", "code"),
        ("miniprogram", "service", "POST /phone-number"),
        ("service", "wechat", "POST /wxa/business/getuserphonenumber"),
        ("wechat", "service", "ok"),
        ("service", "miniprogram", "200"),
    ]


def test_logging_out_ends_the_session_at_the_service(logged_in: Simulator) -> None:
    drawn = logged_in.arrows_after("logOut", ("service", "miniprogram", "204 Set-Cookie"))

    assert "Logged out" in logged_in.result
    assert logged_in.state == "No session"
    assert without_redis(drawn) == [
        ("miniprogram", "service", "DELETE /session"),
        ("service", "miniprogram", "204 Set-Cookie"),
    ]


def test_after_logging_out_nobody_is_logged_in_until_the_button_is_pressed(logged_in: Simulator) -> None:
    logged_in.press("logOut")
    logged_in.page.locator("#clear").click()

    refused = [logged_in.press(action) for action in NEED_A_SESSION]

    logged_in.see(("backend", "miniprogram", "401 not_logged_in"))
    assert [said for said in refused if "not_logged_in" not in said or "You logged out" not in said] == []
    assert "wx.login()" not in {title for _, _, title in logged_in.arrows}
    assert "Logged in" in logged_in.press("logIn")
    assert '"appid"' in logged_in.press("whoAmI")


def test_logging_out_everywhere_ends_the_session_of_another_phone(open_page: Open) -> None:
    simulator, other = open_page(), open_page()
    simulator.log_in()
    other.page.evaluate("openid => localStorage.setItem('simulator:openid', openid)", simulator.openid)
    other.press("logIn")
    expect(simulator.page.locator(".title").get_by_text("200 Set-Cookie")).to_have_count(2)

    drawn = simulator.arrows_after("logOutEverywhere", ("service", "miniprogram", "204 Set-Cookie"))

    assert "on all other devices" in simulator.result
    assert without_redis(drawn) == [
        ("miniprogram", "service", "DELETE /sessions"),
        ("service", "miniprogram", "204 Set-Cookie"),
    ]
    assert simulator.state == "No session"
    other_drawn = other.arrows_after("whoAmI", ("service", "miniprogram", "200 Set-Cookie"))
    assert ("service", "miniprogram", "401 not_logged_in") in other_drawn


def test_a_reload_keeps_the_session(simulator: Simulator) -> None:
    simulator.press("logIn")

    simulator.reload()

    expect(simulator.page.locator("#state")).to_have_text("Holds a session")
    drawn = simulator.arrows_after("whoAmI", ("service", "miniprogram", "200"))
    assert ("miniprogram", "service", "POST /login") not in drawn


def test_a_reload_after_logging_out_logs_nobody_in(simulator: Simulator) -> None:
    simulator.press("logIn")
    simulator.press("logOut")

    simulator.reload()

    expect(simulator.page.locator("#state")).to_have_text("No session")
    assert "not_logged_in" in simulator.press("whoAmI")
