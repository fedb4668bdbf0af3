"""`wxlogin dev`, Debian's Chromium, and a page that may not complain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.browser.drivers import Dev, Simulator, chromium, dev
from tests.conftest import LIMITS
from tests.servers import TIMEOUT_SECONDS

Open = Callable[..., Simulator]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT_SECONDS * 1000)
    with sync_playwright() as playwright:
        started = chromium(playwright)
        yield started
        started.close()


@pytest.fixture(scope="package")
def the_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with dev(tmp_path_factory.mktemp("dev"), **dict.fromkeys(LIMITS, "none")) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    """What pages may complain of in this test: a test whose trouble is wanted says which, and takes it out."""
    return []


@pytest.fixture
def open_page(browser: Browser, the_dev: Dev, complaints: list[str]) -> Iterator[Open]:
    """Open the page in a browser that has not been there before; it may not complain, nor ask anybody else."""
    contexts = []

    def open_it(address: str = the_dev.simulator, **how: Any) -> Simulator:
        usual: dict[str, Any] = {"locale": "en-US", "viewport": {"width": 1280, "height": 800}}
        usual["reduced_motion"] = "reduce"  # nothing to wait for
        context = browser.new_context(**usual | how)
        contexts.append(context)
        page = context.new_page()
        watch(page, complaints, own=urlsplit(address).netloc)
        page.goto(address)
        simulator = Simulator(page)
        simulator.wait_until_there()
        return simulator

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def watch(page: Page, complaints: list[str], *, own: str) -> None:
    """Have `complaints` told of all that is wrong, and of requests to others than `own`."""

    def look(request: Request) -> None:
        if urlsplit(request.url).netloc not in {own, ""}:
            complaints.append(f"asked: {request.url}")

    def fail(request: Request) -> None:
        if not request.url.endswith("/messages") and "/messages?" not in request.url:  # a stream without an end
            complaints.append(f"failed: {request.url} {request.failure}")

    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("requestfailed", fail)
    page.on("request", look)


@pytest.fixture
def logged_in(simulator: Simulator) -> Simulator:
    simulator.log_in()
    return simulator


@pytest.fixture
def simulator(open_page: Open) -> Simulator:
    return open_page()
