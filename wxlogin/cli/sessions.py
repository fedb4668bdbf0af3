"""``wxlogin sessions list|revoke``: operators see and end a user's sessions."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable

import click

from wxlogin.cli.command import CommandFailed
from wxlogin.config import settings
from wxlogin.observability import events
from wxlogin.observability import logging as logs
from wxlogin.services import Services
from wxlogin.wechat.mini_programs import MiniProgramNotNamed, UnknownMiniProgram


@click.group()
def sessions() -> None:
    """List or end a user's sessions."""


_openid = click.option("--openid", required=True, help="The user.")
_appid = click.option("--appid", help="Of which mini-program, if there are several.")


@sessions.command("list")
@_openid
@_appid
def list_sessions(openid: str, appid: str | None) -> None:
    """Print handle, made, last seen (UTC) and user agent of each session."""
    services, user_hash = _services_and_user(openid, appid)
    found = services.sessions.list(user_hash)
    for each in found:
        record = each.record
        click.echo(
            f"{each.handle} {_time(record.created_at)} {_time(record.last_seen_at)} {_plain(record.user_agent)}"
        )
    click.echo(f"{len(found)} sessions" if len(found) != 1 else "1 session")
    _log("listed", lambda: len(found), user_hash)


@sessions.command("revoke")
@_openid
@_appid
def revoke_sessions(openid: str, appid: str | None) -> None:
    """Log a user out everywhere."""
    services, user_hash = _services_and_user(openid, appid)
    ended = _log("ended all", lambda: services.sessions.delete_all(user_hash, retry_safe=False), user_hash)
    click.echo(f"ended {ended} sessions" if ended != 1 else "ended 1 session")


def _services_and_user(openid: str, appid: str | None) -> tuple[Services, str]:
    chosen = settings.load()
    logs.configure_logging(level=chosen.log_level, style=chosen.log_format)
    services = Services.build(chosen)
    try:
        return services, services.login.user_hash_of(openid, appid=appid)
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
