"""docs/api.md shows every route, and the service answers what it shows."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import Sandbox
from tests.servers import PROJECT, TIMEOUT_SECONDS, RedisServer, Service, gunicorn
from wxlogin.config.settings import load
from wxlogin.services import Services
from wxlogin.web.app import create_app

ADMIN_TOKEN = "operators-only-0123456789"
PAGE = (PROJECT / "docs/api.md").read_text()


@pytest.fixture(scope="module")
def service(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = environment(redis_url=store.url, wechat_api_url=the_sandbox.url)
    with gunicorn(tmp_path_factory.mktemp("service"), {**settings, "WXLOGIN_ADMIN_TOKEN": ADMIN_TOKEN}) as running:
        yield running


def commands() -> list[tuple[str, str]]:
    """Return each command of the page and what it prints there, in their order."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, shown.strip()) for command, _, shown in (part.partition("\n") for part in parts)]


def run_all(script: list[str], folder: Path) -> list[str]:
    """Run the commands in one shell, as a reader does, and return what each printed."""
    end = "--end-of-answer--"
    lines = "\n".join(f"{command}\necho {end}" for command in script)
    ended = subprocess.run(
        ["bash", "-c", lines],
        cwd=folder,
        env={**os.environ, "WXLOGIN_ADMIN_TOKEN": ADMIN_TOKEN},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return [printed.strip() for printed in ended.stdout.replace("\r", "").split(end)][:-1]


def is_like(printed: str, shown: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), printed) is not None


def test_each_command_prints_what_the_page_shows(service: Service, sandbox: Sandbox, tmp_path: Path) -> None:
    script, shown = zip(*commands(), strict=True)
    here = [
        command.replace("http://127.0.0.1:8000", service.url).replace("http://127.0.0.1:8001", sandbox.url)
        for command in script
    ]

    printed = run_all(here, tmp_path)

    differing = [each for each in zip(script, printed, shown, strict=True) if not is_like(each[1], each[2])]
    assert differing == []


def test_every_route_is_on_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(redis_url="memory://", wechat_api_url="http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WXLOGIN_ADMIN_TOKEN", ADMIN_TOKEN)
    app = create_app(Services.build(load()))

    titles = {
        f"`{method} {rule.rule}`"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }

    assert set(re.findall(r"^### (.*)", PAGE, re.MULTILINE)) == titles
