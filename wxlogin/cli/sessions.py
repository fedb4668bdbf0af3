"""``wxlogin sessions list|revoke``: operators see and end a user's sessions."""

from __future__ import annotations

import argparse
import datetime as dt
import os
from collections.abc import Callable

from wxlogin.cli.command import CommandFailed
from wxlogin.config import settings
from wxlogin.observability import events
from wxlogin.observability import logging as logs
from wxlogin.services import Services
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, UnknownMiniProgram


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    commands = command.add_subparsers(required=True, metavar="list|revoke")
    for name, run, words in (
        ("list", list_sessions, "handle, made, last seen (UTC) and user agent of each session"),
        ("revoke", revoke_sessions, "log a user out everywhere"),
    ):
        each = commands.add_parser(name, help=words, description=words)
        each.add_argument("--openid", required=True, help="the user")
        each.add_argument("--appid", help="of which mini-program, if there are several")
        each.set_defaults(run=run)


def list_sessions(options: argparse.Namespace) -> int:
    """Print a user's sessions, the newest first."""
    services, user_hash = _services_and_user(options)
    sessions = services.sessions.list(user_hash)
    for each in sessions:
        record = each.record
        print(each.handle, _time(record.created_at), _time(record.last_seen_at), _plain(record.user_agent))
    print(f"{len(sessions)} sessions" if len(sessions) != 1 else "1 session")
    _log("listed", lambda: len(sessions), user_hash)
    return 0


def revoke_sessions(options: argparse.Namespace) -> int:
    """End all of a user's sessions."""
    services, user_hash = _services_and_user(options)
    ended = _log("ended all", lambda: services.sessions.delete_all(user_hash, retry_safe=False), user_hash)
    print(f"ended {ended} sessions" if ended != 1 else "ended 1 session")
    return 0


def _services_and_user(options: argparse.Namespace) -> tuple[Services, str]:
    chosen = settings.load()
    logs.configure_logging(level=chosen.log_level, style=chosen.log_format)
    services = Services.build(chosen)
    try:
        return services, services.login.user_hash_of(options.openid, appid=options.appid)
    except MiniProgramNotNamed:
        raise CommandFailed("--appid has to say which mini-program: the service has several") from None
    except UnknownMiniProgram:
        raise CommandFailed("--appid is not one of this service's mini-programs") from None


def _log(action: str, work: Callable[[], int], user_hash: str) -> int:
    return events.log_admin_action(
        action, work, operator=f"command line of uid {os.getuid()}", user_hash=user_hash
    )


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%MZ")


def _plain(text: str) -> str:
    """Return ``text`` without what steers a terminal: anybody can put that into a user agent."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
