"""Real servers for tests: redis-server and gunicorn as processes, the sandbox on a thread; all on loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
import redis
import requests
from redis.cluster import RedisCluster

from wxlogin.resilience.circuit_breaker import CircuitBreaker
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.server import SandboxServer
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState
from wxlogin.storage.client import Client, connect
from wxlogin.storage.connection import ConnectionOptions
from wxlogin.storage.gateway import RedisGateway
from wxlogin.storage.url import parse_url

PROJECT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 20
PATIENT = ("--config", "tests/end_to_end/patient_gunicorn.py")
# A thread and a connection to Redis for everybody: of those who wait beyond half the threads, none waits for long.
ROOMY = {"WXLOGIN_THREADS": "128", "WXLOGIN_REDIS_MAX_CONNECTIONS": "128"}
# Below those that Linux gives to connections, and above those that browsers refuse.
PORTS = range(11_000, 32_000)


def program(name: str, *, package: str) -> str:
    """Return the path of a program that a test needs; without it, fail in CI and skip elsewhere."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")  # where only root looks, by default
    return path or do_without(f"{name}: apt-get install {package}")


def do_without(what: str) -> NoReturn:
    """Fail in CI and skip elsewhere, because this is not there."""
    how = f"this test needs {what}"
    if os.environ.get("CI"):
        pytest.fail(how)
    pytest.skip(how)


def free_port() -> int:
    """Return a port that nobody listens on, and that no connection gets before a server does.

    Those that the kernel gives to whoever asks for none in particular, it gives to connections too.
    """
    while True:
        port = secrets.choice(PORTS)  # not by the seed that all processes of a run share
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Return as soon as ``condition`` holds; fail if it never does."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT_SECONDS} s in vain: {what}")
        time.sleep(0.01)  # between two looks at the condition


class RedisServer:
    """A redis-server of our own that can be stopped, frozen and brought back with its data."""

    def __init__(self, folder: Path, *, port: int | None = None, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with what its append-only file has, and wait until it answers."""
        server = program("redis-server", package="redis-server")
        command = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        # What was answered is in the file, whoever is killed: only for a machine that fails would a disk matter.
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="redis-server answers")

    def client(self) -> redis.Redis:
        """Return a client for looking at what is stored."""
        return redis.Redis(port=self.port, protocol=2)

    def stop(self) -> None:
        """Kill it without a goodbye."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and say nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


@contextlib.contextmanager
def redis_server(folder: Path, *, options: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    """Run a redis-server for as long as the context lasts."""
    server = RedisServer(folder, options=options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def connected(url: str, *, timeout_seconds: float) -> redis.Redis:
    """Return a client for one server, made as the service makes its own."""
    options = ConnectionOptions(connect_timeout_seconds=timeout_seconds, read_timeout_seconds=timeout_seconds)
    client = connect(parse_url(url), options)
    assert isinstance(client, redis.Redis)
    return client


class _PatientGateway(RedisGateway):
    """Turns no call away: a machine that is busy may answer some of them late."""

    def _breaker(self, server: str) -> CircuitBreaker:
        return CircuitBreaker(failure_threshold=sys.maxsize)


def gateway_of(client: Client) -> RedisGateway:
    """Return the gateway of a client that is there already, for tests of what Redis does, and not of how soon."""
    return _PatientGateway(lambda: client)


def keys_in(client: Client) -> list[bytes]:
    """Return all keys; of a Cluster, those of all its masters."""
    everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    return sorted(key for key in client.keys(**everywhere) if isinstance(key, bytes))


@contextlib.contextmanager
def monitored(client: redis.Redis) -> Iterator[list[str]]:
    """Collect the commands that others send to Redis, scripts' own commands left out, until the context ends."""
    commands: list[str] = []
    end = f"the end {time.monotonic_ns()}"
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        yield commands
        client.echo(end)
        while end not in (entry := monitor.next_command())["command"]:
            if entry["client_type"] != "lua":
                commands.append(entry["command"])


@contextlib.contextmanager
def round_trips(client: redis.Redis) -> Iterator[Callable[[], int]]:
    """Count how often Redis was sent something: the function that this gives tells it when the context has ended.

    Commands that are sent together are read together.
    """
    counts = [_reads(client)]
    yield lambda: counts[1] - counts[0] - 1  # the one to count them is none of them
    counts.append(_reads(client))


def _reads(client: redis.Redis) -> int:
    return int(client.info("stats")["total_reads_processed"])


@contextlib.contextmanager
def sandbox_server(
    apps: Mapping[str, str] = DEFAULT_APPS, *, clock: Callable[[], float] = time.time
) -> Iterator[str]:
    """Run the imitation of WeChat on a thread and give its address."""
    sandbox = create_sandbox(SandboxState(apps=apps, clock=clock))
    with SandboxServer(sandbox, host="127.0.0.1", port=0) as server:
        yield f"http://127.0.0.1:{server.port}"


class Service:
    """The service under gunicorn, as it runs in production; ``log`` is all that it wrote."""

    def __init__(self, url: str, log_path: Path, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process
        self._log_path = log_path

    @property
    def log(self) -> str:
        """What stdout and stderr received so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def gunicorn(
    folder: Path,
    environment: Mapping[str, str],
    *,
    workers: int = 2,
    port: int | None = None,
    options: tuple[str, ...] = (),
    project: Path = PROJECT,
) -> Iterator[Service]:
    """Run ``gunicorn wsgi:app`` with this environment, in the folder ``project``, until the context ends."""
    url = f"http://127.0.0.1:{(port := port or free_port())}"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "wsgi:app",
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        str(workers),
    ]
    log_path = folder / "gunicorn.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], cwd=project, env=clean_environment(environment), stdout=log, stderr=log
        )
    service = Service(url, log_path, process)
    try:
        wait_until(lambda: is_up(f"{url}/healthz"), what=f"gunicorn answers; it said: {service.log}")
        yield service
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def is_up(url: str) -> bool:
    """Say whether an address answers at all."""
    with contextlib.suppress(requests.RequestException):
        requests.get(url, timeout=5)
        return True
    return False


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of the service, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WXLOGIN_")}
    return {**kept, **extra}
