"""The command line: ``wxlogin dev``, ``sandbox``, ``check``, ``sessions list|revoke``, ``keys new``."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dotenv import dotenv_values
from flask import Flask

from wxlogin import __version__, audit, logs, settings
from wxlogin.apps import AppNotNamed, UnknownApp
from wxlogin.check.everything import check_everything
from wxlogin.check.findings import PROBLEM, as_json, as_text, count
from wxlogin.redis_guard import StoreUnavailable
from wxlogin.sandbox.app import SERVICE_URL, create_sandbox, make_sandbox_server
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState
from wxlogin.services import Services

HOST = "127.0.0.1"
_START_SECONDS = 30
# Who waits for longer at once may not notice a signal that came just before, or to another thread.
_LOOK_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in ``argv`` and return the exit status; a failure is said in one line on stderr."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = options.run(options) or 0
    except KeyboardInterrupt:
        return 0
    except (settings.InvalidSettings, CommandFailed) as error:
        print(f"wxlogin: {error}", file=sys.stderr)
        return 1
    except StoreUnavailable as error:
        print(f"wxlogin: Redis does not serve us ({error})", file=sys.stderr)
        return 1
    return status


class CommandFailed(Exception):
    """Raised if a command can't do what it was asked; its text says why and what to do."""


def dev(options: argparse.Namespace) -> int:
    """Run the service and the sandbox until Ctrl-C; restart the service when its code changes."""
    service_url, sandbox_url = f"http://{HOST}:{options.port}", f"http://{HOST}:{options.sandbox_port}"
    _refuse_taken_port(HOST, options.port, option="--port")
    _fill_in_settings(sandbox_url)
    chosen = settings.load()
    apps = chosen.read_apps()
    imitation = create_sandbox(SandboxState(apps=apps), service_url=service_url, sees_redis=True)
    simulator_url = f"{sandbox_url}/simulator"
    with (
        _serving(imitation, host=HOST, port=options.sandbox_port, option="--sandbox-port"),
        _service(options.port, threads=chosen.threads, simulator_url=simulator_url) as service,
    ):
        _wait_until_ready(service, service_url)
        sessions = _IN_MEMORY if chosen.redis_url == "memory://" else _IN_REDIS
        words = {"service": service_url, "sandbox": sandbox_url, "simulator": simulator_url, "sessions": sessions}
        print(_BANNER.format(**words, appids=", ".join(apps), which=_which_of(apps)), flush=True)
        return _wait_for(service)


def sandbox(options: argparse.Namespace) -> None:
    """Run the imitation of WeChat's API until Ctrl-C."""
    apps: Mapping[str, str] = dict(options.app) if options.app else DEFAULT_APPS
    imitation = create_sandbox(SandboxState(apps=apps), service_url=options.service)
    url = f"http://{options.host}:{options.port}"
    with _serving(imitation, host=options.host, port=options.port, option="--port"):
        print(f"simulator  {url}/simulator  with the service at {options.service}")
        print(f"sandbox    {url}  knows {', '.join(apps)}", flush=True)
        while True:
            time.sleep(_LOOK_SECONDS)


def list_sessions(options: argparse.Namespace) -> int:
    """Print a user's sessions, the newest first."""
    services, user_hash = _services_and_user(options)
    sessions = services.sessions.list(user_hash)
    for each in sessions:
        record = each.record
        print(each.handle, _time(record.created_at), _time(record.last_seen_at), _plain(record.user_agent))
    print(f"{len(sessions)} sessions" if len(sessions) != 1 else "1 session")
    _noted("listed", lambda: len(sessions), user_hash)
    return 0


def revoke_sessions(options: argparse.Namespace) -> int:
    """End all of a user's sessions."""
    services, user_hash = _services_and_user(options)
    ended = _noted("ended all", lambda: services.sessions.delete_all(user_hash, repeatable=False), user_hash)
    print(f"ended {ended} sessions" if ended != 1 else "ended 1 session")
    return 0


def check(options: argparse.Namespace) -> int:
    """Print what is wrong with the settings, Redis and WeChat; the status is 1 if something is."""
    findings = check_everything()
    print(as_json(findings) if options.json else as_text(findings))
    return 1 if count(findings, PROBLEM) else 0


def new_key(_options: argparse.Namespace) -> int:
    """Print a fresh secret key."""
    print(secrets.token_urlsafe(32))
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


def _which_of(apps: Mapping[str, str]) -> str:
    """Return what tells the service of several mini-programs which one the sandbox gives a code of: the first."""
    first, *others = apps
    return f"-d appid={first} " if others else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wxlogin", description="Log WeChat mini-program users in.")
    parser.add_argument("--version", action="version", version=f"wxlogin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_dev(commands.add_parser("dev", help="run the service with the sandbox and a store in memory"))
    _add_sandbox(commands.add_parser("sandbox", help="run the imitation of WeChat's API alone"))
    _add_check(commands.add_parser("check", help="say what is wrong with the settings, Redis and WeChat"))
    _add_sessions(commands.add_parser("sessions", help="list or end a user's sessions"))
    _add_keys(commands.add_parser("keys", help="make secret keys"))
    return parser


def _add_dev(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=_port, default=8000, help="of the service (%(default)s)")
    command.add_argument("--sandbox-port", type=_port, default=8001, help="of the sandbox (%(default)s)")
    command.set_defaults(run=dev)


def _add_sandbox(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=_port, default=8001, help="(%(default)s)")
    command.add_argument("--host", default=HOST, help="the address to listen on (%(default)s)")
    command.add_argument(
        "--app", type=_app, action="append", metavar="APPID=SECRET", help="a mini-program it knows; repeatable"
    )
    command.add_argument(
        "--service", type=_url, default=SERVICE_URL, metavar="URL", help="what the simulator uses (%(default)s)"
    )
    command.set_defaults(run=sandbox)


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print it for programs")
    command.set_defaults(run=check)


def _add_sessions(command: argparse.ArgumentParser) -> None:
    commands = command.add_subparsers(required=True, metavar="list|revoke")
    for name, run, words in (
        ("list", list_sessions, "handle, made, last seen (UTC) and user agent of each session"),
        ("revoke", revoke_sessions, "log a user out everywhere"),
    ):
        each = commands.add_parser(name, help=words, description=words)
        each.add_argument("--openid", required=True, help="the user")
        each.add_argument("--appid", help="of which mini-program, if there are several")
        each.set_defaults(run=run)


def _add_keys(command: argparse.ArgumentParser) -> None:
    commands = command.add_subparsers(required=True, metavar="new")
    commands.add_parser("new", help="print a fresh key for WXLOGIN_SECRET_KEYS").set_defaults(run=new_key)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("has to be 1 to 65535")
    return port


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", text):
        raise argparse.ArgumentTypeError("has to be like http://127.0.0.1:8000")
    return text.rstrip("/")


def _app(text: str) -> tuple[str, str]:
    appid, _, secret = text.partition("=")
    if not (appid and secret):
        raise argparse.ArgumentTypeError("has to be APPID=SECRET")
    return appid, secret


def _services_and_user(options: argparse.Namespace) -> tuple[Services, str]:
    chosen = settings.load()
    logs.configure(level=chosen.log_level, style=chosen.log_format)
    services = Services.build(chosen)
    try:
        return services, services.user_hash_of(options.openid, appid=options.appid)
    except AppNotNamed:
        raise CommandFailed("--appid has to say which mini-program: the service has several") from None
    except UnknownApp:
        raise CommandFailed("--appid is not one of this service's mini-programs") from None


def _noted(action: str, work: Callable[[], int], user_hash: str) -> int:
    return audit.noted(action, work, operator=f"command line of uid {os.getuid()}", user_hash=user_hash)


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%MZ")


def _plain(text: str) -> str:
    """Return ``text`` without what steers a terminal: anybody can put that into a user agent."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)


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


def _refuse_taken_port(host: str, port: int, *, option: str) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise CommandFailed(
            f"{host}:{port} can't be used ({error.strerror}): choose another with {option}"
        ) from None


@contextlib.contextmanager
def _serving(imitation: Flask, *, host: str, port: int, option: str) -> Iterator[None]:
    """Run the sandbox until the context ends."""
    _refuse_taken_port(host, port, option=option)
    server = make_sandbox_server(imitation, host=host, port=port)
    thread = threading.Thread(target=server.serve_forever, name="sandbox", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _service(port: int, *, threads: int, simulator_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as production does, in a process of its own, which restarts its worker on changes."""
    app = f"wxlogin.app:from_environment(simulator_url={simulator_url!r})"
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
            return service.wait(_LOOK_SECONDS)


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


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
