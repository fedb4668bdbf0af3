"""What session checks notice of a WeChat that freezes: ``.venv/bin/python bench/wechat_outage.py``.

Needs redis-server on the PATH and takes three minutes. The service runs as in production (gunicorn, two workers),
on loopback with a redis-server and a sandbox of its own. All the time 50 logins a second come in and ``/auth`` is
asked 50 times a second, by another process and over one kept connection. The sandbox serves for 60 s, is frozen
for 60 s (SIGSTOP) and serves again. Told are the times of ``/auth`` in each phase, what became of the logins and
how long after the thaw the first of them succeeded.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import http.client
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

PHASES = ("before", "frozen", "after")
PHASE_SECONDS = 60
LOGINS_PER_SECOND = 50
CHECKS_PER_SECOND = 50
MAX_WAITING = 400
PROJECT = Path(__file__).parent.parent

Login = tuple[float, float, int, str]
"""When it began, how long it took, its status and its error's code."""


def main() -> int:
    """Measure, and print the tables."""
    if not shutil.which("redis-server"):
        sys.stderr.write("this needs redis-server: apt-get install redis-server\n")
        return 1
    with services() as (service, sandbox, frozen):
        checks: multiprocessing.Queue[tuple[float, float, int]] = multiprocessing.Queue()
        session_id = log_in(service, sandbox)
        codes = make_codes(sandbox, len(PHASES) * PHASE_SECONDS * LOGINS_PER_SECOND)
        started_at = time.time() + 1
        seconds = len(PHASES) * PHASE_SECONDS
        asker = multiprocessing.Process(target=ask, args=(service, session_id, started_at, seconds, checks))
        asker.start()
        logins = drive(service, codes, frozen, started_at)
        taken = [checks.get() for _ in range(seconds * CHECKS_PER_SECOND)]
        asker.join()
    sys.stdout.write(
        f"{dt.datetime.now(dt.UTC).date()}, Python {sys.version.split()[0]}, {os.cpu_count()} cores\n\n"
    )
    tell_checks(taken, started_at)
    tell_logins(logins, started_at)
    return 0


@contextlib.contextmanager
def services() -> Iterator[tuple[int, int, subprocess.Popen[bytes]]]:
    """Run everything; give the ports of the service and the sandbox, and the sandbox's process."""
    redis, sandbox, service = (free_port() for _ in range(3))
    environment = {
        **os.environ,
        "WXLOGIN_APPID": "wx4f4bc4dec97d474b",
        "WXLOGIN_APP_SECRET": "sandbox-secret",
        "WXLOGIN_SECRET_KEYS": "a-key-of-no-importance-0123456789",
        "WXLOGIN_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "WXLOGIN_WECHAT_API_URL": f"http://127.0.0.1:{sandbox}",
        "WXLOGIN_LOGIN_LIMIT_PER_ADDRESS": "none",
        "WXLOGIN_LOG_LEVEL": "ERROR",
    }
    commands = [
        ["redis-server", "--port", str(redis), "--save", "", "--appendonly", "no"],
        [sys.executable, "-m", "wxlogin", "sandbox", "--port", str(sandbox)],
        [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{service}", "--workers", "2"],
    ]
    with contextlib.ExitStack() as running, tempfile.TemporaryFile() as output:
        started = [
            running.enter_context(
                subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output)  # noqa: S603
            )
            for command in commands
        ]
        for process in started:
            running.callback(process.terminate)
            running.callback(process.send_signal, signal.SIGCONT)
        wait_for(f"http://127.0.0.1:{service}/readyz")
        wait_for(f"http://127.0.0.1:{sandbox}/_sandbox/calls")
        yield service, sandbox, started[1]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(url: str) -> None:
    """Return when something answers 200 there."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=5).ok:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(url)


def log_in(service: int, sandbox: int) -> str:
    """Log a new user in and return the cookie."""
    [code] = make_codes(sandbox, 1)
    return requests.post(f"http://127.0.0.1:{service}/login", json={"code": code}, timeout=20).headers[
        "Set-Cookie"
    ]


def drive(service: int, codes: list[str], frozen: subprocess.Popen[bytes], started_at: float) -> list[Login]:
    """Send logins at their rate, freeze the sandbox for the middle third, and return what became of each."""
    changes = {
        PHASE_SECONDS * LOGINS_PER_SECOND: signal.SIGSTOP,
        2 * PHASE_SECONDS * LOGINS_PER_SECOND: signal.SIGCONT,
    }
    logins: list[Future[Login]] = []
    with ThreadPoolExecutor(MAX_WAITING) as threads:
        for number, code in enumerate(codes):
            time.sleep(max(0.0, started_at + number / LOGINS_PER_SECOND - time.time()))
            if number in changes:
                frozen.send_signal(changes[number])
            logins.append(threads.submit(send_code, service, code))
    return [login.result() for login in logins]


def make_codes(sandbox: int, count: int) -> list[str]:
    """Return codes of as many users."""
    with requests.Session() as connection, ThreadPoolExecutor(8) as threads:
        url = f"http://127.0.0.1:{sandbox}/_sandbox/codes"
        return [*threads.map(lambda _: connection.post(url, json={}, timeout=20).json()["code"], range(count))]


def send_code(service: int, code: str) -> Login:
    """Log in."""
    began = time.time()
    answer = requests.post(f"http://127.0.0.1:{service}/login", json={"code": code}, timeout=20)
    error = "" if answer.ok else answer.json()["error"]["code"]
    return began, time.time() - began, answer.status_code, error


def ask(
    service: int,
    session_id: str,
    started_at: float,
    seconds: int,
    checks: multiprocessing.Queue[tuple[float, float, int]],
) -> None:
    """Ask ``/auth`` at its rate; an answer's time counts from when the question was due."""
    connection = http.client.HTTPConnection("127.0.0.1", service, timeout=20)
    for number in range(seconds * CHECKS_PER_SECOND):
        due = started_at + number / CHECKS_PER_SECOND
        time.sleep(max(0.0, due - time.time()))
        connection.request("GET", "/auth", headers={"sessionid": session_id})
        answer = connection.getresponse()
        answer.read()
        checks.put((due, time.time() - due, answer.status))


def tell_checks(taken: list[tuple[float, float, int]], started_at: float) -> None:
    """Print the times of the checks."""
    sys.stdout.write(
        "| `/auth` | answers | p50 ms | p99 ms | longest ms | p99 against before |\n|---|---|---|---|---|---|\n"
    )
    phases = by_phase(taken, started_at)
    before = percentile([took for _, took, _ in phases["before"]], 99)
    for name, checks in phases.items():
        times = [took for _, took, _ in checks]
        statuses = dict(collections.Counter(status for *_, status in checks))
        figures = " | ".join(
            f"{each * 1000:.1f}" for each in (percentile(times, 50), percentile(times, 99), max(times))
        )
        sys.stdout.write(f"| {name} | {statuses} | {figures} | {percentile(times, 99) / before:.2f} |\n")


def tell_logins(logins: list[Login], started_at: float) -> None:
    """Print what became of the logins."""
    sys.stdout.write("\n| logins | answers | longest s |\n|---|---|---|\n")
    for name, phase in by_phase(logins, started_at).items():
        outcomes = dict(collections.Counter(f"{status} {error}".strip() for *_, status, error in phase))
        sys.stdout.write(f"| {name} | {json.dumps(outcomes)} | {max(took for _, took, *_ in phase):.2f} |\n")
    thawed_at = started_at + 2 * PHASE_SECONDS
    first = min(began + took for began, took, status, _ in logins if status == 200 and began + took > thawed_at)
    sys.stdout.write(f"\nThe first login after the thaw succeeded {first - thawed_at:.2f} s after it.\n")


def by_phase(events: list[Any], started_at: float) -> dict[str, list[Any]]:
    """Return the events of each phase; the first of each is when it began."""
    phases = itertools.groupby(sorted(events), lambda event: int((event[0] - started_at) // PHASE_SECONDS))
    return {PHASES[number]: [*group] for number, group in phases}


def percentile(values: list[float], percent: int) -> float:
    """Return the value that ``percent`` of them don't exceed."""
    return sorted(values)[max(0, len(values) * percent // 100 - 1)]


if __name__ == "__main__":
    sys.exit(main())
