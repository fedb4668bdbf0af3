"""What the commands share: how they fail, and what they make of arguments."""

from __future__ import annotations

import argparse
import re

HOST = "127.0.0.1"


class CommandFailed(Exception):
    """Raised if a command can't do what it was asked; its text says why and what to do."""


def port(text: str) -> int:
    """Return a port number, or raise what argparse tells the user."""
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError("has to be 1 to 65535")
    return number


def url(text: str) -> str:
    """Return the address of a service, or raise what argparse tells the user."""
    if not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", text):
        raise argparse.ArgumentTypeError("has to be like http://127.0.0.1:8000")
    return text.rstrip("/")
