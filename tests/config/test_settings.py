"""Settings: read once, checked as a whole, and refused with what to write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import APPID, SECRET_KEY
from wxlogin.config import settings
from wxlogin.config.settings import InvalidSettings

NEEDED = {
    "WXLOGIN_APPID": APPID,
    "WXLOGIN_APP_SECRET": "canary-app-secret",
    "WXLOGIN_SECRET_KEYS": SECRET_KEY,
}


@pytest.fixture(autouse=True)
def only_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WXLOGIN_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def problems() -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        settings.load()
    assert str(caught.value).startswith("the settings are not usable:")
    return caught.value.problems


def test_three_settings_are_enough() -> None:
    chosen = settings.load()

    assert (chosen.appid, chosen.app_secret, chosen.secret_keys) == (APPID, "canary-app-secret", (SECRET_KEY,))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        settings.load().appid = "wx0000000000000000"  # type: ignore[misc]


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_REDIS_URL", "redis://:canary-password@localhost/0")

    shown = repr(settings.load())

    assert "canary" not in shown
    assert SECRET_KEY not in shown


def test_every_problem_is_told_at_once_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WXLOGIN_APPID")
    monkeypatch.setenv("WXLOGIN_SECRET_KEYS", "canary-too-short")
    monkeypatch.setenv("WXLOGIN_SESSION_IDLE_SECONDS", "a week, canary")

    told = problems()

    assert told == [
        "WXLOGIN_APPID: Not set. Write the mini-program's AppID, wx and 16 hexadecimal digits, "
        "from mp.weixin.qq.com; or, for several mini-programs, WXLOGIN_APPS_FILE instead.",
        "WXLOGIN_SECRET_KEYS: A key is too short or too regular to be secret. Write what `wxlogin keys new` "
        "prints; several are separated by commas, the newest first.",
        "WXLOGIN_SESSION_IDLE_SECONDS: Not a valid integer. Write whole seconds, 1 or more.",
    ]


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_needed_has_to_be_there(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)

    assert [problem.partition(":")[0] for problem in problems()] == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WXLOGIN_APPID", ""),
        ("WXLOGIN_APPID", f" {APPID}"),
        ("WXLOGIN_APPID", f"{APPID}\n"),
        ("WXLOGIN_APPID", "wx4F4BC4DEC97D474B"),
        ("WXLOGIN_APPID", "touristappid"),
        ("WXLOGIN_APP_SECRET", ""),
        ("WXLOGIN_APP_SECRET", "short"),
        ("WXLOGIN_APP_SECRET", "with a blank"),
        ("WXLOGIN_SECRET_KEYS", ","),
        ("WXLOGIN_SECRET_KEYS", "a" * 64),
        ("WXLOGIN_SECRET_KEYS", f"{SECRET_KEY},short"),
        ("WXLOGIN_REDIS_URL", "localhost:6379"),
        ("WXLOGIN_REDIS_URL", "http://localhost"),
        ("WXLOGIN_REDIS_URL", "redis://"),
        ("WXLOGIN_REDIS_URL", "redis://localhost:port/0"),
        ("WXLOGIN_REDIS_URL", "redis://localhost/zero"),
        ("WXLOGIN_REDIS_URL", "redis://[::1/0"),
        ("WXLOGIN_WECHAT_API_URL", "api.weixin.qq.com"),
        ("WXLOGIN_WECHAT_API_URL", "ftp://api.weixin.qq.com"),
        ("WXLOGIN_WECHAT_API_URL", "https://[::1"),
        ("WXLOGIN_WECHAT_API_URL", "https://api.weixin.qq.com:port"),
        ("WXLOGIN_REDIS_CA_PATH", "/nowhere/canary.pem"),
        ("WXLOGIN_ADMIN_TOKEN", "short"),
        ("WXLOGIN_WECHAT_API_URL", "https://user:canary@api.weixin.qq.com"),
        ("WXLOGIN_WECHAT_API_URL", "https://api.weixin.qq.com/?a=b"),
        ("WXLOGIN_WECHAT_API_URL", "https://api.weixin.qq.com/#a"),
        ("WXLOGIN_SESSION_IDLE_SECONDS", "0"),
        ("WXLOGIN_SESSION_MAX_SECONDS", "-1"),
        ("WXLOGIN_SESSION_MAX_SECONDS", "1.5"),
        ("WXLOGIN_REDIS_READ_TIMEOUT_SECONDS", "0"),
        ("WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS", "61"),
        ("WXLOGIN_WECHAT_TOTAL_TIMEOUT_SECONDS", "0.9"),
        ("WXLOGIN_WECHAT_READ_TIMEOUT_SECONDS", "nan"),
        ("WXLOGIN_EXPOSE_OPENID", "perhaps"),
        ("WXLOGIN_COOKIE_SAMESITE", "lax"),
        ("WXLOGIN_COOKIE_PATH", "api"),
        ("WXLOGIN_COOKIE_PATH", "/; Domain=evil.test"),
        ("WXLOGIN_LOGIN_LIMIT_PER_ADDRESS", "many"),
        ("WXLOGIN_LOGIN_LIMIT_PER_USER", "30"),
        ("WXLOGIN_LOGIN_LIMIT_PER_USER", "30/fortnight"),
        ("WXLOGIN_USER_DATA_LIMIT_PER_ADDRESS", "-1/minute"),
        ("WXLOGIN_USER_DATA_LIMIT_PER_USER", "0/minute"),
        ("WXLOGIN_PHONE_NUMBER_LIMIT_PER_ADDRESS", "60/minute;canary"),
        ("WXLOGIN_PHONE_NUMBER_LIMIT_PER_USER", "1/99 years"),
        ("WXLOGIN_TRUSTED_PROXIES", "-1"),
        ("WXLOGIN_LOG_LEVEL", "LOUD"),
        ("WXLOGIN_LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_without_quoting_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    (problem,) = problems()

    assert problem.startswith(f"{name}: ")
    assert "canary" not in problem


# All that environs and marshmallow took for a flag or a number, which read these settings before.
FLAGS = {
    True: ["t", "T", "true", "True", "TRUE", "on", "On", "ON", "y", "Y", "yes", "Yes", "YES", "1"],
    False: ["f", "F", "false", "False", "FALSE", "off", "Off", "OFF", "n", "N", "no", "No", "NO", "0"],
}
WHOLE_NUMBERS = {"7": 7, "1_000": 1000, " 7 ": 7, "7\n": 7, "+7": 7, "007": 7, "\N{ARABIC-INDIC DIGIT SEVEN}": 7}
NUMBERS = {"7": 7, "0.5": 0.5, ".5": 0.5, "5.": 5, "1e1": 10, " 7 ": 7, "1_0": 10, "+7": 7}


@pytest.mark.parametrize(("text", "flag"), [(text, flag) for flag, texts in FLAGS.items() for text in texts])
def test_a_flag_has_many_spellings(monkeypatch: pytest.MonkeyPatch, text: str, flag: bool) -> None:
    monkeypatch.setenv("WXLOGIN_EXPOSE_OPENID", text)

    assert settings.load().expose_openid is flag


@pytest.mark.parametrize("text", ["2", "tRUE", "on ", " 1", "-1", "enabled", "None"])
def test_what_is_no_flag_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WXLOGIN_EXPOSE_OPENID", text)

    assert problems() == ["WXLOGIN_EXPOSE_OPENID: Not a valid boolean. Write true or false."]


@pytest.mark.parametrize(("text", "number"), WHOLE_NUMBERS.items())
def test_a_whole_number_is_what_python_takes_for_one(
    monkeypatch: pytest.MonkeyPatch, text: str, number: int
) -> None:
    monkeypatch.setenv("WXLOGIN_THREADS", text)

    assert settings.load().threads == number


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_a_number_is_what_python_takes_for_one(monkeypatch: pytest.MonkeyPatch, text: str, number: float) -> None:
    monkeypatch.setenv("WXLOGIN_WECHAT_READ_TIMEOUT_SECONDS", text)

    assert settings.load().wechat_read_timeout_seconds == number


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "0x10", "1,5", "5s"])
def test_what_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WXLOGIN_WECHAT_READ_TIMEOUT_SECONDS", text)

    assert len(problems()) == 1


@pytest.mark.parametrize("text", ["5.0", "1e3", "0x10", "1__0", "_1"])
def test_what_is_no_whole_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WXLOGIN_THREADS", text)

    assert problems() == ["WXLOGIN_THREADS: Not a valid integer. Write a whole number, 1 or more."]


def test_a_file_that_can_be_read_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("WXLOGIN_REDIS_CA_PATH", str(tmp_path / "ca.pem"))

    assert settings.load().redis_ca_path == str(tmp_path / "ca.pem")


def test_a_variable_without_a_value_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_LOG_LEVEL", "")
    monkeypatch.setenv("WXLOGIN_SESSION_IDLE_SECONDS", "")

    assert (settings.load().log_level, settings.load().session_idle_seconds) == ("INFO", 604800)


def test_an_idle_clock_that_outlasts_the_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_SESSION_MAX_SECONDS", "60")

    assert problems()[0].startswith("WXLOGIN_SESSION_IDLE_SECONDS: Longer than")


def test_a_cookie_for_all_sites_has_to_be_secure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_COOKIE_SAMESITE", "None")
    monkeypatch.setenv("WXLOGIN_COOKIE_SECURE", "false")

    assert problems()[0].startswith("WXLOGIN_COOKIE_SAMESITE: None needs a secure cookie")


@pytest.mark.parametrize(
    "told",
    [
        {"WXLOGIN_SESSION_MAX_SECONDS": "soon"},
        {"WXLOGIN_COOKIE_SAMESITE": "None", "WXLOGIN_COOKIE_SECURE": "maybe"},
    ],
)
def test_a_bad_value_is_told_once_and_not_as_a_contradiction_too(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    assert len(problems()) == 1


def test_several_keys_are_separated_by_commas_or_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_SECRET_KEYS", f"{SECRET_KEY}, {SECRET_KEY[::-1]}\n{SECRET_KEY}x")

    assert settings.load().secret_keys == (SECRET_KEY, SECRET_KEY[::-1], f"{SECRET_KEY}x")


@pytest.mark.parametrize("name", NEEDED)
def test_a_setting_can_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(f"{NEEDED[name]}\n")
    monkeypatch.delenv(name)
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))

    assert settings.load().app_secret == "canary-app-secret"


def test_a_file_that_cannot_be_read_is_one_of_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WXLOGIN_APP_SECRET")
    monkeypatch.setenv("WXLOGIN_APP_SECRET_FILE", "/nowhere")
    monkeypatch.setenv("WXLOGIN_LOG_LEVEL", "LOUD")

    assert [problem.partition(":")[0] for problem in problems()] == ["WXLOGIN_APP_SECRET", "WXLOGIN_LOG_LEVEL"]


def test_a_file_with_other_bytes_than_text_is_one_of_the_problems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("WXLOGIN_APP_SECRET_FILE", str(tmp_path / "secret"))

    assert problems()[0].startswith("WXLOGIN_APP_SECRET: ")


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WXLOGIN_APP_SECRET=from-the-file\nWXLOGIN_LOG_LEVEL=DEBUG\n")

    chosen = settings.load()

    assert (chosen.app_secret, chosen.log_level) == ("canary-app-secret", "DEBUG")


def test_a_file_that_has_no_name_in_the_environment_is_that_of_the_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "level").write_text("DEBUG")
    (tmp_path / ".env").write_text(f"WXLOGIN_LOG_LEVEL_FILE={tmp_path / 'level'}\n")
    monkeypatch.setenv("WXLOGIN_LOG_LEVEL_FILE", "")

    assert settings.load().log_level == "DEBUG"


def test_names_that_no_setting_has_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WXLOGIN_APP_SECRET_FILE", "/run/secrets/x")
    monkeypatch.setenv("WXLOGIN_SESION_IDLE_SECONDS", "60")
    (tmp_path / ".env").write_text("WXLOGIN_COOKY_PATH=/\n")

    assert settings.unknown_names() == ["WXLOGIN_COOKY_PATH", "WXLOGIN_SESION_IDLE_SECONDS"]


# several mini-programs

APPS = {APPID: "canary-secret-of-one", "wx0000000000000002": "canary-secret-of-two"}


@pytest.fixture
def apps_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a service of several mini-programs, which has nothing else to say which they are."""
    path = tmp_path / "apps.json"
    path.write_text(json.dumps(APPS))
    monkeypatch.setenv("WXLOGIN_APPS_FILE", str(path))
    monkeypatch.delenv("WXLOGIN_APPID")
    monkeypatch.delenv("WXLOGIN_APP_SECRET")
    return path


def test_several_mini_programs_are_in_a_file(apps_file: Path) -> None:
    assert settings.load().read_credentials() == APPS


def test_one_mini_program_needs_no_file() -> None:
    assert settings.load().read_credentials() == {APPID: "canary-app-secret"}


@pytest.mark.parametrize("name", ["WXLOGIN_APPID", "WXLOGIN_APP_SECRET"])
@pytest.mark.parametrize("content", [json.dumps(APPS), "{}"])
def test_a_file_of_mini_programs_and_one_of_its_own_are_refused(
    monkeypatch: pytest.MonkeyPatch, apps_file: Path, name: str, content: str
) -> None:
    apps_file.write_text(content)
    monkeypatch.setenv(name, NEEDED[name])

    assert problems()[-1] == (
        "WXLOGIN_APPS_FILE: Set along with WXLOGIN_APPID or WXLOGIN_APP_SECRET. Write the one or the others."
    )


@pytest.mark.usefixtures("apps_file")
def test_with_a_file_of_mini_programs_an_empty_appid_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_APPID", "")

    assert settings.load().read_credentials() == APPS


def test_the_path_of_the_file_of_mini_programs_can_be_in_a_file_like_any_setting(
    monkeypatch: pytest.MonkeyPatch, apps_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "path").write_text(f"{apps_file}\n")
    monkeypatch.delenv("WXLOGIN_APPS_FILE")
    monkeypatch.setenv("WXLOGIN_APPS_FILE_FILE", str(tmp_path / "path"))

    assert settings.load().read_credentials() == APPS


@pytest.mark.parametrize("name", ["WXLOGIN_APPS_FILE", "WXLOGIN_APPS_FILE_FILE"])
def test_a_file_of_mini_programs_that_is_not_there_is_the_only_problem(
    monkeypatch: pytest.MonkeyPatch, apps_file: Path, name: str
) -> None:
    monkeypatch.delenv("WXLOGIN_APPS_FILE")
    monkeypatch.setenv(name, "/nowhere/canary")

    (problem,) = problems()

    assert problem.startswith("WXLOGIN_APPS_FILE: ")


@pytest.mark.usefixtures("apps_file")
def test_the_names_for_a_file_of_mini_programs_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXLOGIN_APPS_FILE_FILE", "/run/secrets/x")
    monkeypatch.setenv("WXLOGIN_APPS", "{}")

    assert settings.unknown_names() == ["WXLOGIN_APPS"]


def test_everything_that_is_wrong_with_a_file_of_mini_programs_is_told_at_once_and_nothing_quoted(
    apps_file: Path,
) -> None:
    apps_file.write_text(f'{{"canary-1": "canary-secret", "{APPID}": "canary", "{APPID}": 1}}')

    (problem,) = problems()

    assert problem == (
        "WXLOGIN_APPS_FILE: Entry 1: the name is not an AppID. Entry 2: the value is not an AppSecret. "
        "Entry 3: the name was there before. Entry 3: the value is not an AppSecret. Write the path of a JSON "
        'file with each mini-program\'s AppID and AppSecret, {"wx…": "…", "wx…": "…"}.'
    )
