"""What the operator decides: read once from the environment, checked as a whole, never changed afterwards."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values
from environs import EnvError, EnvValidationError, FileAwareEnv, ValidationError
from limits import parse_many
from marshmallow.validate import OneOf, Range, Regexp

from wxlogin.storage.url import parse_url
from wxlogin.wechat.credentials_file import APPID_PATTERN, SECRET_PATTERN, InvalidCredentialsFile, read_credentials

PREFIX = "WXLOGIN_"
_APPS_FILE = f"{PREFIX}APPS_FILE"
_MAX_LIMIT_SECONDS = 366 * 86400

Read = Callable[[FileAwareEnv, str], Any]


class InvalidSettings(Exception):
    """Raised if the service can't start with these settings; ``problems`` has a line for each of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the settings are not usable:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


class _Environment(FileAwareEnv):
    """The environment, in which a variable without a value is as good as none."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        value = super()._get_value(env_key, default)
        return default if value == "" else value


def _setting(read: Read, hint: str, *, secret: bool = False) -> Any:
    """Declare a field that is read with ``read``; ``hint`` says what to write."""
    return dataclasses.field(repr=not secret, metadata={"read": read, "hint": hint})


def _text(validate: Callable[[str], Any], **default: str) -> Read:
    return lambda env, name: env.str(name, validate=validate, **default)


def _text_of_one_app(pattern: re.Pattern[str], *, error: str) -> Read:
    """Read what has to be there unless several mini-programs are in a file."""
    needed, optional = (_text(Regexp(pattern, error=error), **default) for default in ({}, {"default": ""}))
    return lambda env, name: (optional if _names_apps_file(env) else needed)(env, name)


def _names_apps_file(env: FileAwareEnv) -> bool:
    try:
        return bool(env.str(_APPS_FILE, ""))
    except ValueError:  # its own problem, told there
        return True


def _choice(*values: str) -> Read:
    return lambda env, name: env.str(name, values[0], validate=OneOf(values))


def _flag(*, default: bool) -> Read:
    return lambda env, name: env.bool(name, default)


def _number(default: int, *, minimum: int, maximum: int | None = None) -> Read:
    return lambda env, name: env.int(name, default, validate=Range(min=minimum, max=maximum))


def _seconds(default: float, *, minimum: float = 0.01) -> Read:
    return lambda env, name: env.float(name, default, validate=Range(min=minimum, max=60))


def _limit(default: str) -> Any:
    hint = "how many per second, minute, hour or day, as 120/minute; several separated by ';'; none for no limit"
    return _setting(_text(_is_limit, default=default), hint)


def _is_limit(value: str) -> None:
    try:
        limits = [] if value == "none" else parse_many(value)
    except ValueError:
        raise ValidationError("Not a limit.") from None
    if any(limit.amount < 1 or limit.get_expiry() > _MAX_LIMIT_SECONDS for limit in limits):
        raise ValidationError("Not a limit: it is less than one, or for longer than a year.")


def _split_url(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises on a bad one
    except ValueError:
        raise ValidationError("Not a valid URL.") from None
    return parts


def _is_redis_url(value: str) -> None:
    try:
        parse_url(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _is_file(value: str) -> None:
    if value and not os.access(value, os.R_OK):
        raise ValidationError("Not a file that can be read.")


def _is_apps_file(value: str) -> None:
    try:
        read_credentials(value)
    except InvalidCredentialsFile as error:
        raise ValidationError(error.problems) from None


def _is_api_url(value: str) -> None:
    parts = _split_url(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError("Not an HTTP address.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValidationError("Nothing but scheme, host, port and path belongs here.")


def _secret_keys(env: FileAwareEnv, name: str) -> tuple[str, ...]:
    keys = tuple(re.findall(r"[^,\s]+", env.str(name)))
    if not keys:
        raise EnvError("No key in it.")
    if any(len(key) < 32 or len(set(key)) < 8 for key in keys):
        raise EnvError("A key is too short or too regular to be secret.")
    return keys


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The service's settings; `docs/settings.md` has the same table for people, and a test compares them."""

    appid: str = _setting(
        _text_of_one_app(APPID_PATTERN, error="Not an AppID."),
        "the mini-program's AppID, wx and 16 hexadecimal digits, from mp.weixin.qq.com; "
        "or, for several mini-programs, WXLOGIN_APPS_FILE instead",
    )
    app_secret: str = _setting(
        _text_of_one_app(SECRET_PATTERN, error="Not an AppSecret."),
        "the mini-program's AppSecret, from mp.weixin.qq.com; it stays on the server; "
        "or, for several mini-programs, WXLOGIN_APPS_FILE instead",
        secret=True,
    )
    apps_file: str = _setting(
        _text(_is_apps_file, default=""),
        'the path of a JSON file with each mini-program\'s AppID and AppSecret, {"wx…": "…", "wx…": "…"}',
    )
    secret_keys: tuple[str, ...] = _setting(
        _secret_keys,
        "what `wxlogin keys new` prints; several are separated by commas, the newest first",
        secret=True,
    )
    redis_url: str = _setting(
        _text(_is_redis_url, default="redis://127.0.0.1:6379/0"),
        "redis://[user:password@]host:port/number, rediss:// for TLS, unix:///path, "
        "redis+sentinel://host:port,host:port/master/number, redis+cluster://host:port,host:port, "
        "or memory:// for development",
        secret=True,
    )
    redis_ca_path: str = _setting(_text(_is_file, default=""), "the path of a PEM file with the CA of Redis")
    redis_cert_path: str = _setting(_text(_is_file, default=""), "the path of a PEM file with our certificate")
    redis_key_path: str = _setting(
        _text(_is_file, default=""), "the path of a PEM file with our certificate's key"
    )
    redis_max_connections: int = _setting(_number(32, minimum=1), "a whole number, 1 or more")
    redis_connect_timeout_seconds: float = _setting(_seconds(0.2), "seconds, 0.01 to 60")
    redis_read_timeout_seconds: float = _setting(_seconds(0.2), "seconds, 0.01 to 60")
    wechat_api_url: str = _setting(
        _text(_is_api_url, default="https://api.weixin.qq.com"),
        "https://api.weixin.qq.com, or the sandbox's address",
    )
    wechat_connect_timeout_seconds: float = _setting(_seconds(1.0), "seconds, 0.01 to 60")
    wechat_read_timeout_seconds: float = _setting(_seconds(3.0), "seconds, 0.01 to 60")
    wechat_total_timeout_seconds: float = _setting(_seconds(4.0, minimum=1), "seconds, 1 to 60")
    access_token_api: str = _setting(_choice("stable_token", "token"), "stable_token or token")
    session_idle_seconds: int = _setting(_number(7 * 86400, minimum=1), "whole seconds, 1 or more")
    session_max_seconds: int = _setting(_number(30 * 86400, minimum=1), "whole seconds, 1 or more")
    max_sessions_per_user: int = _setting(_number(20, minimum=0), "a whole number, 0 for no limit")
    login_limit_per_address: str = _limit("90/minute")
    login_limit_per_user: str = _limit("30/minute")
    user_data_limit_per_address: str = _limit("600/minute")
    user_data_limit_per_user: str = _limit("60/minute")
    phone_number_limit_per_address: str = _limit("60/minute")
    phone_number_limit_per_user: str = _limit("10/minute")
    trusted_proxies: int = _setting(_number(0, minimum=0), "a whole number, 0 for none")
    admin_token: str = _setting(
        _text(Regexp(r"([!-~]{8,256})?\Z", error="Too short, or with a blank."), default=""),
        "what `wxlogin keys new` prints; or nothing, which switches the admin routes off",
        secret=True,
    )
    login_replay_seconds: int = _setting(
        _number(10, minimum=0, maximum=300), "whole seconds, 0 to 300; 0 switches it off"
    )
    near_cache_seconds: float = _setting(_seconds(2.0, minimum=0), "seconds, 0 to 60; 0 switches it off")
    threads: int = _setting(_number(8, minimum=1), "a whole number, 1 or more")
    watermark_max_age_seconds: int = _setting(_number(0, minimum=0), "whole seconds, 0 for any age")
    confirm_phone_numbers: bool = _setting(_flag(default=False), "true or false")
    expose_openid: bool = _setting(_flag(default=False), "true or false")
    session_id_in_body: bool = _setting(_flag(default=False), "true or false")
    cookie_secure: bool = _setting(_flag(default=True), "true or false")
    cookie_httponly: bool = _setting(_flag(default=True), "true or false")
    cookie_samesite: str = _setting(_choice("Lax", "Strict", "None"), "Lax, Strict or None")
    cookie_path: str = _setting(
        _text(Regexp(r"/[!#-+\--:<-~]*\Z", error="Not a path."), default="/"),
        "a path that starts with /",
    )
    log_level: str = _setting(_choice("INFO", "DEBUG", "WARNING", "ERROR"), "DEBUG, INFO, WARNING or ERROR")
    log_format: str = _setting(_choice("json", "text"), "json or text")

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
    env = _Environment(strip_whitespace=True)
    env.read_env(".env", recurse=False)
    values, problems = _read_all(env)
    problems.extend(_contradictions(values))
    return values, problems


def unknown_names() -> list[str]:
    """Return the ``WXLOGIN_…`` variables that no setting reads: most likely a slip of the pen."""
    known = {name_of(field) for field in dataclasses.fields(Settings)}
    names = {*dotenv_values(".env"), *os.environ}
    known |= {f"{name}_FILE" for name in known}
    return sorted(name for name in names - known if name.startswith(PREFIX))


def _read_all(env: FileAwareEnv) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(Settings):
        try:
            values[field.name] = field.metadata["read"](env, name_of(field))
        except ValueError as error:  # environs' own, and the one it raises for a file it can't read
            problems.append(f"{name_of(field)}: {_reason(error)} Write {field.metadata['hint']}.")
    return values, problems


def _reason(error: ValueError) -> str:
    if isinstance(error, EnvValidationError):
        return " ".join(str(message) for message in error.error_messages)
    if str(error).startswith("Environment variable"):
        return "Not set."
    return str(error)


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    several, appid, secret = (values.get(name, "bad") for name in ("apps_file", "appid", "app_secret"))
    if several and (appid or secret):
        yield f"{_APPS_FILE}: Set along with WXLOGIN_APPID or WXLOGIN_APP_SECRET. Write the one or the others."
    idle, longest = values.get("session_idle_seconds"), values.get("session_max_seconds")
    if idle and longest and idle > longest:
        yield "WXLOGIN_SESSION_IDLE_SECONDS: Longer than WXLOGIN_SESSION_MAX_SECONDS. Write at most that."
    if values.get("cookie_samesite") == "None" and not values.get("cookie_secure"):
        yield "WXLOGIN_COOKIE_SAMESITE: None needs a secure cookie. Write Lax, or WXLOGIN_COOKIE_SECURE=true."


def exposes_secret(settings: Settings) -> bool:
    """Say whether the app secret would cross a network unencrypted."""
    api = urlsplit(settings.wechat_api_url)
    return api.scheme == "http" and api.hostname not in {"127.0.0.1", "::1", "localhost"}
