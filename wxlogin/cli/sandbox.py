"""``wxlogin sandbox``: the imitation of WeChat's API, alone or beside the service of ``wxlogin dev``."""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping

from flask import Flask

from wxlogin.cli import command as arguments
from wxlogin.cli.command import HOST, CommandFailed
from wxlogin.sandbox.app import SERVICE_URL, create_sandbox, make_sandbox_server
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState

# Who waits for longer at once may not notice a signal that came just before, or to another thread.
_LOOK_SECONDS = 1.0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.add_argument("--port", type=arguments.port, default=8001, help="(%(default)s)")
    command.add_argument("--host", default=HOST, help="the address to listen on (%(default)s)")
    command.add_argument(
        "--app", type=_app, action="append", metavar="APPID=SECRET", help="a mini-program it knows; repeatable"
    )
    command.add_argument(
        "--service",
        type=arguments.url,
        default=SERVICE_URL,
        metavar="URL",
        help="what the simulator uses (%(default)s)",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the imitation of WeChat's API until Ctrl-C."""
    apps: Mapping[str, str] = dict(options.app) if options.app else DEFAULT_APPS
    imitation = create_sandbox(SandboxState(apps=apps), service_url=options.service)
    url = f"http://{options.host}:{options.port}"
    with serving(imitation, host=options.host, port=options.port, option="--port"):
        print(f"simulator  {url}/simulator  with the service at {options.service}")
        print(f"sandbox    {url}  knows {', '.join(apps)}", flush=True)
        while True:
            time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def serving(imitation: Flask, *, host: str, port: int, option: str) -> Iterator[None]:
    """Run the sandbox until the context ends."""
    refuse_taken_port(host, port, option=option)
    server = make_sandbox_server(imitation, host=host, port=port)
    thread = threading.Thread(target=server.serve_forever, name="sandbox", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def refuse_taken_port(host: str, port: int, *, option: str) -> None:
    """Raise `CommandFailed`, which names the option, if nothing can listen there."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise CommandFailed(
            f"{host}:{port} can't be used ({error.strerror}): choose another with {option}"
        ) from None


def _app(text: str) -> tuple[str, str]:
    appid, _, secret = text.partition("=")
    if not (appid and secret):
        raise argparse.ArgumentTypeError("has to be APPID=SECRET")
    return appid, secret
