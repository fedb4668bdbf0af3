"""Takes the pictures of the simulator for the READMEs anew: `python -m tests.browser.screenshots`.

The one in Chinese needs a font for it, such as Debian's fonts-wqy-microhei.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.drivers import MESSAGES_OF_A_LOGIN, Dev, Simulator, chromium, dev
from tests.servers import PROJECT

MESSAGES_OF_LIMITS = 4
PICTURES = {"en-US": "simulator.png", "zh-CN": "simulator.zh-CN.png"}


def main() -> None:
    """Write the pictures into docs/images/."""
    with tempfile.TemporaryDirectory() as folder, dev(Path(folder)) as running, sync_playwright() as playwright:
        browser = chromium(playwright)
        for locale, name in PICTURES.items():
            take(browser, running, locale=locale, path=PROJECT / "docs/images" / name)
        browser.close()


def take(browser: Browser, running: Dev, *, locale: str, path: Path) -> None:
    """Log in, open the message with the session_key, and take a picture."""
    page = browser.new_page(locale=locale, viewport={"width": 1280, "height": 1100}, device_scale_factor=1.5)
    page.goto(running.simulator)
    Simulator(page).log_in(messages=MESSAGES_OF_A_LOGIN + MESSAGES_OF_LIMITS)
    page.locator(".message.stays[data-from=wechat] summary").click()
    page.locator("#messages").evaluate("list => { list.scrollTop = 0; scrollTo(0, 0) }")
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
    page.close()


if __name__ == "__main__":
    main()
