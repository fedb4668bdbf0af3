"""``/docs`` in a real browser: each operation is there, and its command does what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.browser.conftest import watch
from tests.browser.drivers import Dev
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import TIMEOUT_SECONDS


@pytest.fixture
def service(the_dev: Dev) -> str:
    return the_dev.addresses["service"]


@pytest.fixture
def mini_program(the_dev: Dev, service: str) -> MiniProgram:
    return MiniProgram(over_http(service), Sandbox(the_dev.addresses["sandbox"]))


@pytest.fixture
def page(browser: Browser, service: str, complaints: list[str]) -> Iterator[Page]:
    """The page, when its program has made it; it may not complain, nor ask anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    watch(page, complaints, own=service.removeprefix("http://"))
    page.goto(f"{service}/docs")
    page.locator("article").first.wait_for()
    yield page
    context.close()
    assert complaints == []


def run(command: str, **variables: str) -> str:
    """Run a command of the page in a shell, and return the status line of the answer."""
    ended = subprocess.run(
        ["bash", "-c", command],
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return ended.stdout.partition("\n")[0]


def test_each_operation_has_an_article_with_a_command(page: Page, service: str) -> None:
    paths = requests.get(f"{service}/openapi.json", timeout=TIMEOUT_SECONDS).json()["paths"]
    operations = {operation["operationId"] for item in paths.values() for operation in item.values()}

    commands = page.locator("article").evaluate_all(
        "all => Object.fromEntries(all.map(({ id, innerText }) => [id, /^curl .*/m.exec(innerText)?.[0]]))"
    )

    assert commands.keys() == operations
    assert [name for name, command in commands.items() if not command] == []


def test_the_old_clients_command_logs_in(page: Page, mini_program: MiniProgram) -> None:
    command = (
        page.locator("article", has=page.get_by_role("heading", name="GET /getOpenid")).locator("pre code").first
    )

    assert run(command.inner_text(), CODE=mini_program.sandbox.issue_code()) == "HTTP/1.1 200 OK"


def test_a_users_command_works_with_the_users_session(page: Page, mini_program: MiniProgram) -> None:
    mini_program.log_in()
    command = (
        page.locator("article", has=page.get_by_role("heading", name="GET /sessions")).locator("pre code").first
    )

    assert run(command.inner_text(), SESSION=mini_program.stored) == "HTTP/1.1 200 OK"
    assert run(command.inner_text(), SESSION="x") == "HTTP/1.1 401 UNAUTHORIZED"
