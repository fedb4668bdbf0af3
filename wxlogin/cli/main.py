"""The command line: ``wxlogin dev``, ``sandbox``, ``check``, ``sessions list|revoke``, ``keys new``."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from wxlogin import __version__
from wxlogin.cli.check.run import check
from wxlogin.cli.command import CommandFailed, Interrupted
from wxlogin.cli.dev.server import dev
from wxlogin.cli.keys import keys
from wxlogin.cli.sandbox import sandbox
from wxlogin.cli.sessions import sessions
from wxlogin.config.settings import InvalidSettings
from wxlogin.storage.gateway import StoreUnavailable


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="wxlogin %(version)s")
def wxlogin() -> None:
    """Log WeChat mini-program users in."""


for _command in (dev, sandbox, check, sessions, keys):
    wxlogin.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in ``argv`` and return the exit status; a failure is said in one line on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return _run(argv)
    except Interrupted as interrupted:
        return 128 + interrupted.signal_number  # as a shell tells of what a signal ended
    except click.ClickException as error:
        error.show()
        return error.exit_code


def _run(argv: Sequence[str] | None) -> int:
    try:
        status: int | None = wxlogin.main(argv, prog_name="wxlogin", standalone_mode=False)
    except InvalidSettings as error:
        raise CommandFailed(str(error)) from None
    except StoreUnavailable as error:
        raise CommandFailed(f"Redis does not serve us ({error})") from None
    return status or 0


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
