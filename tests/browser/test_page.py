"""The page for everybody: in both languages, by keyboard, to a screen reader, in a small window."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import MESSAGES_OF_A_LOGIN, Simulator

BUTTONS = {
    "en-US": [
        "Log in",
        "Who am I?",
        "Protected call",
        "Decrypt user info",
        "Phone number",
        "Log out",
        "Log out everywhere",
    ],
    "zh-CN": [
        "登录",
        "我是谁？",
        "访问受保护的接口",
        "解密用户信息",
        "获取手机号",
        "退出登录",
        "在所有设备上退出",
    ],
}
ACTIONS = ["logIn", "whoAmI", "callBackend", "decryptUserInfo", "getPhoneNumber", "logOut", "logOutEverywhere"]
SWITCHES = ["lowerCase", "array", "joined", "lost", "slow", "busy", "codeUsed", "expired"]
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(("locale", "lang"), [("en-US", "en"), ("zh-CN", "zh"), ("fr-FR", "en")])
def test_the_page_speaks_the_browsers_language(open_page: Open, locale: str, lang: str) -> None:
    simulator = open_page(locale=locale)

    expect(simulator.page.locator("html")).to_have_attribute("lang", lang)
    names = BUTTONS.get(locale, BUTTONS["en-US"])
    assert [simulator.button(action).inner_text() for action in ACTIONS] == names


def test_the_other_language_is_there_for_all_that_is_drawn_and_stays_after_a_reload(simulator: Simulator) -> None:
    simulator.press("logIn")
    simulator.see(("service", "miniprogram", "200 Set-Cookie"))
    page = simulator.page
    page.locator(".message summary").first.click()

    page.get_by_role("button", name="中文").click()

    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert simulator.state == "持有会话"
    assert "登录" in page.locator(".step h3").inner_text()
    assert page.locator(".message details").first.get_attribute("open") is not None
    page.reload()
    expect(page.get_by_role("button", name="中文")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def test_no_chinese_is_left_in_the_english_page(simulator: Simulator) -> None:
    simulator.press("logIn")

    text = simulator.page.locator("body").inner_text().replace("中文", "")

    assert HAN.findall(text) == []


def test_both_languages_say_the_same_things(simulator: Simulator) -> None:
    keys = simulator.page.evaluate(
        """async () => {
          const { LANGUAGES } = await import('/simulator/words.mjs')
          const keysOf = (words) => Object.entries(words).flatMap(([key, value]) =>
            typeof value === 'object' ? keysOf(value).map((each) => `${key}.${each}`) : [value ? key : ''])
          return Object.values(LANGUAGES).map((words) => keysOf(words).sort())
        }"""
    )

    english, chinese = keys
    assert len(english) > 50
    assert "" not in english + chinese
    assert {key for key in english if not key.startswith("names.")} == {
        key for key in chinese if not key.startswith("names.")
    }


def test_all_of_it_works_by_keyboard(simulator: Simulator) -> None:
    page, reached = simulator.page, []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """(({dataset, id, className}) => dataset.action ?? dataset.switch ?? dataset.language ??
                   (id || className))(document.activeElement)"""
            )
        )

    assert reached[: 3 + len(ACTIONS) + len(SWITCHES)] == ["skip", "zh", "en", *ACTIONS, *SWITCHES]
    assert {"clear", "messages"} <= set(reached)


def test_enter_presses_a_button_which_keeps_the_focus_and_space_turns_a_switch(simulator: Simulator) -> None:
    simulator.turn("slow")
    simulator.button("logIn").focus()

    simulator.page.keyboard.press("Enter")

    expect(simulator.button("logIn")).to_have_attribute("aria-disabled", "true")
    expect(simulator.button("logIn")).to_be_focused()
    simulator.wait()
    expect(simulator.button("logIn")).to_be_focused()
    assert "Logged in" in simulator.result
    simulator.switch("array").focus()
    simulator.page.keyboard.press("Space")
    expect(simulator.switch("array")).to_be_checked()


def test_a_message_is_opened_by_keyboard(simulator: Simulator) -> None:
    simulator.press("logIn")
    message = simulator.page.locator(".message").first

    message.locator("summary").focus()
    simulator.page.keyboard.press("Enter")

    expect(message.locator(".content")).to_be_visible()


def test_a_screen_reader_is_told_the_names_and_what_happens(simulator: Simulator) -> None:
    page = simulator.page
    for name in BUTTONS["en-US"]:
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("switch")).to_have_count(len(SWITCHES))
    expect(page.get_by_role("switch", name="Set-Cookie is lost")).to_be_visible()
    expect(page.get_by_role("heading", name="What happens")).to_be_visible()

    simulator.press("logIn")

    expect(page.get_by_role("status").filter(has_text="Logged in")).to_be_visible()
    message = page.get_by_role("listitem").filter(has_text="POST /login")
    expect(message).to_contain_text("Mini-program to wxlogin: POST /login")


@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640), (768, 1024)])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_small_window_shows_all_of_it_without_scrolling_sideways(
    open_page: Open, width: int, height: int, locale: str
) -> None:
    simulator = open_page(viewport={"width": width, "height": height}, locale=locale)

    simulator.press("logIn")
    simulator.see(("service", "miniprogram", "200 Set-Cookie"))

    page = simulator.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for action in ACTIONS:
        box = simulator.button(action).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 24  # https://www.w3.org/TR/WCAG22/#target-size-minimum


def test_a_wide_window_has_the_phone_beside_the_diagram(simulator: Simulator) -> None:
    phone, diagram = (simulator.page.locator(name).bounding_box() for name in ("#phone", "#diagram"))

    assert phone
    assert diagram
    assert phone["x"] + phone["width"] <= diagram["x"]
    assert diagram["y"] < 800


def test_the_diagram_follows_what_happens_but_takes_nobody_away_from_reading(simulator: Simulator) -> None:
    messages = simulator.page.locator("#messages")
    for _ in range(4):
        simulator.press("logIn")
    simulator.see(("service", "miniprogram", "200 Set-Cookie"))
    beyond = "list => list.scrollHeight - list.scrollTop - list.clientHeight"

    followed = messages.evaluate(beyond)
    messages.evaluate("list => { list.scrollTop = 0 }")
    simulator.page.evaluate("fetch('/simulator/wx/login', {method: 'POST', body: '{}'})")
    simulator.see(("wechat", "miniprogram", "code"))

    assert messages.evaluate("list => list.scrollHeight > 2 * list.clientHeight")
    assert followed < 40
    assert messages.evaluate("list => list.scrollTop") == 0


def test_a_page_that_nobody_looks_at_listens_not_and_draws_later_what_it_missed(open_page: Open) -> None:
    """A browser has six connections to a server, and each page that listens takes one."""
    simulator, other = open_page(), open_page()
    simulator.page.evaluate(LOOK, True)

    other.log_in()

    assert simulator.page.locator(".message").count() == 0
    simulator.page.evaluate(LOOK, False)
    expect(simulator.page.locator(".message")).to_have_count(MESSAGES_OF_A_LOGIN)


LOOK = """isHidden => {
  Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true })
  document.dispatchEvent(new Event('visibilitychange'))
}"""


def test_a_switch_shows_its_state_where_the_system_chooses_the_colours(open_page: Open) -> None:
    switch = open_page(forced_colors="active").switch("slow")
    off = switch.screenshot()

    switch.check()

    assert switch.screenshot() != off


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const parts = (colour) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((each) => each / 255).map((each) =>
      each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor)
      if (colour[3] === 255) return colour
    }
    return parts(getComputedStyle(document.documentElement).colorScheme.includes('dark') &&
      matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#fff')
  }
  const texts = [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() &&
    [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
  return texts.map((each) => {
    const both = [parts(getComputedStyle(each).color), behind(each)].map(luminance)
    const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)
    return [each.className || each.tagName, each.textContent.trim().slice(0, 30), contrast]
  })
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(open_page: Open, scheme: str) -> None:
    simulator = open_page(color_scheme=scheme)
    simulator.press("logIn")
    simulator.see(("service", "miniprogram", "200 Set-Cookie"))
    simulator.page.locator(".message.stays summary").first.click()

    contrasts = simulator.page.evaluate(CONTRAST)

    assert len(contrasts) > 30
    # https://www.w3.org/TR/WCAG22/#contrast-minimum
    assert [each for each in contrasts if each[2] < 4.5] == []
