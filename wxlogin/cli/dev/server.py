"""``wxlogin dev``: the service as production runs it, beside the sandbox, with a store in memory."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from dotenv import dotenv_values

from wxlogin.cli.command import HOST, LOOK_SECONDS, PORT, CommandFailed, Interrupted
from wxlogin.cli.sandbox import refuse_taken_port, serving
from wxlogin.config import settings
from wxlogin.config.settings import Settings
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState

_START_SECONDS = 30


@click.command()
@click.option("--port", type=PORT, default=8000, show_default=True, help="The service's port.")
@click.option("--sandbox-port", type=PORT, default=8001, show_default=True, help="The sandbox's port.")
def dev(port: int, sandbox_port: int) -> int:
    """Run the service with the sandbox and a store in memory.

    The service starts again when its code changes. Ctrl-C stops both.
    """
    if port == sandbox_port:
        raise CommandFailed("--port and --sandbox-port have to differ")
    service_url, sandbox_url = f"http://{HOST}:{port}", f"http://{HOST}:{sandbox_port}"
    refuse_taken_port(HOST, port, option="--port")
    _fill_in_settings(sandbox_url)
    chosen = settings.load()
    imitation = create_sandbox(SandboxState(chosen.read_credentials()), service_url=service_url, sees_redis=True)
    with (
        contextlib.suppress(Interrupted),
        serving(imitation, host=HOST, port=sandbox_port, option="--sandbox-port"),
        _service(port, threads=chosen.threads, simulator_url=f"{sandbox_url}/simulator") as service,
    ):
        _wait_until_ready(service, service_url)
        click.echo(_banner(chosen, service_url, sandbox_url))
        return _wait_for(service)
    return 0


_BANNER = """\
simulator  {simulator}  watch a mini-program log in
service    {service}
docs       {service}/docs
sandbox    {sandbox}  imitates api.weixin.qq.com for {appids}

Log in from here:
  curl -i {which}-d "code=$(curl -s -X POST {sandbox}/_sandbox/codes | cut -d'"' -f4)" {service}/login

{sessions} Ctrl-C stops it."""

_IN_MEMORY = "Sessions are in memory, and end with this command and at each change of the code."
_IN_REDIS = "Sessions are in Redis."


def _banner(chosen: Settings, service_url: str, sandbox_url: str) -> str:
    apps = chosen.read_credentials()
    return _BANNER.format(
        service=service_url,
        sandbox=sandbox_url,
        simulator=f"{sandbox_url}/simulator",
        sessions=_IN_MEMORY if chosen.redis_url == "memory://" else _IN_REDIS,
        appids=", ".join(apps),
        which=_which_of(apps),
    )


def _which_of(apps: Mapping[str, str]) -> str:
    """Return what tells the service of several mini-programs which one the sandbox gives a code of: the first."""
    first, *others = apps
    return f"-d appid={first} " if others else ""


def _fill_in_settings(sandbox_url: str) -> None:
    """Give the settings that are not chosen in the environment or in ``.env`` what development needs."""
    appid, secret = next(iter(DEFAULT_APPS.items()))
    needed = {
        "WXLOGIN_APPID": appid,
        "WXLOGIN_APP_SECRET": secret,
        "WXLOGIN_SECRET_KEYS": secrets.token_urlsafe(32),
        "WXLOGIN_REDIS_URL": "memory://",
        "WXLOGIN_WECHAT_API_URL": sandbox_url,
        "WXLOGIN_LOG_FORMAT": "text",
    }
    given = {**dotenv_values(".env"), **os.environ}
    chosen = {each for name, value in given.items() if value for each in (name, name.removesuffix("_FILE"))}
    if "WXLOGIN_APPS_FILE" in chosen:
        chosen |= {"WXLOGIN_APPID", "WXLOGIN_APP_SECRET"}
    os.environ.update({name: value for name, value in needed.items() if name not in chosen})


@contextlib.contextmanager
def _service(port: int, *, threads: int, simulator_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as production does, in a process of its own, which restarts its worker on changes."""
    app = f"wxlogin.cli.dev.app:create_dev_app(simulator_url={simulator_url!r})"
    service = subprocess.Popen([sys.executable, "-m", "gunicorn", *_gunicorn_options(port, threads=threads), app])
    try:
        yield service
    finally:
        service.terminate()
        _wait_for(service)


def _wait_for(service: subprocess.Popen[bytes]) -> int:
    """Return the exit status, when there is one."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return service.wait(LOOK_SECONDS)


def _gunicorn_options(port: int, *, threads: int) -> list[str]:
    # This package as a configuration sets nothing, and keeps gunicorn from reading production's in this folder.
    options = ["--config", "python:wxlogin", "--bind", f"{HOST}:{port}", "--worker-class", "gthread"]
    options += [
        "--threads",
        str(threads),
        "--reload",
        "--log-level",
        "error",
        "--no-control-socket",
        "--graceful-timeout",
        "2",
    ]
    if Path(".env").exists():
        options += ["--reload-extra-file", ".env"]
    return options


def _wait_until_ready(service: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_ready(url):
        if service.poll() is not None or time.monotonic() > deadline:
            raise CommandFailed("the service did not start; what it said is above")
        time.sleep(0.05)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"{url}/healthz", timeout=1).close()  # noqa: S310  # our own address
        return True
    return False
