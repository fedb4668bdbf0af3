"""What a process starts with, when what it is read from goes bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import APPID, environment
from wxlogin.config.settings import InvalidSettings, Settings
from wxlogin.config.snapshot import SnapshotHolder
from wxlogin.wechat.credentials_file import InvalidCredentialsFile


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(redis_url="memory://", wechat_api_url="http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


def test_what_nobody_has_read_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    startups = SnapshotHolder()
    before = startups.current()
    monkeypatch.setenv("WXLOGIN_THREADS", "3")

    after = startups.current()

    assert (before.settings.threads, after.settings.threads) == (8, 3)
    assert after.apps == {APPID: "sandbox-secret"}


def test_what_was_read_stays_until_it_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    startups = SnapshotHolder()
    startups.reload()
    monkeypatch.setenv("WXLOGIN_THREADS", "3")
    before = startups.current().settings.threads

    problems = startups.reload()

    assert (before, startups.current().settings.threads) == (8, 3)
    assert problems == []


def test_bad_settings_are_told_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    startups = SnapshotHolder()
    startups.reload()
    monkeypatch.setenv("WXLOGIN_THREADS", "canary")
    monkeypatch.setenv("WXLOGIN_APPID", "canary")

    problems = startups.reload()

    assert [problem.partition(":")[0] for problem in problems] == ["WXLOGIN_APPID", "WXLOGIN_THREADS"]
    assert "canary" not in str(problems)
    assert startups.current().settings.threads == 8


def test_bad_settings_are_refused_where_there_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_APPID", "canary")

    with pytest.raises(InvalidSettings, match="WXLOGIN_APPID"):
        SnapshotHolder().reload()


def test_the_apps_are_those_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apps = {"wx0000000000000001": "canary-secret-of-one", "wx0000000000000002": "canary-secret-of-two"}
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    for name, value in {"APPS_FILE": str(tmp_path / "apps.json"), "APPID": "", "APP_SECRET": ""}.items():
        monkeypatch.setenv(f"WXLOGIN_{name}", value)

    startup = SnapshotHolder().current()

    assert startup.apps == apps
    assert "canary" not in repr(startup)


def test_a_file_of_apps_that_goes_bad_while_it_is_read_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_credentials(_settings: Settings) -> None:
        raise InvalidCredentialsFile(["Not JSON."])

    monkeypatch.setattr(Settings, "read_credentials", read_credentials)

    with pytest.raises(InvalidSettings, match=r"WXLOGIN_APPS_FILE: Not JSON\."):
        SnapshotHolder().current()
