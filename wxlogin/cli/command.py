"""What the commands share: how they fail, and what they make of arguments."""

from __future__ import annotations

import re

import click

HOST = "127.0.0.1"
PORT = click.IntRange(1, 65535)
# Who waits for longer at once may not notice a signal that came just before, or to another thread.
LOOK_SECONDS = 1.0


class Interrupted(BaseException):
    """Raised where SIGINT or SIGTERM finds us: of a KeyboardInterrupt, click makes a line of its own."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class CommandFailed(click.ClickException):
    """Raised if a command can't do what it was asked; its text says why and what to do."""

    def show(self, file: object = None) -> None:
        """Say so on stderr, in one line."""
        click.echo(f"wxlogin: {self.message}", err=True)


class ServiceUrl(click.ParamType[str]):
    """The address of a service."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address without a slash at its end, or fail."""
        if not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", value):
            self.fail("has to be like http://127.0.0.1:8000", param, ctx)
        return value.rstrip("/")
