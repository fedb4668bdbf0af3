"""The page for everybody: by keyboard, to a screen reader, in whichever colours."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import Simulator

BUTTONS = {
    "logIn": "Log in",
    "whoAmI": "Who am I?",
    "callBackend": "Protected call",
    "decryptUserInfo": "Decrypt user info",
    "getPhoneNumber": "Phone number",
    "logOut": "Log out",
    "logOutEverywhere": "Log out everywhere",
}
SWITCHES = {
    "lowerCase": "Header in lower case (set-cookie)",
    "array": "Cookies as an array",
    "joined": "Joined by commas, with other cookies",
    "lost": "Set-Cookie is lost",
    "slow": "Slow network (1 s each way)",
    "busy": "WeChat is busy (-1)",
    "codeUsed": "Codes were used before (40163)",
    "expired": "The session is over, each time",
}


FOCUSED = """(({ dataset, id, className }) => dataset.action ?? dataset.switch ?? dataset.language ??
  (id || className))(document.activeElement)"""


def test_the_tab_key_reaches_all_there_is_in_the_order_it_is_read(simulator: Simulator) -> None:
    expected = ["skip", "zh", "en", *BUTTONS, *SWITCHES, "clear", "messages"]
    reached = []

    for _ in expected:
        simulator.page.keyboard.press("Tab")
        reached.append(simulator.page.evaluate(FOCUSED))

    assert reached == expected


def test_the_first_link_leads_past_the_phone(simulator: Simulator) -> None:
    link = simulator.page.get_by_role("link", name="Skip to the diagram")
    expect(link).not_to_be_in_viewport()

    simulator.page.keyboard.press("Tab")

    expect(link).to_be_in_viewport()
    simulator.page.keyboard.press("Enter")
    expect(simulator.page.locator("#diagram")).to_be_focused()
    simulator.page.keyboard.press("Tab")
    expect(simulator.page.get_by_role("button", name="Clear")).to_be_focused()


def test_a_button_that_is_pressed_with_enter_keeps_the_focus_while_it_is_busy(simulator: Simulator) -> None:
    simulator.turn("slow")
    button = simulator.button("logIn")
    button.focus()

    simulator.page.keyboard.press("Enter")

    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_be_focused()
    simulator.wait()
    expect(button).to_be_focused()
    assert "Logged in" in simulator.result


def test_the_space_bar_presses_buttons_and_turns_switches(simulator: Simulator) -> None:
    simulator.switch("array").focus()
    simulator.page.keyboard.press("Space")
    expect(simulator.switch("array")).to_be_checked()
    simulator.button("logIn").focus()

    simulator.page.keyboard.press("Space")

    simulator.wait()
    assert "Logged in" in simulator.result


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_message_is_reached_and_opened_by_keyboard(logged_in: Simulator, key: str) -> None:
    first, second = (logged_in.page.locator(".message").nth(index) for index in (0, 1))
    logged_in.page.locator("#messages").focus()

    logged_in.page.keyboard.press("Tab")
    logged_in.page.keyboard.press("Tab")

    expect(second.locator("summary")).to_be_focused()
    expect(second.locator("pre")).to_be_hidden()
    logged_in.page.keyboard.press(key)
    expect(second.locator("pre")).to_be_visible()
    expect(first.locator(".content")).to_be_hidden()
    logged_in.page.keyboard.press("Tab")
    expect(second.locator("pre")).to_be_focused()  # which may have to be scrolled


def test_a_screen_reader_is_told_what_there_is(simulator: Simulator) -> None:
    page = simulator.page
    buttons = page.get_by_role("group", name="Mini-program").get_by_role("button")
    switches = page.get_by_role("switch")

    expect(buttons).to_have_text([*BUTTONS.values()])
    expect(switches).to_have_count(len(SWITCHES))
    for name in SWITCHES.values():
        expect(page.get_by_role("switch", name=name, exact=True, checked=False)).to_be_visible()
    for group in ("How Set-Cookie reaches it", "What goes wrong"):
        expect(page.get_by_role("group", name=group).get_by_role("switch")).to_have_count(4)
    for region in ("Mini-program", "What happens"):
        expect(page.get_by_role("region", name=region)).to_be_visible()
    expect(page.get_by_role("button", name="English", pressed=True)).to_be_visible()


def test_a_screen_reader_is_told_what_happens(simulator: Simulator) -> None:
    status = simulator.page.get_by_role("status").and_(simulator.page.locator("#result"))
    expect(status).to_have_attribute("aria-live", "polite")
    expect(status).to_be_empty()

    simulator.log_in()

    expect(status).to_contain_text("Logged in")
    diagram = simulator.page.get_by_role("list", name="What happens")
    expect(diagram.get_by_role("heading")).to_have_text("Log in")
    expect(diagram).to_match_aria_snapshot(LOGIN_AS_IT_IS_READ)


LOGIN_AS_IT_IS_READ = """
- list "What happens":
  - listitem:
    - heading "Log in" [level=3]
  - listitem:
    - group: "Mini-program to WeChat: wx.login()"
  - listitem:
    - group: "WeChat to Mini-program: code"
  - listitem:
    - group: "Mini-program to wxlogin: POST /login"
  - listitem:
    - group: "wxlogin to WeChat: GET /sns/jscode2session secret never leaves the servers"
  - listitem:
    - group: "WeChat to wxlogin: ok openid, session_key never leaves the servers"
  - listitem:
    - group: "wxlogin to Mini-program: 200 Set-Cookie"
"""


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
    for switches, action in (((), "logIn"), (("expired",), "callBackend"), (("lost",), "logIn")):
        simulator.turn(*switches)
        simulator.press(action)
    simulator.see(("backend", "miniprogram", "401 not_logged_in"))
    expect(simulator.page.locator(".note")).to_have_count(2)
    simulator.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    contrasts = simulator.page.evaluate(CONTRAST)

    looked_at = {each[0] for each in contrasts}
    assert looked_at > {"bad", "help", "state on", "title", "gloss", "mark", "locked", "fence", "MARK", "H3"}
    # https://www.w3.org/TR/WCAG22/#contrast-minimum
    assert [each for each in contrasts if each[2] < 4.5] == []
