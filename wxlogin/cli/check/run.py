"""``wxlogin check``: the settings, and wherever they lead, all at once and whatever the others are like."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import click

from wxlogin.cli.check.redis import check_redis
from wxlogin.cli.check.report import PROBLEM, Check, Finding, as_json, as_text, count, run_checks
from wxlogin.cli.check.settings import check_secret_keys, check_settings
from wxlogin.cli.check.wechat import check_connectivity, check_credentials, groups
from wxlogin.config import settings
from wxlogin.config.settings import Settings
from wxlogin.services import connection_options
from wxlogin.storage.url import parse_url
from wxlogin.wechat.credentials_file import InvalidCredentialsFile

_GROUPS = 8
_GROUP_SECONDS = 15.0


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print it for programs.")
def check(is_json: bool) -> int:
    """Say what is wrong with the settings, Redis and WeChat.

    The exit status is 1 if something is, and 0 if there are only warnings.
    """
    findings = check_everything()
    click.echo(as_json(findings) if is_json else as_text(findings))
    return 1 if count(findings, PROBLEM) else 0


def check_everything() -> list[Finding]:
    """Return all that is found of the settings in the environment and where they lead, within 15 s."""
    values, problems = settings.read()
    known = _known_settings(values)
    return [
        *check_settings(known, problems=problems, unknown_names=settings.unknown_names()),
        *_keys(values),
        *run_checks([*_redis(known), *_wechat(known)]),
    ]


def _known_settings(values: dict[str, Any]) -> Settings:
    """Return settings of which those that are bad, and told already, are not there: an AttributeError says so."""
    return cast(Settings, SimpleNamespace(**values))


def _keys(values: dict[str, Any]) -> list[Finding]:
    names = ("app_secret", "admin_token")
    others = {f"{settings.PREFIX}{name.upper()}": values[name] for name in names if values.get(name)}
    return check_secret_keys(values["secret_keys"], others=others) if "secret_keys" in values else []


def _redis(known: Settings) -> Iterator[Check]:
    with contextlib.suppress(AttributeError):
        address, options = parse_url(known.redis_url), connection_options(known)
        if address.topology != "memory":
            yield Check("redis", functools.partial(check_redis, address, options))


def _wechat(known: Settings) -> Iterator[Check]:
    with contextlib.suppress(AttributeError, InvalidCredentialsFile):
        url = known.wechat_api_url
        yield Check("wechat", functools.partial(check_connectivity, url))
        for apps in groups(Settings.read_credentials(known), count=_GROUPS):
            yield Check("wechat", functools.partial(check_credentials, url, apps), seconds=_GROUP_SECONDS)
