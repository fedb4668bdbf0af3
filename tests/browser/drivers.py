"""The simulator's page in a real browser, as somebody at it uses it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from tests.sandbox.simulator.drivers import Arrow
from tests.servers import PROJECT, TIMEOUT_SECONDS, clean_environment, free_port, program

# A browser in a container, as root, without a graphics card, that asks nobody but the page's own server.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

MESSAGES_OF_A_LOGIN = 12


def without_answers_of_redis(arrows: Sequence[Arrow]) -> list[Arrow]:
    return [arrow for arrow in arrows if arrow[0] != "redis"]


def without_redis(arrows: Sequence[Arrow]) -> list[Arrow]:
    return [arrow for arrow in arrows if "redis" not in arrow]


def chromium(playwright: Playwright) -> Browser:
    """Start Debian's Chromium."""
    path = program("chromium", package="chromium")
    return playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)


@dataclasses.dataclass(frozen=True)
class Dev:
    """A running `wxlogin dev`, or a sandbox alone; `addresses` are those that it printed, by name."""

    addresses: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def simulator(self) -> str:
        return self.addresses["simulator"]

    def sandbox(self, method: str, path: str, body: object = None) -> Any:
        """Ask the control plane."""
        answer = requests.request(
            method, f"{self.addresses['sandbox']}/_sandbox{path}", json=body, timeout=TIMEOUT_SECONDS
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def tell(self, message: object) -> None:
        """Tell the pages of a message, as the service tells of Redis."""
        address = f"{self.addresses['sandbox']}/simulator/messages"
        requests.post(address, json={"messages": [message]}, timeout=TIMEOUT_SECONDS).raise_for_status()

    def exchange(self, js_code: str) -> Any:
        """Ask as the service does, and return the answer."""
        query = {"appid": "wx4f4bc4dec97d474b", "secret": "sandbox-secret", "js_code": js_code}
        address = f"{self.addresses['sandbox']}/sns/jscode2session"
        return requests.get(
            address, params={**query, "grant_type": "authorization_code"}, timeout=TIMEOUT_SECONDS
        ).json()

    def exchanges(self) -> list[int | None]:
        """Return the errcodes of the exchanges so far."""
        return [call["errcode"] for call in self.sandbox("GET", "/calls") if "jscode2session" in call["path"]]


@contextlib.contextmanager
def dev(folder: Path, **settings: str) -> Iterator[Dev]:
    """Run `wxlogin dev` until the context ends."""
    ports = ("--port", str(free_port()), "--sandbox-port", str(free_port()))
    with _wxlogin("dev", *ports, folder=folder, last_word="Ctrl-C", **settings) as running:
        yield running


@contextlib.contextmanager
def sandbox_alone(folder: Path, *, service: str, port: int | None = None) -> Iterator[Dev]:
    """Run `wxlogin sandbox` until the context ends."""
    arguments = ("sandbox", "--port", str(port or free_port()), "--service", service)
    with _wxlogin(*arguments, folder=folder, last_word="knows") as running:
        yield running


@contextlib.contextmanager
def _wxlogin(*arguments: str, folder: Path, last_word: str, **settings: str) -> Iterator[Dev]:
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wxlogin", *arguments],
            cwd=folder,
            env=clean_environment({"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **settings}),
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        try:
            yield Dev(_addresses(process, last_word), process)
        finally:
            process.terminate()
            process.communicate(timeout=TIMEOUT_SECONDS)


def _addresses(process: subprocess.Popen[str], last_word: str) -> dict[str, str]:
    assert process.stdout
    said = ""
    while last_word not in said:
        line = process.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    return dict(re.findall(r"^(\w+) +(http\S+)", said, re.MULTILINE))


class Simulator:
    """The page; what a user does with it, and what there is to see."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def button(self, action: str) -> Locator:
        return self.page.locator(f"[data-action={action}]")

    def switch(self, name: str) -> Locator:
        return self.page.locator(f"[data-switch={name}]")

    def press(self, action: str) -> str:
        """Press a button, wait for what comes of it, and return what the phone shows."""
        self.button(action).click()
        self.wait()
        return self.result

    def log_in(self, *, messages: int = MESSAGES_OF_A_LOGIN) -> None:
        """Log in on a new page, and wait until all of it is drawn: nothing of it comes later."""
        self.press("logIn")
        expect(self.page.locator("#messages .message")).to_have_count(messages)

    def reload(self) -> None:
        """Load the page again, and wait until it does what it is told."""
        self.page.reload()
        self.wait_until_there()

    def wait_until_there(self) -> None:
        """Wait for the first thing that the page's program says."""
        self.page.locator("#state:not(:empty)").wait_for()

    def wait(self) -> None:
        """Wait until nothing is under way any more."""
        expect(self.page.locator("#result p")).not_to_have_count(0)
        expect(self.button("logIn")).to_have_attribute("aria-disabled", "false", timeout=TIMEOUT_SECONDS * 1000)

    def turn(self, *names: str) -> None:
        """Turn switches, each to its other side."""
        for name in names:
            self.switch(name).click()
            expect(self.switch(name)).to_have_attribute("aria-busy", "false")

    @property
    def result(self) -> str:
        return self.page.locator("#result").inner_text()

    @property
    def state(self) -> str:
        return self.page.locator("#state").inner_text()

    @property
    def arrows(self) -> list[Arrow]:
        """All that is drawn, in its order."""
        rows: Sequence[Sequence[str]] = self.page.eval_on_selector_all(
            "#messages .message",
            """rows => rows.map((row) =>
                 [row.dataset.from, row.dataset.to, row.querySelector('.title').textContent])""",
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def message(self, sender: str, receiver: str, title: str) -> Locator:
        """Return the first of those messages."""
        row = self.page.locator(f"#messages .message[data-from={sender}][data-to={receiver}]")
        exactly = re.compile(f"^{re.escape(title)}$")
        return row.filter(has=self.page.locator(".title", has_text=exactly)).first

    def see(self, *arrows: Arrow) -> None:
        """Wait until these are drawn: reports of Redis come a little later than what the page itself does."""
        for arrow in arrows:
            expect(self.message(*arrow)).to_be_attached(timeout=TIMEOUT_SECONDS * 1000)

    def told(self, *parties: str) -> list[str]:
        """Return all that these tell or are told, what is not opened included."""
        rows = (f".message[data-{way}={party}]" for party in parties for way in ("from", "to"))
        return self.page.locator(", ".join(rows)).all_text_contents()

    @property
    def openid(self) -> str:
        """Who uses the phone: WeChat on it knows."""
        return str(self.page.evaluate("localStorage.getItem('simulator:openid')"))

    def arrows_after(self, action: str, *last: Arrow) -> list[Arrow]:
        """Press a button on an empty diagram, and return what it draws; `last` has to be there by then."""
        self.page.locator("#clear").click()
        self.press(action)
        self.see(*last)
        return self.arrows
