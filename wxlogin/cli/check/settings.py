"""What is wrong with the settings, and what is odd about those that the service would start with."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher

from wxlogin.cli.check.report import OK, PROBLEM, WARNING, Finding
from wxlogin.config.settings import Settings, exposes_secret
from wxlogin.sandbox.state import DEFAULT_APPS
from wxlogin.storage.url import RedisAddress, parse_url

_AREA = "settings"
_KEYS = "keys"
_WECHAT_URL = "https://api.weixin.qq.com"
_LOCAL_HOSTS = {"127.0.0.1", "::1", "localhost"}
_BY_HAND = re.compile(r"(?i)secret|password|change.?me|example|test")
_MIN_DISTINCT_CHARACTERS = 16  # different ones; what `wxlogin keys new` makes has more
_ALIKE = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class _SettingRule:
    """What is said of settings for which it ``holds``; ``what`` may have fields of theirs in it."""

    holds: Callable[[Settings], object]
    level: str
    what: str
    why: str
    todo: str

    def evaluate(self, settings: Settings) -> Iterator[Finding]:
        with contextlib.suppress(AttributeError):  # of a setting that is bad, which is told already
            if self.holds(settings):
                what, todo = self.what.format(settings), self.todo.format(settings)
                yield Finding(_AREA, self.level, what, self.why, todo)


def check_settings(settings: Settings, *, problems: Iterable[str], unknown_names: Iterable[str]) -> list[Finding]:
    """Return what is wrong with the settings; of ``settings``, those that can't be used may be missing."""
    found = [*_problems_with(problems), *_unknown(unknown_names), *_broken_rules(settings)]
    return found or [Finding(_AREA, OK, "all can be used, and none is odd")]


def _problems_with(lines: Iterable[str]) -> Iterator[Finding]:
    for line in lines:
        what, _, todo = line.rpartition(" Write ")
        yield Finding(_AREA, PROBLEM, what, "The service doesn't start with it.", f"Write {todo}")


def _unknown(names: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        yield Finding(
            _AREA,
            WARNING,
            f"{name} is not a setting of this service",
            "If it is misspelt, the setting that was meant has its default.",
            "Correct it (docs/settings.md has all names), or remove it.",
        )


def _broken_rules(settings: Settings) -> list[Finding]:
    return [finding for rule in _RULES for finding in rule.evaluate(settings)]


def check_secret_keys(keys: tuple[str, ...], *, others: Mapping[str, str]) -> list[Finding]:
    """Return what is odd about the secret keys. ``others`` are secrets that have to be different, by name."""
    found = [*_too_many(keys), *_alike(keys), *_made_by_hand(keys), *_used_twice(keys, others)]
    number = f"{len(keys)} secret keys" if len(keys) > 1 else "1 secret key"
    age = "how old keys are can't be seen: note the day when you make one"
    return found or [Finding(_KEYS, OK, f"{number}; {age}")]


def _limits_left_out(settings: Settings) -> bool:
    names = [field.name for field in dataclasses.fields(Settings) if "_limit_" in field.name]
    return any(getattr(settings, name, "") == "none" for name in names)


def _is_guessable(settings: Settings) -> bool:
    token = settings.admin_token
    return 0 < len(token) < 32 or 0 < len(set(token)) < _MIN_DISTINCT_CHARACTERS


def _is_not_wechat(settings: Settings) -> bool:
    return not exposes_secret(settings) and settings.wechat_api_url.rstrip("/") != _WECHAT_URL


def _redis(settings: Settings) -> RedisAddress:
    return parse_url(settings.redis_url)


def _is_redis_elsewhere(settings: Settings) -> bool:
    return any(host not in _LOCAL_HOSTS for host, _ in _redis(settings).nodes)


_RULES = (
    _SettingRule(
        lambda settings: not settings.trusted_proxies,
        WARNING,
        "WXLOGIN_TRUSTED_PROXIES is 0",
        "Behind a proxy, all clients would be counted as one, and share its limits.",
        "Write 1 behind nginx. 0 is right only if clients connect to the service itself.",
    ),
    _SettingRule(
        lambda settings: settings.wechat_connect_timeout_seconds > settings.wechat_total_timeout_seconds,
        WARNING,
        "WXLOGIN_WECHAT_CONNECT_TIMEOUT_SECONDS is more than WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS",
        "The total ends a call before that: this setting has no effect.",
        "Write less than {0.wechat_total_timeout_seconds:g}.",
    ),
    _SettingRule(
        lambda settings: settings.wechat_read_timeout_seconds > settings.wechat_total_timeout_seconds,
        WARNING,
        "WXLOGIN_WECHAT_READ_TIMEOUT_SECONDS is more than WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS",
        "The total ends a call before that: this setting has no effect.",
        "Write less than {0.wechat_total_timeout_seconds:g}.",
    ),
    _SettingRule(
        lambda settings: settings.wechat_total_timeout_seconds > 4.5,
        WARNING,
        "WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS is {0.wechat_total_timeout_seconds:g}",
        "A request should be over in 5 s: phones, and proxies, give up on those that take longer.",
        "Write 4.5 at the most.",
    ),
    _SettingRule(
        lambda settings: settings.redis_connect_timeout_seconds + settings.redis_read_timeout_seconds > 0.5,
        WARNING,
        "WXLOGIN_REDIS_CONNECT_TIMEOUT_SECONDS and WXLOGIN_REDIS_READ_TIMEOUT_SECONDS make more than 0.5 s",
        "While Redis is silent, each request that needs it holds a thread for that long, and longer.",
        "Write 0.2 each, if Redis is near.",
    ),
    _SettingRule(
        lambda settings: settings.session_idle_seconds < 120,
        WARNING,
        "WXLOGIN_SESSION_IDLE_SECONDS is {0.session_idle_seconds}",
        "The idle clock is moved once a minute: sessions that are in use would end.",
        "Write 120 or more.",
    ),
    _SettingRule(
        lambda settings: settings.redis_max_connections < settings.threads,
        PROBLEM,
        "WXLOGIN_REDIS_MAX_CONNECTIONS is {0.redis_max_connections}, and WXLOGIN_THREADS {0.threads}",
        "When all threads of a worker are busy, some of them get no connection, and answer 503.",
        "Write {0.threads} or more.",
    ),
    _SettingRule(
        lambda settings: not settings.max_sessions_per_user,
        WARNING,
        "WXLOGIN_MAX_SESSIONS_PER_USER is 0",
        "A client that logs in in a loop fills Redis with sessions of one user.",
        "Write how many devices somebody may have; 20 is the default.",
    ),
    _SettingRule(
        _limits_left_out,
        WARNING,
        "one of the limits, or more, is none",
        "One client can use up what WeChat allows the mini-program, and what its phone numbers cost.",
        "Leave the WXLOGIN_…_LIMIT_PER_… out for the defaults, or write limits of your own.",
    ),
    _SettingRule(
        lambda settings: not settings.cookie_secure,
        WARNING,
        "WXLOGIN_COOKIE_SECURE is false",
        "The session id crosses networks in clear as soon as a browser uses http.",
        "Write true: it is the same to mini-programs.",
    ),
    _SettingRule(
        lambda settings: not settings.cookie_httponly,
        WARNING,
        "WXLOGIN_COOKIE_HTTPONLY is false",
        "A script in a web view can read the session id.",
        "Write true: it is the same to mini-programs.",
    ),
    _SettingRule(
        lambda settings: settings.cookie_samesite == "None",
        WARNING,
        "WXLOGIN_COOKIE_SAMESITE is None",
        "Other sites' pages can make requests in the name of who is logged in in a browser.",
        "Write Lax: it is the same to mini-programs.",
    ),
    _SettingRule(
        _is_guessable,
        WARNING,
        "WXLOGIN_ADMIN_TOKEN is short, or has few different characters",
        "Who guesses it can see and end anybody's sessions.",
        "Write what `wxlogin keys new` prints.",
    ),
    _SettingRule(
        exposes_secret,
        PROBLEM,
        "WXLOGIN_WECHAT_API_URL is plain http to another machine",
        "The AppSecret and every user's session_key can be read on the way.",
        f"Write {_WECHAT_URL}, or leave it out.",
    ),
    _SettingRule(
        _is_not_wechat,
        WARNING,
        "WXLOGIN_WECHAT_API_URL is not WeChat's own address",
        "Whoever answers there gets the AppSecret. If it is the sandbox, anybody can log in as anybody.",
        "Leave it out in production.",
    ),
    _SettingRule(
        lambda settings: settings.app_secret in DEFAULT_APPS.values(),
        WARNING,
        "WXLOGIN_APP_SECRET is the sandbox's",
        "WeChat doesn't know it.",
        "Write your mini-program's in production, from mp.weixin.qq.com.",
    ),
    _SettingRule(
        lambda settings: _redis(settings).topology == "memory",
        PROBLEM,
        "WXLOGIN_REDIS_URL is memory://",
        "Each worker has sessions of its own, and they end with it.",
        "Write the address of a Redis: memory:// is for development.",
    ),
    _SettingRule(
        lambda settings: _redis(settings).topology == "sentinel" and len(_redis(settings).nodes) == 1,
        WARNING,
        "WXLOGIN_REDIS_URL names one Sentinel",
        "While that one is away, nobody says where the master is.",
        "Name all of them, separated by commas.",
    ),
    _SettingRule(
        lambda settings: _is_redis_elsewhere(settings) and not _redis(settings).is_encrypted,
        WARNING,
        "WXLOGIN_REDIS_URL is without TLS, and leads to another machine",
        "Who reads that network learns Redis's password, and can delete sessions with it.",
        "Write rediss:// in place of redis://, unless nobody else is on that network (docs/operations.md, TLS).",
    ),
    _SettingRule(
        lambda settings: _is_redis_elsewhere(settings) and not _redis(settings).password,
        WARNING,
        "WXLOGIN_REDIS_URL has no password, and leads to another machine",
        "Who reaches that Redis can delete all sessions.",
        "Make an ACL user for the service (docs/operations.md, An ACL user).",
    ),
)


def _too_many(keys: tuple[str, ...]) -> Iterator[Finding]:
    if len(keys) > 3:
        yield Finding(
            _KEYS,
            WARNING,
            f"there are {len(keys)} secret keys",
            "Each of them opens what it has sealed: the more there are, the more can leak.",
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
        if len(set(key)) < _MIN_DISTINCT_CHARACTERS or _BY_HAND.search(key):
            yield Finding(
                _KEYS,
                WARNING,
                f"secret key {number} looks as if somebody had made it up",
                "Such keys can be guessed, and then opened is what they have sealed.",
                "Put what `wxlogin keys new` prints in front of it, and remove it when the sessions have ended "
                "(docs/operations.md, A new secret key).",
            )


def _used_twice(keys: tuple[str, ...], others: Mapping[str, str]) -> Iterator[Finding]:
    for name, secret in others.items():
        if secret in keys:
            yield Finding(
                _KEYS,
                PROBLEM,
                f"{name} is one of the secret keys",
                "Who has to know the one would know the other.",
                "Write something else for one of them; `wxlogin keys new` makes it.",
            )
