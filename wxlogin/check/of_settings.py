"""What is wrong with the settings, and what is odd about those that the service would start with."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from urllib.parse import urlsplit

from wxlogin.check.findings import OK, PROBLEM, WARNING, Finding
from wxlogin.redis_clients import RedisAddress, parse_url
from wxlogin.sandbox.state import DEFAULT_APPS
from wxlogin.settings import Settings, exposes_secret

_AREA = "settings"
_KEYS = "keys"
_WECHAT_URL = "https://api.weixin.qq.com"
_MANY_KEYS = 3
_ALIKE = 0.8
_KEY_CHARACTERS = 16
_ADMIN_TOKEN_CHARACTERS = 32
_LONGEST_REQUEST_SECONDS = 4.5
_LONGEST_REDIS_SECONDS = 0.5
_TOUCH_SECONDS = 60
_HERE = {"127.0.0.1", "::1", "localhost"}


def problems_with(lines: Iterable[str]) -> Iterator[Finding]:
    """Give a finding for each line of what `wxlogin.settings` complains about."""
    for line in lines:
        what, write, hint = line.rpartition(" Write ")
        yield Finding(
            _AREA, PROBLEM, what.rstrip(".") or hint, "The service doesn't start with it.", f"{write.lstrip()}{hint}"
        )


def unknown(names: Iterable[str]) -> Iterator[Finding]:
    """Give a finding for each variable that no setting reads."""
    for name in names:
        yield Finding(
            _AREA,
            WARNING,
            f"{name} is not a setting of this service",
            "If it is misspelt, the setting that was meant has its default.",
            "Correct it (docs/settings.md has all names), or remove it.",
        )


def doubts_about(settings: Settings) -> list[Finding]:
    """Return what is odd about settings that can be used."""
    looks = (_proxies, _times, _numbers, _limits, _cookie, _admin_token, _wechat_url, _sandbox_apps, _redis_url)
    found = [finding for look in looks for finding in look(settings)]
    return found or [Finding(_AREA, OK, "the settings can be used, and nothing about them is odd")]


def doubts_about_keys(keys: tuple[str, ...], *, others: Mapping[str, str]) -> list[Finding]:
    """Return what is odd about the secret keys. ``others`` are secrets that have to be different, by name."""
    found = [*_too_many(keys), *_alike(keys), *_made_by_hand(keys), *_used_twice(keys, others)]
    number = f"{len(keys)} secret keys" if len(keys) > 1 else "1 secret key"
    age = "how old they are can't be seen: note the day when you make one, and make a new one once a year"
    return found or [Finding(_KEYS, OK, f"{number}; {age}")]


def _proxies(settings: Settings) -> Iterator[Finding]:
    if not settings.trusted_proxies:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_TRUSTED_PROXIES is 0",
            "Behind a proxy, all clients would be counted as one, and share its limits.",
            "Write 1 behind nginx. 0 is right only if clients connect to the service itself.",
        )


def _times(settings: Settings) -> Iterator[Finding]:
    total = settings.wechat_total_timeout_seconds
    for name in ("connect", "read"):
        if getattr(settings, f"wechat_{name}_timeout_seconds") > total:
            yield Finding(
                _AREA,
                WARNING,
                f"WXLOGIN_WECHAT_{name.upper()}_TIMEOUT_SECONDS is more than WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS",
                "The total ends the call before that: this setting has no effect.",
                "Write less than the total, or more time in all.",
            )
    if total > _LONGEST_REQUEST_SECONDS:
        yield Finding(
            _AREA,
            WARNING,
            f"WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS is {total:g}",
            "A request should be over in 5 s: phones, and proxies, give up on those that take longer.",
            f"Write {_LONGEST_REQUEST_SECONDS:g} at the most.",
        )
    if settings.redis_connect_timeout_seconds + settings.redis_read_timeout_seconds > _LONGEST_REDIS_SECONDS:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS and _READ_TIMEOUT_SECONDS are together more than "
            f"{_LONGEST_REDIS_SECONDS:g}",
            "While Redis is silent, every check of a session holds a thread for that long, and more.",
            "Write 0.2 each, if Redis is near.",
        )
    if settings.session_idle_seconds < 2 * _TOUCH_SECONDS:
        yield Finding(
            _AREA,
            WARNING,
            f"WXLOGIN_SESSION_IDLE_SECONDS is {settings.session_idle_seconds}",
            "The idle clock is moved once a minute: sessions that are in use would end.",
            f"Write {2 * _TOUCH_SECONDS} or more.",
        )


def _numbers(settings: Settings) -> Iterator[Finding]:
    if settings.redis_max_connections < settings.threads:
        yield Finding(
            _AREA,
            PROBLEM,
            "WXLOGIN_REDIS_MAX_CONNECTIONS is less than WXLOGIN_THREADS",
            "When all threads of a worker are busy, some of them get no connection and answer 503.",
            f"Write {settings.threads} or more.",
        )
    if not settings.max_sessions_per_user:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_MAX_SESSIONS_PER_USER is 0",
            "A client that logs in in a loop fills Redis with sessions of one user.",
            "Write 20, or how many devices somebody may have.",
        )


def _limits(settings: Settings) -> Iterator[Finding]:
    names = [
        f"{what}_limit_per_{whom}" for what in ("login", "user_data", "phone_number") for whom in ("address", "user")
    ]
    missing = [f"WXLOGIN_{name.upper()}" for name in names if getattr(settings, name) == "none"]
    if missing:
        yield Finding(
            _AREA,
            WARNING,
            f"no limit: {', '.join(missing)}",
            "One client can use up what WeChat allows this app, and what phone numbers cost.",
            "Leave them out for the defaults, or write limits of your own.",
        )


def _cookie(settings: Settings) -> Iterator[Finding]:
    for flag, harm in (
        ("secure", "The session id crosses networks in clear as soon as a client uses http."),
        ("httponly", "A script in a web view can read the session id."),
    ):
        if not getattr(settings, f"cookie_{flag}"):
            yield Finding(
                _AREA,
                WARNING,
                f"WXLOGIN_COOKIE_{flag.upper()} is false",
                harm,
                "Write true. wx.request() doesn't look at it: it does no harm to mini-programs.",
            )
    if settings.cookie_samesite == "None":
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_COOKIE_SAMESITE is None",
            "Other sites' pages can make requests in the name of who is logged in in a browser.",
            "Write Lax. Mini-programs don't need None.",
        )


def _admin_token(settings: Settings) -> Iterator[Finding]:
    token = settings.admin_token
    if token and (len(token) < _ADMIN_TOKEN_CHARACTERS or len(set(token)) < _KEY_CHARACTERS):
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_ADMIN_TOKEN is short, or has few different characters",
            "Who guesses it can see and end anybody's sessions.",
            "Write what `wxlogin keys new` prints.",
        )


def _wechat_url(settings: Settings) -> Iterator[Finding]:
    if exposes_secret(settings):
        yield Finding(
            _AREA,
            PROBLEM,
            "WXLOGIN_WECHAT_API_URL is plain http to another machine",
            "The AppSecret and every user's session_key can be read on the way.",
            f"Leave it out, or write {_WECHAT_URL}. With the sandbox on a network of its own, it does no harm.",
        )
    elif settings.wechat_api_url.rstrip("/") != _WECHAT_URL:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_WECHAT_API_URL is not WeChat's own address",
            "Whoever is there gets the AppSecret. If it is the sandbox, anybody can log in as anybody.",
            "Leave it out in production.",
        )


def _sandbox_apps(settings: Settings) -> Iterator[Finding]:
    if settings.app_secret in DEFAULT_APPS.values():
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_APP_SECRET is the sandbox's",
            "WeChat doesn't know it.",
            "Write your mini-program's, from mp.weixin.qq.com, in production.",
        )


def _redis_url(settings: Settings) -> Iterator[Finding]:
    address = parse_url(settings.redis_url)
    if address.topology == "memory":
        yield Finding(
            _AREA,
            PROBLEM,
            "WXLOGIN_REDIS_URL is memory://",
            "Each worker has sessions of its own, and all of them end with it.",
            "Write the address of a Redis. memory:// is for development.",
        )
    if address.topology == "sentinel" and len(address.nodes) == 1:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_REDIS_URL names one Sentinel",
            "While that one is away, nobody says where the master is.",
            "Name all of them, separated by commas.",
        )
    if _is_elsewhere(address):
        yield from _network(address)


def _is_elsewhere(address: RedisAddress) -> bool:
    return any(host not in _HERE for host, _ in address.nodes)


def _network(address: RedisAddress) -> Iterator[Finding]:
    if not address.is_encrypted:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_REDIS_URL is without TLS, and to another machine",
            "Who reads the network learns Redis's password, and can end or delete sessions with it.",
            "Write rediss:// instead of redis://, unless nobody else is on that network (docs/operations.md, TLS).",
        )
    if not address.password:
        yield Finding(
            _AREA,
            WARNING,
            "WXLOGIN_REDIS_URL has no password, and is to another machine",
            "Who reaches that Redis can end or delete all sessions.",
            "Make an ACL user for the service (docs/operations.md, An ACL user).",
        )


def _too_many(keys: tuple[str, ...]) -> Iterator[Finding]:
    if len(keys) > _MANY_KEYS:
        yield Finding(
            _KEYS,
            WARNING,
            f"there are {len(keys)} secret keys",
            "Each of them opens what it sealed: the more there are, the more can leak.",
            "Remove those that were replaced longer ago than WXLOGIN_SESSION_MAX_SECONDS.",
        )


def _alike(keys: tuple[str, ...]) -> Iterator[Finding]:
    for (first, one), (second, other) in itertools.combinations(enumerate(keys, 1), 2):
        if SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE:
            yield Finding(
                _KEYS,
                WARNING,
                f"secret keys {first} and {second} are the same, or almost",
                "Who learns one has the other: nothing is won by replacing it.",
                "Replace the newer one by what `wxlogin keys new` prints.",
            )


def _made_by_hand(keys: tuple[str, ...]) -> Iterator[Finding]:
    for number, key in enumerate(keys, 1):
        if len(set(key)) < _KEY_CHARACTERS or re.search(r"(?i)secret|password|change.?me|example|test", key):
            yield Finding(
                _KEYS,
                WARNING,
                f"secret key {number} looks as if a person had thought of it",
                "Such keys are guessed: it opens all records of sessions for who can read Redis.",
                "Put what `wxlogin keys new` prints in front, and remove this one when the sessions have ended "
                "(docs/operations.md, A new secret key).",
            )


def _used_twice(keys: tuple[str, ...], others: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(name for name, secret in others.items() if secret in keys):
        yield Finding(
            _KEYS,
            PROBLEM,
            f"{name} is one of the secret keys",
            "Who has to know the one would know the other.",
            "Write something else for one of them: `wxlogin keys new` makes it.",
        )


def proxies_of_environment() -> Iterator[Finding]:
    """Say that the way out is a direct one, where the environment has another."""
    names = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)]
    if names:
        yield Finding(
            "wechat",
            WARNING,
            f"{names[0]} is set, and not used",
            "The service connects to WeChat directly: an address with the AppSecret goes through nobody's proxy.",
            "Let this machine out to api.weixin.qq.com, port 443.",
        )


def host_of(url: str) -> tuple[str, int, bool]:
    """Return the host and port of WeChat's API, and whether it is reached over TLS."""
    parts = urlsplit(url)
    is_encrypted = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if is_encrypted else 80), is_encrypted
