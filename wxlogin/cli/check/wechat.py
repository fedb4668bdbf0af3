"""Whether WeChat can be reached from here, and takes our credentials: WeChat's own words are interpreted."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import certifi

from wxlogin.cli.check.report import OK, PROBLEM, WARNING, Finding
from wxlogin.resilience.deadline import Deadline
from wxlogin.wechat.api.errors import WeChatError
from wxlogin.wechat.api.transport import Call, Transport

_AREA = "wechat"
_STEP_SECONDS = 3.0
_CALL_SECONDS = 4.0
_PATH = "/cgi-bin/stable_token"
_ADDRESS = re.compile(r"invalid ip ([0-9A-Fa-f.:]+)")
_CONSOLE = "mp.weixin.qq.com, 开发管理 (development), 开发设置 (settings)"


@dataclasses.dataclass(frozen=True, slots=True)
class _Advice:
    """What an errcode means; ``level`` is less than a problem if it passes by itself."""

    what: str
    todo: str
    level: str = PROBLEM


_NOT_WECHAT = _Advice(
    "WeChat does not know this kind of request", "See that WXLOGIN_WECHAT_API_URL is WeChat's address, with https."
)
_NOT_ALLOWED_FROM_HERE = _Advice(
    "WeChat does not accept calls from this machine's address",
    f"Enter the address at {_CONSOLE}, IP白名单 (IP allow-list), and wait five minutes. "
    "If it changes, give this machine a fixed one for what it sends out (a NAT gateway).",
)
_WAITS_FOR_CONSENT = _Advice(
    "calls from this machine's address wait for the administrator's consent",
    "Have the mini-program's administrator confirm what WeChat has sent to them.",
)

# https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getStableAccessToken.html
_ADVICE: Mapping[int, _Advice] = {
    -1: _Advice("WeChat is busy", "Check again in a minute.", WARNING),
    40001: _Advice("WeChat does not accept the AppSecret", f"Copy it again, or reset it: {_CONSOLE}."),
    40002: _NOT_WECHAT,
    40013: _Advice("WeChat does not know this AppID", f"Copy it again: {_CONSOLE}."),
    40125: _Advice("WeChat does not accept the AppSecret", f"Copy it again, or reset it: {_CONSOLE}."),
    40164: _NOT_ALLOWED_FROM_HERE,
    40243: _Advice("the AppSecret is frozen", f"Unfreeze it: {_CONSOLE}."),
    41002: _Advice("WeChat sees no AppID", "See that WXLOGIN_WECHAT_API_URL is WeChat's address."),
    41004: _Advice("WeChat sees no AppSecret", "See that WXLOGIN_WECHAT_API_URL is WeChat's address."),
    45009: _Advice(
        "this app has used up its access tokens for today", "Wait until tomorrow, or clear the quota.", WARNING
    ),
    45011: _Advice("this app asks too often", "Check again in a minute.", WARNING),
    40066: _NOT_WECHAT,
    43003: _NOT_WECHAT,
    45035: _NOT_ALLOWED_FROM_HERE,
    50002: _Advice(
        "this mini-program is frozen, has moved to another owner or is closed", f"See its notices: {_CONSOLE}."
    ),
    61004: _NOT_ALLOWED_FROM_HERE,
    89501: _WAITS_FOR_CONSENT,
    89503: _WAITS_FOR_CONSENT,
    89506: _Advice(
        "the administrator has refused calls from this machine's address twice",
        "Ask the mini-program's administrator; WeChat asks them again after a day.",
    ),
    89507: _Advice(
        "the administrator has refused calls from this machine's address",
        "Ask the mini-program's administrator; WeChat asks them again after an hour.",
    ),
}


def check_connectivity(url: str) -> Iterator[Finding]:
    """Give how far one gets on the way to WeChat: its name, a connection, TLS."""
    yield from _unused_proxy()
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        started_at = time.monotonic()
        address = _resolve(host, port)
        with socket.create_connection(address, timeout=_STEP_SECONDS) as connection:
            if parts.scheme == "https":
                _ca_context().wrap_socket(connection, server_hostname=host).close()
    except OSError as error:
        yield _connection_finding(host, error)
    else:
        yield Finding(_AREA, OK, f"{host} is reached in {(time.monotonic() - started_at) * 1000:.0f} ms")


def _resolve(host: str, port: int) -> tuple[str, int]:
    """Return the first address of a host; IPv4 and IPv6 in the order that the system prefers."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(found[0][4][0]), port


def _ca_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())  # those of the service


def _connection_finding(host: str, error: OSError) -> Finding:
    if isinstance(error, socket.gaierror):
        what, todo = (
            f"the name {host} is not known here",
            "Look at this machine's name servers (/etc/resolv.conf).",
        )
    elif isinstance(error, ssl.SSLError):
        what = f"TLS with {host} fails"
        todo = "Something in between answers in WeChat's place, or this machine's clock is wrong. Look at both."
    elif isinstance(error, TimeoutError):
        what, todo = f"{host} does not answer", "Let this machine out: a firewall drops what is sent."
    else:
        what, todo = (
            f"{host} can't be connected to",
            "Let this machine out: a firewall, or a missing route, refuses.",
        )
    return Finding(_AREA, PROBLEM, what, "Nobody can log in.", todo)


def _unused_proxy() -> Iterator[Finding]:
    names = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)]
    if names:
        yield Finding(
            _AREA,
            WARNING,
            f"{names[0]} is set, and is not used",
            "The service connects to WeChat directly: it sends the AppSecret through nobody's proxy.",
            "Let this machine out to api.weixin.qq.com, port 443.",
        )


def check_credentials(url: str, apps: Mapping[str, str]) -> Iterator[Finding]:
    """Give whether WeChat takes each app's credentials; after the first that it can't be asked about, no more."""
    transport = Transport(
        url, connect_timeout=1.0, read_timeout=_STEP_SECONDS, max_connections=1, authorities_path=None
    )
    try:
        for number, (appid, secret) in enumerate(apps.items()):
            answer = _ask(transport, appid, secret)
            if isinstance(answer, WeChatError):
                yield _not_checked_finding(len(apps) - number, answer)
                return
            yield _credentials_finding(appid, answer)
    finally:
        transport.close()


def _ask(transport: Transport, appid: str, secret: str) -> bytes | WeChatError:
    """Ask for an access_token, which voids nothing and is forgotten: the service's own is the same one.

    Without ``force_refresh``, stable_token gives all who ask the token that there is.
    """
    body = {"grant_type": "client_credential", "appid": appid, "secret": secret, "force_refresh": False}
    return transport.send(Call(_PATH, {}, body), Deadline.after(_CALL_SECONDS))


def _not_checked_finding(count: int, failure: WeChatError) -> Finding:
    apps = "1 mini-program" if count == 1 else f"{count} mini-programs"
    return Finding(
        _AREA,
        PROBLEM,
        f"the credentials of {apps} could not be checked: {_name_of(failure)}",
        "Nobody can log in while WeChat can't be asked.",
        "Mend the way to WeChat, if something was found there; else check again.",
    )


def _name_of(failure: WeChatError) -> str:
    return failure.outcome.title().replace("_", "")


def _credentials_finding(appid: str, answer: bytes) -> Finding:
    content = _json(answer)
    if content.get("access_token"):
        return Finding(_AREA, OK, f"{appid}: WeChat takes its AppSecret")
    errcode = content.get("errcode")
    if not isinstance(errcode, int):
        return _invalid_response_finding(appid)
    unknown = _Advice(f"WeChat says no, with errcode {errcode}", "Look the errcode up in WeChat's documentation.")
    advice = _ADVICE.get(errcode, unknown)
    what = f"{appid}: {advice.what} (errcode {errcode}{_address_in(content)})"
    return Finding(_AREA, advice.level, what, "Logins, or what needs an access token, fail.", advice.todo)


def _json(answer: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _invalid_response_finding(appid: str) -> Finding:
    return Finding(
        _AREA,
        PROBLEM,
        f"{appid}: the answer is not WeChat's",
        "Something else answers at WXLOGIN_WECHAT_API_URL, and has been sent the AppSecret.",
        "Correct WXLOGIN_WECHAT_API_URL, or see who is in between; reset the AppSecret if it is not yours.",
    )


def _address_in(content: Mapping[str, Any]) -> str:
    """Return the address that WeChat saw, and says: it is the operator's own, and what they have to enter."""
    found = _ADDRESS.search(str(content.get("errmsg")))
    return f", address {found[1]}" if found and _is_address(found[1]) else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def groups(apps: Mapping[str, str], *, count: int) -> list[dict[str, str]]:
    """Return the apps in at most so many groups, to be asked about at once."""
    entries = list(apps.items())
    return [dict(entries[start::count]) for start in range(min(count, len(entries)))]
