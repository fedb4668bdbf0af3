"""English and Chinese: each is whole, and who is there decides which it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.drivers import Simulator

HAN = re.compile(r"[\u4e00-\u9fff]")
CHINESE_BUTTON = "中文"
LOGGED_IN = {"en": "Holds a session", "zh": "持有会话"}
DONE = {"en": "Logged in", "zh": "已登录"}
STEP = {"en": "Log in", "zh": "登录"}

BROWSER_PREFERS = """languages => Object.defineProperty(navigator, 'languages', { get: () => languages })"""


def words_of(simulator: Simulator) -> Any:
    """Return what the page can say, by language."""
    return simulator.page.evaluate("import('/simulator/words.mjs').then(({ LANGUAGES }) => LANGUAGES)")


def sentences_in(words: Mapping[str, Any]) -> dict[str, str]:
    """Return what is said, by where it is among the words: `results.logIn`."""
    found: dict[str, str] = {}
    for name, value in words.items():
        parts = sentences_in(value) if isinstance(value, dict) else {"": value}
        found |= {f"{name}.{part}".rstrip("."): sentence for part, sentence in parts.items()}
    return found


def show_much(simulator: Simulator) -> None:
    """Have the page say as much as it can at once: what was ended, what went wrong, what stays where."""
    simulator.turn("expired")
    for action in ("logIn", "callBackend", "getPhoneNumber"):
        simulator.press(action)
    simulator.turn("lost")
    simulator.press("logIn")
    expect(simulator.page.locator("#messages .note")).not_to_have_count(0)
    simulator.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")


def test_both_languages_say_the_same_things(simulator: Simulator) -> None:
    english, chinese = (sentences_in(words) for words in words_of(simulator).values())

    assert len(english) > 50
    assert english.keys() == chinese.keys()
    assert [where for where, said in {**english, **chinese}.items() if not said.strip()] == []
    assert [said for said in english.values() if HAN.search(said)] == []
    assert {said for said in chinese.values() if not HAN.search(said)} == {"wxlogin", "Redis", "access_token"}


@pytest.mark.parametrize(("locale", "lang"), [("en-US", "en"), ("zh-CN", "zh"), ("zh-TW", "zh"), ("fr-FR", "en")])
def test_the_page_speaks_the_browsers_language(open_page: Open, locale: str, lang: str) -> None:
    simulator = open_page(locale=locale)

    expect(simulator.page.locator("html")).to_have_attribute("lang", lang)
    words = words_of(simulator)[lang]
    said = simulator.page.eval_on_selector_all(
        "[data-word]", "all => all.map(({ dataset, textContent }) => [dataset.word, textContent])"
    )
    assert len(said) > 20
    assert said == [[word, words[word]] for word, _ in said]
    expect(simulator.page).to_have_title(f"wxlogin {words['title']}")


@pytest.mark.parametrize(
    ("preferred", "lang"), [(["en-US", "zh-CN"], "en"), (["fr", "zh-CN", "en"], "zh"), (["zh"], "zh"), ([], "en")]
)
def test_of_several_languages_the_one_that_is_liked_most_is_spoken(
    simulator: Simulator, preferred: list[str], lang: str
) -> None:
    simulator.page.add_init_script(f"({BROWSER_PREFERS})({preferred})")

    simulator.reload()

    expect(simulator.page.locator("html")).to_have_attribute("lang", lang)


def test_a_language_that_nobody_chose_is_not_kept(simulator: Simulator) -> None:
    simulator.page.add_init_script(f"({BROWSER_PREFERS})(['zh-CN'])")

    simulator.reload()

    expect(simulator.page.locator("html")).to_have_attribute("lang", "zh")


@pytest.mark.parametrize(("locale", "chosen"), [("en-US", "zh"), ("zh-CN", "en")])
def test_another_language_is_there_for_all_that_is_drawn_and_stays_after_a_reload(
    open_page: Open, locale: str, chosen: str
) -> None:
    simulator = open_page(locale=locale)
    simulator.log_in()
    page, names = simulator.page, {"zh": CHINESE_BUTTON, "en": "English"}
    page.locator(".message summary").first.click()

    page.get_by_role("button", name=names[chosen]).click()

    expect(page.locator("html")).to_have_attribute("lang", chosen)
    assert simulator.state == LOGGED_IN[chosen]
    assert DONE[chosen] in simulator.result
    expect(page.locator(".step h3")).to_have_text(STEP[chosen])
    expect(page.locator(".message .content").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name=names[chosen])).to_have_attribute("aria-pressed", "true")
    expect(page.locator("html")).to_have_attribute("lang", chosen)


def test_no_chinese_is_left_in_the_english_page(simulator: Simulator) -> None:
    show_much(simulator)

    text = simulator.page.locator("body").inner_text().replace(CHINESE_BUTTON, "")

    assert "never leaves the servers" in text
    assert HAN.findall(text) == []


def test_no_english_is_left_in_the_chinese_page(open_page: Open) -> None:
    simulator = open_page(locale="zh-CN")
    show_much(simulator)
    english, chinese = (sentences_in(words) for words in words_of(simulator).values())

    texts = simulator.page.evaluate(TEXTS)

    foreign = {said for said in english.values() if said not in chinese.values()}
    assert chinese["noteEnded"] in texts
    assert [text for text in texts if text in foreign] == []
    assert [text for text in texts for said in foreign if " " in said and said in text] == []


# But for what the service says, which is data.
TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const nodes = []
  while (walker.nextNode()) nodes.push(walker.currentNode)
  return nodes.filter((node) => !node.parentElement.closest('pre, noscript'))
    .map((node) => node.textContent.trim()).filter(Boolean)
}"""
