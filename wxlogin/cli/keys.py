"""``wxlogin keys new``: a fresh secret key."""

from __future__ import annotations

import argparse
import secrets


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    commands = command.add_subparsers(required=True, metavar="new")
    commands.add_parser("new", help="print a fresh key for WXLOGIN_SECRET_KEYS").set_defaults(run=new_key)


def new_key(_options: argparse.Namespace) -> int:
    """Print a fresh secret key."""
    print(secrets.token_urlsafe(32))
    return 0
