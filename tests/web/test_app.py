"""Assembly: from the environment to an application that runs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import SECRET_KEY, environment
from tests.servers import PROJECT, TIMEOUT_SECONDS, clean_environment
from wxlogin.cli.dev.app import create_dev_app
from wxlogin.config.settings import Settings
from wxlogin.server.gunicorn_config import warn_of_eviction
from wxlogin.services import Services
from wxlogin.storage.health import StoreHealth
from wxlogin.web.app import create_app, from_environment


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(redis_url="memory://", wechat_api_url="http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_environment", "logging_as_it_was")
def test_the_environment_makes_an_application() -> None:
    app = from_environment()

    assert app.test_client().get("/healthz").status_code == 200


@pytest.mark.usefixtures("_environment", "logging_as_it_was")
@pytest.mark.parametrize(("simulator_url", "status"), [(None, 404), ("http://127.0.0.1:9/simulator", 200)])
def test_the_page_about_the_api_is_for_those_who_develop(simulator_url: str | None, status: int) -> None:
    app = create_dev_app(simulator_url=simulator_url) if simulator_url else from_environment()

    assert app.test_client().get("/docs").status_code == status


@pytest.mark.usefixtures("_environment", "logging_as_it_was")
@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://sandbox:8001", True),
        ("http://localhost:8001", False),
        ("http://[::1]:8001", False),
        ("https://api.weixin.qq.com", False),
    ],
)
def test_a_secret_that_travels_in_clear_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, warned: bool
) -> None:
    monkeypatch.setenv("WXLOGIN_WECHAT_API_URL", url)

    from_environment()

    assert ("is plain http" in capsys.readouterr().err) == warned


@pytest.mark.usefixtures("_environment", "logging_as_it_was")
def test_a_misspelt_setting_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WXLOGIN_COOKY_PATH", "/")

    from_environment()

    assert "WXLOGIN_COOKY_PATH is not a setting of this service" in capsys.readouterr().err


def test_gunicorn_refuses_to_start_with_bad_settings_and_says_what_to_write(tmp_path: Path) -> None:
    settings = environment(redis_url="http://no-redis", wechat_api_url="http://127.0.0.1:1") | {
        "WXLOGIN_APPID": "wx"
    }

    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", "127.0.0.1:0"],
        cwd=PROJECT,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert ended.returncode == 1
    assert "WXLOGIN_APPID: Not an AppID. Write " in ended.stderr
    assert "WXLOGIN_REDIS_URL: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert SECRET_KEY not in ended.stderr


def test_nothing_is_connected_before_it_is_needed(settings: Settings) -> None:
    nowhere = dataclasses.replace(settings, redis_url="redis://127.0.0.1:1/0", wechat_api_url="http://127.0.0.1:1")

    app = create_app(Services.build(nowhere))

    assert app.test_client().get("/healthz").status_code == 200


def test_gunicorn_has_the_threads_that_the_service_shares_out() -> None:
    settings = environment(redis_url="memory://", wechat_api_url="http://127.0.0.1:1") | {"WXLOGIN_THREADS": "3"}

    printed = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app", "--print-config"],
        cwd=PROJECT,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    ).stdout

    assert [line.split() for line in printed.splitlines() if line.startswith("threads ")] == [
        ["threads", "=", "3"]
    ]


def test_the_store_in_memory_is_not_asked_whether_it_throws_sessions_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[StoreHealth] = []
    monkeypatch.setattr(StoreHealth, "warn_of_eviction", asked.append)

    warn_of_eviction(create_app(Services.build(settings)))

    assert asked == []


def test_a_real_store_is_asked_whether_it_throws_sessions_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(StoreHealth, "warn_of_eviction", lambda _health: asked.set())

    warn_of_eviction(create_app(Services.build(dataclasses.replace(settings, redis_url="redis://127.0.0.1:1/0"))))

    assert asked.wait(TIMEOUT_SECONDS)
