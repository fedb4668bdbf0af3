"""Each switch: what it changes, and that it does no more."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Open
from tests.browser.drivers import Dev, Simulator, dev, sandbox_alone
from tests.conftest import LIMITS
from tests.servers import TIMEOUT_SECONDS, free_port, wait_until

FORMS = ("lowerCase", "array", "joined")
ALL_COMBINATIONS = [each for count in range(4) for each in itertools.combinations(FORMS, count)]


@pytest.mark.parametrize("switches", ALL_COMBINATIONS)
def test_however_the_cookie_reaches_it_it_logs_in(simulator: Simulator, switches: tuple[str, ...]) -> None:
    listen_to_the_network(simulator)
    simulator.turn(*switches)

    assert "Logged in" in simulator.press("logIn")
    assert '"appid"' in simulator.press("whoAmI")

    header = simulator.page.evaluate("received[0].header")
    cookie = header["set-cookie" if "lowerCase" in switches else "Set-Cookie"]
    assert len([name for name in header if name.lower() == "set-cookie"]) == 1
    assert isinstance(cookie, list) == ("array" in switches)
    assert ("xsessionid=" in str(cookie)) == ("joined" in switches)


def listen_to_the_network(simulator: Simulator) -> None:
    """Have the page remember in `received` what requests of the mini-program are answered."""

    def answer_with_more(route: Route) -> None:
        original = route.fetch()
        route.fulfill(response=original, body=original.text() + REMEMBER)

    simulator.page.route("**/simulator/wxlogin.js", answer_with_more)
    simulator.reload()


REMEMBER = """
const create = module.exports.createWxLogin
window.received = []
module.exports.createWxLogin = (options) => create({ ...options, wx: { ...options.wx, request(given) {
  const success = (answer) => { received.push(answer); given.success(answer) }
  return options.wx.request({ ...given, success })
} } })
"""


@pytest.mark.parametrize("others", [(), ("lowerCase", "array", "joined")])
def test_a_lost_cookie_is_an_error_with_its_cure(simulator: Simulator, others: tuple[str, ...]) -> None:
    simulator.turn("lost", *others)

    said = simulator.press("logIn")

    assert "no_session_id" in said
    assert "WXLOGIN_SESSION_ID_IN_BODY=true" in said
    assert simulator.state == "No session"


def test_the_cure_works(open_page: Open, tmp_path: Path) -> None:
    with dev(tmp_path, WXLOGIN_SESSION_ID_IN_BODY="true") as cured:
        simulator = open_page(cured.simulator)
        simulator.turn("lost")

        assert "Logged in" in simulator.press("logIn")
        assert '"appid"' in simulator.press("whoAmI")
        simulator.page.close()


def test_a_slow_network_takes_a_second_each_way_and_the_buttons_wait(simulator: Simulator) -> None:
    clock = simulator.page.clock
    clock.install()
    simulator.reload()
    simulator.turn("slow")
    clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))

    simulator.button("logIn").click()

    simulator.see(("wechat", "miniprogram", "code"))
    clock.run_for(999)
    with simulator.page.expect_request("**/simulator/request"):
        clock.run_for(1)
    simulator.see(("service", "miniprogram", "200 Set-Cookie"))
    clock.run_for(999)
    expect(simulator.page.locator("#result")).to_have_text("Working…")
    for button in simulator.page.locator("[data-action]").all():
        expect(button).to_have_attribute("aria-disabled", "true")
    simulator.button("whoAmI").dispatch_event("click")  # of which nothing comes
    clock.resume()
    simulator.wait()
    assert "Logged in" in simulator.result
    assert ("miniprogram", "service", "GET /session") not in simulator.arrows


@pytest.mark.parametrize(
    ("switch", "code", "errcode"), [("busy", "wechat_unavailable", -1), ("codeUsed", "code_used", 40163)]
)
def test_wechats_trouble_is_told_and_over_with_the_switch(
    simulator: Simulator, the_dev: Dev, switch: str, code: str, errcode: int
) -> None:
    the_dev.sandbox("DELETE", "")
    simulator.turn(switch)

    said = simulator.press("logIn")

    assert code in said
    assert set(the_dev.exchanges()) == {errcode}
    simulator.see(("wechat", "service", f"errcode {errcode}"))
    simulator.turn(switch)
    # Not at once: Retry-After says when, and the client heeds it.
    wait_until(lambda: "Logged in" in simulator.press("logIn"), what="a login works again")
    assert simulator.state == "Holds a session"


def test_a_switch_that_is_turned_twice_at_once_is_off(simulator: Simulator, the_dev: Dev) -> None:
    busy = simulator.switch("busy")

    busy.dblclick()

    expect(busy).to_have_attribute("aria-busy", "false")
    expect(busy).not_to_be_checked()
    wait_until(lambda: the_dev.exchange("junk")["errcode"] == 40029, what="WeChat is as before")
    assert "Logged in" in simulator.press("logIn")


def test_a_page_that_is_left_takes_its_trouble_along(open_page: Open, the_dev: Dev) -> None:
    simulator = open_page()
    simulator.turn("busy")
    assert the_dev.exchange("junk")["errcode"] == -1

    simulator.page.goto("about:blank")

    wait_until(lambda: the_dev.exchange("junk")["errcode"] == 40029, what="WeChat is as before")


def test_a_session_that_is_over_is_renewed_and_the_user_notices_nothing(logged_in: Simulator) -> None:
    logged_in.turn("expired")

    drawn = logged_in.arrows_after("callBackend", ("backend", "miniprogram", "200"))

    assert "The back end answered" in logged_in.result
    assert logged_in.page.locator("#messages .note").inner_text() == (
        "The session was ended on the server, and the mini-program not told"
    )
    told = [arrow for arrow in drawn if "miniprogram" in arrow[:2]]
    assert told == [
        ("miniprogram", "backend", "GET /api/orders"),
        ("backend", "miniprogram", "401 not_logged_in"),
        ("miniprogram", "wechat", "wx.login()"),
        ("wechat", "miniprogram", "code"),
        ("miniprogram", "service", "POST /login"),
        ("service", "miniprogram", "200 Set-Cookie"),
        ("miniprogram", "backend", "GET /api/orders"),
        ("backend", "miniprogram", "200"),
    ]


def test_user_data_from_before_a_login_has_to_be_asked_for_again(logged_in: Simulator) -> None:
    logged_in.turn("expired")
    said = logged_in.press("decryptUserInfo")
    logged_in.turn("expired")

    again = logged_in.press("decryptUserInfo")

    assert "session_key_stale" in said
    assert "press the button once more" in said
    assert '"nickName"' in again


def test_a_switch_that_the_sandbox_does_not_hear_of_stays_as_it_was(
    simulator: Simulator, the_dev: Dev, complaints: list[str]
) -> None:
    simulator.page.route("**/_sandbox/faults", lambda route: route.abort(), times=1)

    simulator.turn("busy")

    expect(simulator.switch("busy")).not_to_be_checked()
    assert "It failed" in simulator.result
    assert [each for each in complaints if "net::ERR_FAILED" not in each] == []
    complaints.clear()
    simulator.turn("codeUsed")
    assert the_dev.exchange("junk")["errcode"] == 40163
    simulator.turn("codeUsed")


def test_the_services_limit_is_told(open_page: Open, tmp_path: Path) -> None:
    limits = {**dict.fromkeys(LIMITS, "none"), "WXLOGIN_LOGIN_LIMIT_PER_ADDRESS": "1/hour"}
    with dev(tmp_path, **limits) as strict:
        simulator = open_page(strict.simulator)
        simulator.press("logIn")

        said = simulator.press("logIn")

        assert "rate_limited" in said
        assert "takes no more logins" in said
        simulator.see(("service", "miniprogram", "429 rate_limited"))
        simulator.page.close()


def test_a_service_that_is_away_is_told(open_page: Open, tmp_path: Path, complaints: list[str]) -> None:
    with sandbox_alone(tmp_path, service=f"http://127.0.0.1:{free_port()}") as alone:
        simulator = open_page(alone.simulator)

        said = simulator.press("logIn")

        assert "network_error" in said
        assert "Is it running?" in said
        assert set(complaints) == {
            "error: Failed to load resource: the server responded with a status of 502 (BAD GATEWAY)"
        }
        complaints.clear()
        simulator.page.close()


def test_a_service_that_tells_nothing_of_redis_is_drawn_without(
    open_page: Open, the_dev: Dev, tmp_path: Path
) -> None:
    with sandbox_alone(tmp_path, service=the_dev.addresses["service"]) as alone:
        simulator = open_page(alone.simulator)

        expect(simulator.page.locator("#unseen")).to_be_visible()
        assert "invalid_code" in simulator.press("logIn")  # of another sandbox than the service asks
        assert ("miniprogram", "service", "POST /login") in simulator.arrows
        assert "redis" not in {party for arrow in simulator.arrows for party in arrow[:2]}
        simulator.page.close()


def test_a_page_whose_sandbox_stops_says_so_until_it_is_back(
    open_page: Open, the_dev: Dev, tmp_path: Path, complaints: list[str]
) -> None:
    where: dict[str, Any] = {"service": the_dev.addresses["service"], "port": free_port()}
    with sandbox_alone(tmp_path, **where) as alone:
        simulator = open_page(alone.simulator)
    hint = simulator.page.locator("#hint")
    expect(hint).to_contain_text("can't be reached")

    said = simulator.press("logIn")

    assert "It failed: wx_login_failed" in said
    with sandbox_alone(tmp_path, **where):
        expect(hint).to_contain_text("Press “Log in”", timeout=TIMEOUT_SECONDS * 1000)
        simulator.page.close()
    complaints[:] = [each for each in complaints if "net::ERR" not in each]
