"""The whole look: at the settings, and wherever they lead, all at once and whatever the others are like."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from wxlogin import settings
from wxlogin.apps_file import BadAppsFile
from wxlogin.check import of_redis, of_settings, of_wechat
from wxlogin.check.findings import Finding, Probe, findings_of
from wxlogin.redis_clients import parse_url
from wxlogin.services import connection_options
from wxlogin.settings import Settings

_GROUPS = 8
_GROUP_SECONDS = 15.0


def check_everything() -> list[Finding]:
    """Return all that is found of the settings in the environment and where they lead, within 20 s."""
    values, problems = settings.read()
    known = _what_is_known(values)
    return [
        *of_settings.look_at(known, problems=problems, unknown_names=settings.unknown_names()),
        *_keys(values),
        *findings_of([*_redis(known), *_wechat(known)]),
    ]


def _what_is_known(values: dict[str, Any]) -> Settings:
    """Return settings of which those that are bad, and told already, are not there: an AttributeError says so."""
    return cast(Settings, SimpleNamespace(**values))


def _keys(values: dict[str, Any]) -> list[Finding]:
    names = ("app_secret", "admin_token")
    others = {f"{settings.PREFIX}{name.upper()}": values[name] for name in names if values.get(name)}
    return of_settings.doubts_about_keys(values["secret_keys"], others=others) if "secret_keys" in values else []


def _redis(known: Settings) -> Iterator[Probe]:
    with contextlib.suppress(AttributeError):
        address, options = parse_url(known.redis_url), connection_options(known)
        if address.topology != "memory":
            yield Probe("redis", functools.partial(of_redis.look_at, address, options))


def _wechat(known: Settings) -> Iterator[Probe]:
    with contextlib.suppress(AttributeError, BadAppsFile):
        url = known.wechat_api_url
        yield Probe("wechat", functools.partial(of_wechat.look_at_way, url))
        for apps in of_wechat.groups(Settings.read_apps(known), most=_GROUPS):
            yield Probe(
                "wechat", functools.partial(of_wechat.look_at_credentials, url, apps), seconds=_GROUP_SECONDS
            )
