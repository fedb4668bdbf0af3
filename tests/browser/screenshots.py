"""Takes the pictures of the simulator for the READMEs anew: `python -m tests.browser.screenshots`.

The one in Chinese needs a font for it, such as Debian's fonts-wqy-microhei.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.browser.drivers import Dev, Simulator, chromium, dev
from tests.conftest import LIMITS
from tests.servers import PROJECT

FOLDER = PROJECT / "docs/images"
# So high that all of the phone is in it, and a whole login with what WeChat answered.
PICTURES = {"en-US": ("simulator.png", 1170), "zh-CN": ("simulator.zh-CN.png", 1075)}
WITHOUT_LIMITS = dict.fromkeys(LIMITS, "none")  # which ask Redis, and have nothing to do with logging in


def main() -> None:
    """Write the pictures into docs/images/."""
    with (
        tempfile.TemporaryDirectory() as folder,
        dev(Path(folder), **WITHOUT_LIMITS) as running,
        sync_playwright() as playwright,
    ):
        browser = chromium(playwright)
        for locale, (name, height) in PICTURES.items():
            take(browser, running, locale=locale, height=height, path=FOLDER / name)
        browser.close()


def take(browser: Browser, running: Dev, *, locale: str, height: int, path: Path) -> None:
    """Log in, open the message with the session_key, and take a picture."""
    window: ViewportSize = {"width": 1280, "height": height}
    page = browser.new_page(locale=locale, viewport=window, device_scale_factor=1.4)
    page.goto(running.simulator)
    Simulator(page).log_in()
    page.locator(".message.stays[data-from=wechat] summary").click()
    page.locator("#messages").evaluate("list => { list.scrollTop = 0 }")
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
    page.close()


if __name__ == "__main__":
    main()
