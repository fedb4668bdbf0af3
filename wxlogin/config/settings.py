"""The settings: read once from the environment, checked as a whole, never changed afterwards."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values
from limits import parse_many

from wxlogin.storage.url import parse_url
from wxlogin.wechat.credentials_file import APPID_PATTERN, SECRET_PATTERN, InvalidCredentialsFile, read_credentials

PREFIX = "WXLOGIN_"
_DOTENV = ".env"
_APPS_FILE = f"{PREFIX}APPS_FILE"
_MAX_LIMIT_SECONDS = 366 * 86400

_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"})

Parse = Callable[[str], Any]
"""Returns what a text stands for, or raises `ValueError`, which says what is wrong and does not quote the text."""


class InvalidSettings(Exception):
    """Raised if the service can't start with these settings; ``problems`` has a line for each of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the settings are not usable:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


def _setting(parse: Parse, hint: str, *, default: Any = None, secret: bool = False) -> Any:
    """Declare a field; ``hint`` says what to write. Without a ``default`` there has to be a value."""
    return dataclasses.field(repr=not secret, metadata={"parse": parse, "hint": hint, "default": default})


def _text(check: Callable[[str], object]) -> Parse:
    def parse(text: str) -> str:
        check(text)
        return text

    return parse


def _choice(*values: str) -> Parse:
    def check(text: str) -> None:
        if text not in values:
            raise ValueError("Not one of these.")

    return _text(check)


def _flag(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError("Not a valid boolean.")
    return text in _TRUE


def _number(*, minimum: int, maximum: float = math.inf) -> Parse:
    return _within(int, "Not a valid integer.", minimum, maximum)


def _seconds(*, minimum: float = 0.01) -> Parse:
    return _within(float, "Not a valid number.", minimum, 60)


def _within(kind: Callable[[str], float], error: str, minimum: float, maximum: float) -> Parse:
    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            raise ValueError(error) from None
        if not minimum <= number <= maximum:  # nor is what is no number
            raise ValueError("Out of range.")
        return number

    return parse


def _limit(default: str) -> Any:
    hint = "how many per second, minute, hour or day, as 120/minute; several separated by ';'; none for no limit"
    return _setting(_text(_check_limit), hint, default=default)


def _file(hint: str) -> Any:
    return _setting(_text(_check_file), hint, default="")


def _fits(pattern: re.Pattern[str], error: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not pattern.match(value):
            raise ValueError(error)

    return check


def _check_limit(value: str) -> None:
    try:
        limits = [] if value == "none" else parse_many(value)
    except ValueError:
        raise ValueError("Not a limit.") from None
    if any(limit.amount < 1 or limit.get_expiry() > _MAX_LIMIT_SECONDS for limit in limits):
        raise ValueError("Not a limit: it is less than one, or for longer than a year.")


def _split_url(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises on a bad one
    except ValueError:
        raise ValueError("Not a valid URL.") from None
    return parts


def _check_file(value: str) -> None:
    if not os.access(value, os.R_OK):
        raise ValueError("Not a file that can be read.")


def _check_apps_file(value: str) -> None:
    try:
        read_credentials(value)
    except InvalidCredentialsFile as error:
        raise ValueError(" ".join(error.problems)) from None


def _check_api_url(value: str) -> None:
    parts = _split_url(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("Not an HTTP address.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("Nothing but scheme, host, port and path belongs here.")


def _secret_keys(text: str) -> tuple[str, ...]:
    keys = tuple(re.findall(r"[^,\s]+", text))
    if not keys:
        raise ValueError("No key in it.")
    if any(len(key) < 32 or len(set(key)) < 8 for key in keys):
        raise ValueError("A key is too short or too regular to be secret.")
    return keys


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The service's settings; `docs/settings.md` has the same table for people, and a test compares them."""

    appid: str = _setting(
        _text(_fits(APPID_PATTERN, "Not an AppID.")),
        "the mini-program's AppID, wx and 16 hexadecimal digits, from mp.weixin.qq.com; "
        "or, for several mini-programs, WXLOGIN_APPS_FILE instead",
    )
    app_secret: str = _setting(
        _text(_fits(SECRET_PATTERN, "Not an AppSecret.")),
        "the mini-program's AppSecret, from mp.weixin.qq.com; it stays on the server; "
        "or, for several mini-programs, WXLOGIN_APPS_FILE instead",
        secret=True,
    )
    apps_file: str = _setting(
        _text(_check_apps_file),
        'the path of a JSON file with each mini-program\'s AppID and AppSecret, {"wx…": "…", "wx…": "…"}',
        default="",
    )
    secret_keys: tuple[str, ...] = _setting(
        _secret_keys,
        "what `wxlogin keys new` prints; several are separated by commas, the newest first",
        secret=True,
    )
    redis_url: str = _setting(
        _text(parse_url),
        "redis://[user:password@]host:port/number, rediss:// for TLS, unix:///path, "
        "redis+sentinel://host:port,host:port/master/number, redis+cluster://host:port,host:port, "
        "or memory:// for development",
        default="redis://127.0.0.1:6379/0",
        secret=True,
    )
    redis_ca_path: str = _file("the path of a PEM file with the CA of Redis")
    redis_cert_path: str = _file("the path of a PEM file with our certificate")
    redis_key_path: str = _file("the path of a PEM file with our certificate's key")
    redis_max_connections: int = _setting(_number(minimum=1), "a whole number, 1 or more", default=32)
    redis_connect_timeout_seconds: float = _setting(_seconds(), "seconds, 0.01 to 60", default=0.2)
    redis_read_timeout_seconds: float = _setting(_seconds(), "seconds, 0.01 to 60", default=0.2)
    wechat_api_url: str = _setting(
        _text(_check_api_url),
        "https://api.weixin.qq.com, or the sandbox's address",
        default="https://api.weixin.qq.com",
    )
    wechat_connect_timeout_seconds: float = _setting(_seconds(), "seconds, 0.01 to 60", default=1.0)
    wechat_read_timeout_seconds: float = _setting(_seconds(), "seconds, 0.01 to 60", default=3.0)
    wechat_total_timeout_seconds: float = _setting(_seconds(minimum=1), "seconds, 1 to 60", default=4.0)
    access_token_api: str = _setting(
        _choice("stable_token", "token"), "stable_token or token", default="stable_token"
    )
    session_idle_seconds: int = _setting(_number(minimum=1), "whole seconds, 1 or more", default=7 * 86400)
    session_max_seconds: int = _setting(_number(minimum=1), "whole seconds, 1 or more", default=30 * 86400)
    max_sessions_per_user: int = _setting(_number(minimum=0), "a whole number, 0 for no limit", default=20)
    login_limit_per_address: str = _limit("90/minute")
    login_limit_per_user: str = _limit("30/minute")
    user_data_limit_per_address: str = _limit("600/minute")
    user_data_limit_per_user: str = _limit("60/minute")
    phone_number_limit_per_address: str = _limit("60/minute")
    phone_number_limit_per_user: str = _limit("10/minute")
    trusted_proxies: int = _setting(_number(minimum=0), "a whole number, 0 for none", default=0)
    admin_token: str = _setting(
        _text(_fits(re.compile(r"[!-~]{8,256}\Z"), "Too short, or with a blank.")),
        "what `wxlogin keys new` prints; or nothing, which switches the admin routes off",
        default="",
        secret=True,
    )
    login_replay_seconds: int = _setting(
        _number(minimum=0, maximum=300), "whole seconds, 0 to 300; 0 switches it off", default=10
    )
    near_cache_seconds: float = _setting(_seconds(minimum=0), "seconds, 0 to 60; 0 switches it off", default=2.0)
    threads: int = _setting(_number(minimum=1), "a whole number, 1 or more", default=8)
    watermark_max_age_seconds: int = _setting(_number(minimum=0), "whole seconds, 0 for any age", default=0)
    confirm_phone_numbers: bool = _setting(_flag, "true or false", default=False)
    expose_openid: bool = _setting(_flag, "true or false", default=False)
    session_id_in_body: bool = _setting(_flag, "true or false", default=False)
    cookie_secure: bool = _setting(_flag, "true or false", default=True)
    cookie_httponly: bool = _setting(_flag, "true or false", default=True)
    cookie_samesite: str = _setting(_choice("Lax", "Strict", "None"), "Lax, Strict or None", default="Lax")
    cookie_path: str = _setting(
        _text(_fits(re.compile(r"/[!#-+\--:<-~]*\Z"), "Not a path.")), "a path that starts with /", default="/"
    )
    log_level: str = _setting(
        _choice("DEBUG", "INFO", "WARNING", "ERROR"), "DEBUG, INFO, WARNING or ERROR", default="INFO"
    )
    log_format: str = _setting(_choice("json", "text"), "json or text", default="json")

    def read_credentials(self) -> Mapping[str, str]:
        """Return the AppSecret of each AppID, as it is now; raises `InvalidCredentialsFile`."""
        return read_credentials(self.apps_file) if self.apps_file else {self.appid: self.app_secret}


def name_of(field: dataclasses.Field[Any]) -> str:
    """Return the environment variable that a field of `Settings` is read from."""
    return PREFIX + field.name.upper()


def load() -> Settings:
    """Read the settings from ``NAME``, the file in ``NAME_FILE`` or ``.env``, and refuse what can't work.

    The environment wins over ``.env`` in the current folder, and ``NAME_FILE`` over ``NAME``. Raises
    `InvalidSettings` with every problem at once; no value of a setting is in it.
    """
    values, problems = read()
    if problems:
        raise InvalidSettings(problems)
    return Settings(**values)


def read() -> tuple[dict[str, Any], list[str]]:
    """Return, for who does not give up at the first problem, the fields that can be used, and the problems."""
    environment = _environment()
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(Settings):
        try:
            values[field.name] = _read(field, environment)
        except ValueError as error:
            problems.append(f"{name_of(field)}: {error} Write {field.metadata['hint']}.")
    problems.extend(_contradictions(values))
    return values, problems


def _environment() -> Mapping[str, str | None]:
    """Return ``.env`` and the environment, where a ``NAME_FILE`` without a value hides none of ``.env``."""
    files = {f"{name_of(field)}_FILE" for field in dataclasses.fields(Settings)}
    return {
        **dotenv_values(_DOTENV),
        **{name: value for name, value in os.environ.items() if value or name not in files},
    }


def _read(field: dataclasses.Field[Any], environment: Mapping[str, str | None]) -> Any:
    if text := _text_of(name_of(field), environment):
        return field.metadata["parse"](text)
    if field.name in {"appid", "app_secret"} and _names_apps_file(environment):
        return ""
    if field.metadata["default"] is None:
        raise ValueError("Not set.")
    return field.metadata["default"]


def _text_of(name: str, environment: Mapping[str, str | None]) -> str:
    """Return what ``NAME_FILE`` leads to, stripped, or else the variable; what has no value is as good as none."""
    path = environment.get(f"{name}_FILE")
    if not path:
        return environment.get(name) or ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise ValueError(f"The file of {name}_FILE can't be read.") from None


def _names_apps_file(environment: Mapping[str, str | None]) -> bool:
    try:
        return bool(_text_of(_APPS_FILE, environment))
    except ValueError:  # its own problem, told there
        return True


def unknown_names() -> list[str]:
    """Return the ``WXLOGIN_…`` variables that no setting reads: most likely a slip of the pen."""
    known = {name_of(field) for field in dataclasses.fields(Settings)}
    names = {*dotenv_values(_DOTENV), *os.environ}
    known |= {f"{name}_FILE" for name in known}
    return sorted(name for name in names - known if name.startswith(PREFIX))


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    several, appid, secret = (values.get(name, "bad") for name in ("apps_file", "appid", "app_secret"))
    if several and (appid or secret):
        yield f"{_APPS_FILE}: Set along with WXLOGIN_APPID or WXLOGIN_APP_SECRET. Write the one or the others."
    idle, longest = values.get("session_idle_seconds"), values.get("session_max_seconds")
    if idle and longest and idle > longest:
        yield "WXLOGIN_SESSION_IDLE_SECONDS: Longer than WXLOGIN_SESSION_MAX_SECONDS. Write at most that."
    if values.get("cookie_samesite") == "None" and values.get("cookie_secure") is False:
        yield "WXLOGIN_COOKIE_SAMESITE: None needs a secure cookie. Write Lax, or WXLOGIN_COOKIE_SECURE=true."


def exposes_secret(settings: Settings) -> bool:
    """Say whether the app secret would cross a network unencrypted."""
    api = urlsplit(settings.wechat_api_url)
    return api.scheme == "http" and api.hostname not in {"127.0.0.1", "::1", "localhost"}
