"""The page in large windows and small ones, and in those that nobody looks at."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import MESSAGES_OF_A_LOGIN, Simulator
from tests.sandbox.simulator.drivers import LOGIN


@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640), (768, 1024), (1000, 800), (1920, 1080)])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_window_shows_all_of_its_text_without_scrolling_sideways(
    open_page: Open, width: int, height: int, locale: str
) -> None:
    simulator = open_page(viewport={"width": width, "height": height}, locale=locale)
    simulator.turn("lost")

    assert "WXLOGIN_SESSION_ID_IN_BODY=true" in simulator.press("logIn")

    simulator.see(*LOGIN)
    assert simulator.page.evaluate("document.documentElement.scrollWidth") <= width
    assert simulator.page.evaluate(STICKS_OUT) == []


STICKS_OUT = """() => {
  const boxOf = (element) => {
    let each = element
    while (getComputedStyle(each).display.startsWith('inline')) each = each.parentElement
    return each.getBoundingClientRect()
  }
  const isForEyes = (element) => element.checkVisibility() && !element.closest('.skip') &&
    ![element, element.parentElement].some((each) => getComputedStyle(each).clipPath !== 'none')
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const found = []
  while (walker.nextNode()) {
    const node = walker.currentNode
    if (!node.textContent.trim() || !isForEyes(node.parentElement)) continue
    const range = document.createRange()
    range.selectNodeContents(node)
    const box = boxOf(node.parentElement)
    const sticksOut = [...range.getClientRects()].some(({ left, right }) =>
      left < Math.max(0, box.left) - 1 || right > Math.min(innerWidth, box.right) + 1)
    if (sticksOut) found.push(node.textContent)
  }
  return found
}"""


@pytest.mark.parametrize("width", [768, 1000])
def test_a_key_of_redis_is_broken_at_its_colons(open_page: Open, width: int) -> None:
    simulator = open_page(viewport={"width": width, "height": 800})
    simulator.log_in()

    lines = simulator.message("service", "redis", "EVAL wxlogin:user:…").locator(".title").evaluate(LINES)

    *broken, _last = lines
    assert len(broken) > 0
    assert {line[-1] for line in broken} <= {" ", ":"}


LINES = """title => {
  const lines = new Map()
  const walker = document.createTreeWalker(title, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    for (const [index, character] of [...walker.currentNode.textContent].entries()) {
      const range = document.createRange()
      range.setStart(walker.currentNode, index)
      range.setEnd(walker.currentNode, index + 1)
      const { bottom } = range.getBoundingClientRect()
      lines.set(bottom, (lines.get(bottom) ?? '') + character)
    }
  }
  return [...lines.values()]
}"""


@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640)])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_fingers_reach_all_buttons_and_switches_in_a_small_window(
    open_page: Open, width: int, height: int, locale: str
) -> None:
    simulator = open_page(viewport={"width": width, "height": height}, locale=locale, has_touch=True)

    targets = simulator.page.locator("button, label").all()

    assert len(targets) == 18
    for target in targets:
        target.tap(trial=True)
        box = target.bounding_box()
        assert box
        assert box["height"] >= 24  # https://www.w3.org/TR/WCAG22/#target-size-minimum


def test_a_wide_window_has_the_phone_beside_the_diagram(simulator: Simulator) -> None:
    phone, diagram = (simulator.page.locator(name).bounding_box() for name in ("#phone", "#diagram"))

    assert phone
    assert diagram
    assert phone["x"] + phone["width"] <= diagram["x"]
    assert phone["y"] == diagram["y"]


@pytest.mark.parametrize(("width", "height"), [(1000, 700), (1280, 800), (1920, 1080)])
def test_a_wide_window_has_the_end_of_a_login_in_sight(open_page: Open, width: int, height: int) -> None:
    simulator = open_page(viewport={"width": width, "height": height})

    simulator.log_in()

    expect(simulator.message(*LOGIN[-1])).to_be_in_viewport(ratio=1)
    assert simulator.page.evaluate("[document.documentElement.scrollHeight, scrollY]") == [height, 0]


def test_the_diagram_stays_in_sight_while_the_last_switch_is_turned(logged_in: Simulator) -> None:
    logged_in.turn("expired")

    logged_in.press("whoAmI")

    expect(logged_in.page.locator(".parties")).to_be_in_viewport(ratio=1)
    expect(logged_in.page.locator("#messages li").last).to_be_in_viewport(ratio=1)


def test_the_diagram_follows_what_happens_but_takes_nobody_away_from_reading(simulator: Simulator) -> None:
    messages, rows = simulator.page.locator("#messages"), simulator.page.locator("#messages .message")
    for _ in range(3):
        simulator.press("logIn")
    expect(rows).to_have_count(3 * MESSAGES_OF_A_LOGIN)
    assert messages.evaluate("list => list.scrollHeight > 2 * list.clientHeight")
    assert messages.evaluate("list => list.scrollHeight - list.scrollTop - list.clientHeight") < 40

    messages.evaluate("list => { list.scrollTop = 0 }")
    simulator.page.evaluate("fetch('/simulator/wx/login', {method: 'POST', body: '{}'})")

    expect(rows).to_have_count(3 * MESSAGES_OF_A_LOGIN + 2)
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
