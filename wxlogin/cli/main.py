"""The command line: ``wxlogin dev``, ``sandbox``, ``check``, ``sessions list|revoke``, ``keys new``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from wxlogin import __version__
from wxlogin.cli import keys, sandbox, sessions
from wxlogin.cli.check import run as check
from wxlogin.cli.command import CommandFailed
from wxlogin.cli.dev import server as dev
from wxlogin.config import settings
from wxlogin.storage.gateway import StoreUnavailable


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wxlogin", description="Log WeChat mini-program users in.")
    parser.add_argument("--version", action="version", version=f"wxlogin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, words in (
        ("dev", dev, "run the service with the sandbox and a store in memory"),
        ("sandbox", sandbox, "run the imitation of WeChat's API alone"),
        ("check", check, "say what is wrong with the settings, Redis and WeChat"),
        ("sessions", sessions, "list or end a user's sessions"),
        ("keys", keys, "make secret keys"),
    ):
        command.add_arguments(commands.add_parser(name, help=words))
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
