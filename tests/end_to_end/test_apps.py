"""A service of several mini-programs as it runs in production, whose operator changes which ones there are."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import RedisServer, Service, gunicorn, is_up, sandbox_server, wait_until

ONE, TWO = "wx0000000000000001", "wx0000000000000002"
APPS = {ONE: "canary-secret-of-one", TWO: "canary-secret-of-two"}
COMPLAINT = "WXLOGIN_APPS_FILE can't be used"
WORKERS = 2
MANY = 10 * WORKERS  # requests enough for each worker to get some


@pytest.fixture(scope="module")
def wechat() -> Iterator[Sandbox]:
    """WeChat, with two mini-programs of ours."""
    with sandbox_server(APPS) as url:
        yield Sandbox(url)


def secret_volume(folder: Path, apps: Mapping[str, str]) -> Path:
    """Lay a file out as Kubernetes does: it leads through a link to a folder that is never changed."""
    (folder / "..1").mkdir()
    (folder / "..1" / "apps.json").write_text(json.dumps(apps))
    (folder / "..data").symlink_to("..1")
    (folder / "apps.json").symlink_to("..data/apps.json")
    return folder / "apps.json"


def update_volume(folder: Path, content: str) -> None:
    """Replace the folder, as Kubernetes does when the secret changes."""
    number = len(list(folder.glob("..[0-9]*"))) + 1
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}" / "apps.json").write_text(content)
    (folder / "..new").symlink_to(f"..{number}")
    (folder / "..new").replace(folder / "..data")


def of_apps(store: RedisServer, wechat: Sandbox, **how: str) -> dict[str, str]:
    """Return the environment of a service of the mini-programs in a file."""
    alone = environment(redis_url=store.url, wechat_api_url=wechat.url)
    return {**alone, "WXLOGIN_APPID": "", "WXLOGIN_APP_SECRET": "", **how}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return secret_volume(tmp_path, {ONE: APPS[ONE]}).parent


@pytest.fixture
def service(store: RedisServer, wechat: Sandbox, volume: Path) -> Iterator[Service]:
    settings = of_apps(store, wechat, WXLOGIN_APPS_FILE=str(volume / "apps.json"))
    options = ("--access-logfile", "-", "--access-logformat", "served by %(p)s")
    with gunicorn(volume, settings, workers=WORKERS, options=options) as running:
        wait_until(lambda: is_up(running.url) and len(servers(running)) == WORKERS, what="each worker answers")
        yield running


def servers(service: Service) -> set[str]:
    """Return the processes that answered so far."""
    return set(re.findall(r"served by (\S+)", service.log))


def logins(service: Service, wechat: Sandbox, appid: str) -> set[int]:
    """Log in so often that each worker is asked, and return the statuses; 0 is no answer."""
    phone = MiniProgram(over_http(service.url), wechat, appid=appid)
    return {_status(phone) for _ in range(MANY)}


def _status(phone: MiniProgram) -> int:
    with contextlib.suppress(requests.ConnectionError):
        return phone.log_in().status
    return 0


def test_each_worker_takes_what_changes_without_a_restart(service: Service, wechat: Sandbox, volume: Path) -> None:
    before = logins(service, wechat, TWO)

    update_volume(volume, json.dumps({TWO: APPS[TWO]}))

    wait_until(lambda: logins(service, wechat, TWO) == {200}, what="each worker knows the new app")
    assert before == {400}
    assert logins(service, wechat, ONE) == {400}
    assert service.log.count("the apps changed") == WORKERS


def test_each_worker_stays_as_it_was_while_the_file_cannot_be_used(
    service: Service, wechat: Sandbox, volume: Path
) -> None:
    update_volume(volume, json.dumps({ONE: "canary-secret-of-one", "canary-oops": "canary-secret-of-two"}))
    during: set[int] = set()

    def has_been_told() -> bool:
        during.update(logins(service, wechat, ONE))
        return service.log.count(COMPLAINT) == WORKERS

    wait_until(has_been_told, what="each worker says that the file can't be used")
    update_volume(volume, json.dumps(APPS))

    wait_until(lambda: logins(service, wechat, TWO) == {200}, what="each worker knows the new app")
    assert during == {200}
    assert service.log.count(COMPLAINT) == WORKERS
    assert "canary" not in service.log
    assert len(servers(service)) == WORKERS


def test_a_hangup_makes_workers_that_read_everything_anew(
    store: RedisServer, wechat: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text(json.dumps({ONE: APPS[ONE]}))
    (tmp_path / "new.json").write_text(json.dumps(APPS))
    (tmp_path / "path").write_text(str(tmp_path / "old.json"))
    settings = of_apps(store, wechat, WXLOGIN_APPS_FILE_FILE=str(tmp_path / "path"))
    with gunicorn(tmp_path, settings, workers=1) as service:
        (tmp_path / "path").write_text(str(tmp_path / "new.json"))
        before = logins(service, wechat, TWO)

        service.process.send_signal(signal.SIGHUP)

        wait_until(lambda: logins(service, wechat, TWO) == {200}, what="the worker is a new one")
    assert before == {400}
