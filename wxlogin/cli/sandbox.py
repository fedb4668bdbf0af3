"""``wxlogin sandbox``: the imitation of WeChat's API, alone or beside the service of ``wxlogin dev``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

import click
from flask import Flask

from wxlogin.cli.command import HOST, LOOK_SECONDS, PORT, CommandFailed, Interrupted, ServiceUrl
from wxlogin.sandbox.app import SERVICE_URL, create_sandbox
from wxlogin.sandbox.server import SandboxServer, listen
from wxlogin.sandbox.state import DEFAULT_APPS, SandboxState


class _App(click.ParamType[tuple[str, str]]):
    name = "APPID=SECRET"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the two of them, or fail."""
        appid, _, secret = value.partition("=")
        if not (appid and secret):
            self.fail("has to be APPID=SECRET", param, ctx)
        return appid, secret


@click.command()
@click.option("--port", type=PORT, default=8001, show_default=True, help="The port to listen on.")
@click.option("--host", default=HOST, show_default=True, help="The address to listen on.")
@click.option("--app", "apps", type=_App(), multiple=True, help="A mini-program it knows; repeatable.")
@click.option(
    "--service", type=ServiceUrl(), default=SERVICE_URL, show_default=True, help="What the simulator uses."
)
def sandbox(port: int, host: str, apps: Sequence[tuple[str, str]], service: str) -> None:
    """Run the imitation of WeChat's API alone."""
    known: Mapping[str, str] = dict(apps) or DEFAULT_APPS
    imitation = create_sandbox(SandboxState(apps=known), service_url=service)
    url = f"http://{host}:{port}"
    with contextlib.suppress(Interrupted), serving(imitation, host=host, port=port, option="--port"):
        click.echo(f"simulator  {url}/simulator  with the service at {service}")
        click.echo(f"sandbox    {url}  knows {', '.join(known)}")
        while True:
            time.sleep(LOOK_SECONDS)


def serving(imitation: Flask, *, host: str, port: int, option: str) -> SandboxServer:
    """Return the server, which is a context, of the sandbox."""
    refuse_taken_port(host, port, option=option)
    return SandboxServer(imitation, host=host, port=port)


def refuse_taken_port(host: str, port: int, *, option: str) -> None:
    """Raise `CommandFailed`, which names the option, if nothing can listen there."""
    try:
        listen(host, port).close()
    except OSError as error:
        raise CommandFailed(
            f"{host}:{port} can't be used ({error.strerror}): choose another with {option}"
        ) from None
