"""gunicorn as operators start, roll and stop it, and as machines ill-treat it: nobody is logged out by that."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import random
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, in_process, over_http
from tests.servers import (
    PROJECT,
    TIMEOUT_SECONDS,
    RedisServer,
    Service,
    clean_environment,
    free_port,
    gunicorn,
    is_up,
    keys_in,
    wait_until,
)
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

# With other tests beside them, Redis' 0.2 s are not enough for all that these ask.
pytestmark = pytest.mark.alone

USERS, CHECKS_EACH, CLIENTS = 200, 10, 4
UNANSWERED = 0
EXCHANGE = "/sns/jscode2session"


@pytest.fixture
def told(store: RedisServer, sandbox: Sandbox) -> dict[str, str]:
    """What the services of this module are told."""
    return environment(redis_url=store.url, wechat_api_url=sandbox.url)


def workers_of(service: Service) -> set[int]:
    """Return the processes that serve now."""
    found = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text(encoding="ascii")
    return {int(pid) for pid in found.split()}


def wait_for_workers(service: Service, count: int = 2) -> set[int]:
    """Return the processes once there are so many of them, and the service answers."""
    wait_until(lambda: len(workers_of(service)) == count and is_up(f"{service.url}/healthz"), what="all workers")
    return workers_of(service)


class Crowd:
    """Users who each log in once and are then checked, several at a time; ``statuses`` is what came of it all.

    Who gets no answer does what a mini-program does: tries again, with the same code if ``is_stubborn``.
    """

    def __init__(self, url: str, sandbox: Sandbox, *, is_stubborn: bool = False) -> None:
        self.users = [
            MiniProgram(over_http(url), sandbox, openid=f"oUser-{number:022}") for number in range(USERS)
        ]
        self.statuses: Counter[int] = Counter()
        self._is_stubborn = is_stubborn
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._lives = [self._pool.submit(self._live, user) for user in self.users]

    def wait_for(self, share: float) -> None:
        """Return when this share of the users is done."""
        wait_until(lambda: sum(life.done() for life in self._lives) >= share * USERS, what="users are done")

    def is_done(self) -> None:
        """Wait for everybody, and fail if somebody had a surprise."""
        for life in self._lives:
            life.result(timeout=60)
        self._pool.shutdown()

    def _live(self, user: MiniProgram) -> None:
        code = user.sandbox.issue_code(openid=user.openid)
        self._until_answered(lambda: user.log_in_with(code).status if self._is_stubborn else user.log_in().status)
        for _ in range(CHECKS_EACH):
            self._until_answered(lambda: user.get("/auth").status)

    def _until_answered(self, ask: Callable[[], int]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (status := _status(ask)) == UNANSWERED and time.monotonic() < deadline:
            self.statuses[status] += 1
            time.sleep(0.05)  # as a phone would, and longer
        self.statuses[status] += 1


def _log_in(user: MiniProgram) -> int:
    return _status(lambda: user.log_in().status)


def _status(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except requests.ConnectionError:
        return UNANSWERED


def verdicts(users: list[MiniProgram]) -> set[int]:
    """Return what the checks of all users' sessions say."""
    return {user.get("/auth").status for user in users}


# Rolling, stopping, killing


def test_rolling_the_workers_under_load_loses_nothing(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told) as service:
        first = wait_for_workers(service)
        crowd = Crowd(service.url, sandbox)
        for share in (0.1, 0.4, 0.7):
            crowd.wait_for(share)
            service.process.send_signal(signal.SIGHUP)
        crowd.is_done()

        assert crowd.statuses == {200: USERS, 204: USERS * CHECKS_EACH}
        wait_until(lambda: not first & workers_of(service), what="the first workers are gone")


def test_a_killed_worker_loses_what_it_was_doing_and_nothing_else(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told) as service:
        killed = max(wait_for_workers(service))
        crowd = Crowd(service.url, sandbox)
        crowd.wait_for(0.3)
        os.kill(killed, signal.SIGKILL)
        crowd.is_done()

        assert crowd.statuses.pop(UNANSWERED, 0) <= CLIENTS
        assert crowd.statuses == {200: USERS, 204: USERS * CHECKS_EACH}
        assert verdicts(crowd.users[::10]) == {204}
        assert killed not in wait_for_workers(service)


def test_a_stop_under_load_and_a_new_start_lose_no_login(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    port = free_port()
    with gunicorn(tmp_path, told, port=port) as service:
        wait_for_workers(service)
        crowd = Crowd(service.url, sandbox, is_stubborn=True)
        crowd.wait_for(0.3)
    with gunicorn(tmp_path, told, port=port):
        crowd.is_done()

        crowd.statuses.pop(UNANSWERED)
        assert crowd.statuses == {200: USERS, 204: USERS * CHECKS_EACH}
        assert sandbox.answers(EXCHANGE) == [0] * USERS


def slow_logins(service: Service, sandbox: Sandbox, *, count: int, seconds: float) -> list[Future[int]]:
    """Return the logins of users, once each of them waits for WeChat."""
    users = [MiniProgram(over_http(service.url), sandbox) for _ in range(count)]
    sandbox.arm(times=count, delay_seconds=seconds)
    pool = ThreadPoolExecutor(count)
    logins = [pool.submit(_log_in, user) for user in users]
    pool.shutdown(wait=False)
    wait_until(lambda: len(sandbox.calls()) == count, what="all wait for WeChat")
    return logins


def refuses(url: str) -> bool:
    """Say whether nobody listens, so that a proxy can go elsewhere."""
    try:
        socket.create_connection((str(urlsplit(url).hostname), urlsplit(url).port or 80), timeout=20).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # while it connected, the listener was closed: who comes next is refused
        return False
    return False


def test_a_stop_finishes_the_logins_that_are_under_way_and_refuses_others(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told, workers=1) as service:
        logins = slow_logins(service, sandbox, count=4, seconds=2)

        service.process.terminate()

        wait_until(lambda: refuses(service.url), what="who comes now is refused")
        assert not any(login.done() for login in logins)
        assert [login.result(timeout=TIMEOUT_SECONDS) for login in logins] == [200] * 4
        assert service.process.wait(TIMEOUT_SECONDS) == 0


def test_a_stop_that_takes_too_long_ends_all_the_same_and_costs_a_new_login(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    port = free_port()
    with gunicorn(tmp_path, told, workers=1, port=port, options=("--graceful-timeout", "1")) as service:
        [login] = slow_logins(service, sandbox, count=1, seconds=3)
        service.process.terminate()
        lost = login.result(timeout=TIMEOUT_SECONDS)
    with gunicorn(tmp_path, told, workers=1, port=port) as service:
        user = MiniProgram(over_http(service.url), sandbox)

        assert (lost, user.log_in().status, user.get("/auth").status) == (UNANSWERED, 200, 204)


def test_without_its_master_a_service_ends_and_a_new_one_takes_its_place(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    port = free_port()
    with gunicorn(tmp_path, told, port=port) as service:
        workers = wait_for_workers(service)
        user = MiniProgram(over_http(service.url), sandbox)
        user.log_in()
        service.process.kill()
        wait_until(lambda: not any(map(is_running, workers)), what="the workers have noticed")
    with gunicorn(tmp_path, told, port=port):
        assert user.get("/auth").status == 204


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_worker_that_hangs_is_replaced(told: dict[str, str], tmp_path: Path) -> None:
    with gunicorn(tmp_path, told, options=("--timeout", "2")) as service:
        frozen = min(wait_for_workers(service))
        os.kill(frozen, signal.SIGSTOP)

        wait_until(lambda: frozen not in workers_of(service), what="the frozen worker is gone")

        assert len(wait_for_workers(service)) == 2


# Files that go bad


@pytest.mark.parametrize("options", [(), ("--worker-class", "gthread")], ids=["ours", "gthread"])
def test_workers_begin_with_the_code_that_the_master_began_with_whatever_is_on_the_disk_now(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path, options: tuple[str, ...]
) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "wxlogin", project / "wxlogin", symlinks=False)
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(PROJECT / name, project)
    with gunicorn(tmp_path, told, project=project, options=options) as service:
        user = MiniProgram(over_http(service.url), sandbox)
        user.log_in()
        for file in (project / "wxlogin").rglob("*.py"):
            file.write_text("raise ImportError('half of an upgrade')")

        dying, other = wait_for_workers(service)
        os.kill(dying, signal.SIGKILL)
        wait_until(lambda: dying not in workers_of(service), what="the worker is gone")
        successor = next(iter(set(wait_for_workers(service)) - {other}))
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not {other, successor} & set(workers_of(service)), what="both are replaced")
        wait_for_workers(service)

        assert [user.get(path).status for path in ("/auth", "/session", "/metrics")] == [204, 200, 200]
        assert "half of an upgrade" not in service.log


APPS = {"wx4f4bc4dec97d474b": "sandbox-secret"}


@pytest.fixture
def files(told: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Tell a service the same, its threads and apps by files."""
    (tmp_path / "threads").write_text("4")
    (tmp_path / "apps.json").write_text(json.dumps(APPS))
    named = {"APPS_FILE": "apps.json", "THREADS_FILE": "threads"}
    paths = {f"WXLOGIN_{name}": str(tmp_path / file) for name, file in named.items()}
    return {**told, "WXLOGIN_APPID": "", "WXLOGIN_APP_SECRET": "", **paths}


def test_a_hangup_with_bad_settings_is_told_and_changes_nothing(
    files: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, files) as service:
        first = wait_for_workers(service)
        (tmp_path / "threads").write_text("canary")
        (tmp_path / "apps.json").write_text('{"canary": ')

        service.process.send_signal(signal.SIGHUP)

        wait_until(lambda: not first & workers_of(service), what="the workers are new ones")
        wait_for_workers(service)
        assert MiniProgram(over_http(service.url), sandbox).log_in().status == 200
        told = re.findall(r"the settings can't be used and stay as they were: (\w+): ", service.log)
        assert told == ["WXLOGIN_APPS_FILE", "WXLOGIN_THREADS"]
        assert "canary" not in service.log


def test_a_worker_that_dies_while_files_are_bad_is_replaced(
    files: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, files, workers=1) as service:
        (killed,) = wait_for_workers(service, 1)
        (tmp_path / "threads").write_text("canary")
        (tmp_path / "apps.json").write_text('{"canary": ')

        os.kill(killed, signal.SIGKILL)

        wait_until(lambda: workers_of(service).isdisjoint({killed}), what="the worker is gone")
        wait_for_workers(service, 1)
        assert MiniProgram(over_http(service.url), sandbox).log_in().status == 200
        assert service.log.count("WXLOGIN_APPS_FILE can't be used, the apps stay as they were: Not JSON.") == 1


@contextlib.contextmanager
def unreliable_service(folder: Path, told: Mapping[str, str], *, workers: int = 2) -> Iterator[Service]:
    """Run the service with this project's configuration; no worker can start while there is a file ``broken``."""
    (folder / "unreliable.py").write_text(
        "from pathlib import Path\n"
        f"if Path({str(folder / 'broken')!r}).exists():\n"
        "    raise MemoryError\n"
        "from wxlogin.web.app import from_environment\n"
        "app = from_environment()\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--config", str(PROJECT / "gunicorn.conf.py")]
    command += ["--workers", str(workers), "--access-logfile", "-", "--access-logformat", "served by %(p)s"]
    port, log_path = free_port(), folder / "unreliable.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}", "unreliable:app"],
            cwd=folder,
            env=clean_environment({"PYTHONPATH": str(PROJECT), **told}),
            stdout=log,
            stderr=log,
        )
    try:
        yield Service(f"http://127.0.0.1:{port}", log_path, process)
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def test_a_worker_that_cannot_start_is_tried_again_while_the_others_serve(
    told: dict[str, str], tmp_path: Path
) -> None:
    with unreliable_service(tmp_path, told) as service:
        first = wait_for_workers(service)
        (tmp_path / "broken").touch()
        os.kill(max(first), signal.SIGKILL)
        wait_until(lambda: "a worker could not start: another is tried" in service.log, what="one was tried")
        during = is_up(f"{service.url}/healthz")
        (tmp_path / "broken").unlink()

        wait_until(lambda: bool(serving(service) - first), what="one that could start serves")
        assert during
        assert service.process.poll() is None


def serving(service: Service) -> set[int]:
    """Return the processes that have answered, after one more request."""
    is_up(f"{service.url}/healthz")
    return {int(pid) for pid in re.findall(r"served by <([0-9]+)>", service.log)}


def test_a_service_whose_first_worker_cannot_start_ends(told: dict[str, str], tmp_path: Path) -> None:
    """Of two that fail at the same moment, gunicorn's master ends with another status."""
    (tmp_path / "broken").touch()

    with unreliable_service(tmp_path, told, workers=1) as service:
        assert service.process.wait(TIMEOUT_SECONDS) == 3


def test_one_worker_warns_of_eviction_and_again_after_a_hangup(
    store: RedisServer, told: dict[str, str], tmp_path: Path
) -> None:
    warning = "Redis has maxmemory-policy allkeys-lru"
    with store.client() as operator, gunicorn(tmp_path, told) as service:
        first = wait_for_workers(service)
        operator.config_set("maxmemory-policy", "allkeys-lru")
        try:
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: warning in service.log, what="it is told")
            wait_until(lambda: not first & workers_of(service), what="all workers are new ones")
            wait_for_workers(service)
        finally:
            operator.config_set("maxmemory-policy", "noeviction")

        assert service.log.count(warning) == 1


def test_a_silent_redis_does_not_delay_the_start(told: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = {"WXLOGIN_REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0"}
        patience = {"WXLOGIN_REDIS_READ_TIMEOUT_SECONDS": "60"}

        with gunicorn(tmp_path, {**told, **address, **patience}, workers=1) as service:
            assert is_up(f"{service.url}/healthz")


# The machine


def test_closed_logs_keep_nobody_from_logging_in(told: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    user = MiniProgram(over_http(url := f"http://127.0.0.1:{(port := free_port())}"), sandbox)
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{port}", "--workers", "1"],
        cwd=PROJECT,
        env=clean_environment(told),
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)

    try:
        wait_until(lambda: is_up(f"{url}/healthz"), what="it answers")
        assert (user.log_in().status, user.get("/auth").status, user.get("/nothing").status) == (200, 204, 404)
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def test_a_flood_of_connections_and_few_file_descriptors_end_no_worker(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told) as service:
        first = wait_for_workers(service)
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not first & workers_of(service), what="the workers have few file descriptors")
        workers = wait_for_workers(service)
        address = (str(urlsplit(service.url).hostname), urlsplit(service.url).port or 80)
        with contextlib.ExitStack() as flood:
            for _ in range(200):
                flood.enter_context(socket.create_connection(address, timeout=20))
            opened = [count_of_files(worker) for worker in workers]
        user = MiniProgram(over_http(service.url), sandbox)

        wait_until(lambda: _log_in(user) == 200, what="it serves again")
        assert max(opened) < 64
        assert workers_of(service) == workers


def count_of_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"Script_Name": "/healthz"},
        {"SCRIPT_NAME": "/elsewhere", "PATH_INFO": "/elsewhere"},
    ],
)
def test_what_a_proxy_or_who_pretends_to_be_one_says_of_the_way_is_not_heeded(
    service: Service, headers: dict[str, str]
) -> None:
    assert over_http(service.url)("GET", "/healthz", headers=headers).status == 200


# Clocks and chance


def seconds_from_now(seconds: float) -> float:
    """Return what a clock says that is ahead."""
    return time.time() + seconds


def test_hosts_whose_clocks_differ_agree_about_a_session(
    settings: Settings, sandbox: Sandbox, store: RedisServer
) -> None:
    told = dataclasses.replace(settings, redis_url=store.url)
    ahead, behind = (
        in_process(create_app(Services.build(told, clock=functools.partial(seconds_from_now, off))))
        for off in (300, 0)
    )
    for here, there in ((ahead, behind), (behind, ahead)):
        user = MiniProgram(here, sandbox, openid=f"oUser-{secrets.token_hex(11)}")
        user.log_in()

        seen = [dataclasses.replace(user, send=send).get("/auth").status for send in (here, there, here)]
        ended = dataclasses.replace(user, send=there).log_out().status
        gone = [dataclasses.replace(user, send=send).get("/auth").status for send in (here, there)]

        assert (seen, ended, gone) == ([204, 204, 204], 204, [401, 401])


@pytest.mark.parametrize("headers", [{}, {"X-Request-Id": "given"}])
def test_without_entropy_nobody_is_logged_in(
    settings: Settings,
    sandbox: Sandbox,
    store: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    send = in_process(create_app(Services.build(dataclasses.replace(settings, redis_url=store.url))))
    code = sandbox.issue_code(openid="oUser-without-entropy")
    with store.client() as client:
        before = keys_in(client)
        monkeypatch.setattr(os, "urandom", fail)
        monkeypatch.setattr(random, "_urandom", fail)

        answer = send("POST", "/login", json={"code": code}, headers=headers)

        monkeypatch.undo()
        made = [key for key in keys_in(client) if key not in before and key.startswith(b"wxlogin:user:")]
    assert (answer.status, answer.error["code"], answer.set_cookie) == (500, "internal_error", "")
    assert made == []


def fail(_count: int) -> bytes:
    """Do what the kernel does when it has no entropy."""
    raise OSError("no entropy")
