"""What the documentation says about settings, routes, commands, errors and the like is so, in both languages."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest

from tests.conftest import APPID, SECRET_KEY
from tests.servers import PROJECT
from wxlogin.cli import main as cli
from wxlogin.config import settings as settings_module
from wxlogin.config.settings import Settings
from wxlogin.observability.metrics import Metrics
from wxlogin.sandbox.app import create_sandbox
from wxlogin.sandbox.state import SandboxState
from wxlogin.services import Services
from wxlogin.web import errors
from wxlogin.web.app import create_app
from wxlogin.wechat.api import errors as wechat

ROW = re.compile(r"^\| `(WXLOGIN_\w+)` \| (.*?) \|", re.MULTILINE)

PAGES = sorted(
    str(page.relative_to(PROJECT))
    for folder in (
        ".",
        "docs",
        "docs/decisions",
        "tests/recorded",
        "tests/sdks",
        "examples/*",
        "bench",
        "miniprogram",
    )
    for page in PROJECT.glob(f"{folder}/*.md")
)
TWINS = [
    (f"{page}.md", f"{page}.zh-CN.md")
    for page in ("README", "docs/errors", "docs/architecture", "miniprogram/README")
]

# Said in the documentation, and no setting: Kubernetes sets it for a Service of this name.
NO_SETTINGS = {"WXLOGIN_PORT"}

_SAID_BY = {
    "service": {"service"},
    "nginx": {"nginx"},
    "both": {"service", "nginx"},
    "本服务": {"service"},
    "两者": {"service", "nginx"},
}


@dataclasses.dataclass(frozen=True)
class Documented:
    """A row of the table of errors."""

    statuses: set[int]
    retryable: set[bool]
    retry_after: set[int]
    said_by: set[str]
    errcodes: set[int]


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(PROJECT / "tests")
    for name, value in (("APPID", APPID), ("APP_SECRET", "x" * 8), ("SECRET_KEYS", SECRET_KEY)):
        monkeypatch.setenv(f"WXLOGIN_{name}", value)
    return settings_module.load()


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(Services.build(dataclasses.replace(settings, admin_token="x" * 32)))


def test_the_table_of_settings_has_each_setting_with_its_default(defaults: Settings) -> None:
    table = dict(ROW.findall(_text("docs/settings.md")))

    assert table == {
        settings_module.name_of(field): _shown(field.name, defaults) for field in dataclasses.fields(Settings)
    }


def test_the_example_environment_has_no_other_names_than_settings() -> None:
    names = set(re.findall(r"^#? ?(WXLOGIN_\w+)=", _text(".env.example"), re.MULTILINE))

    assert names <= _settings()
    assert {"WXLOGIN_APPID", "WXLOGIN_APP_SECRET", "WXLOGIN_SECRET_KEYS"} <= names


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_is_one(page: str) -> None:
    names = {name.removesuffix("_FILE") for name in re.findall(r"\bWXLOGIN_[A-Z_]*[A-Z]\b", _text(page))}

    assert names - {name.removesuffix("_FILE") for name in _settings()} - NO_SETTINGS == set()


def test_the_limits_of_the_manual_are_the_defaults(defaults: Settings) -> None:
    rows = re.findall(r"\| (\d+) \| (\d+) \| `WXLOGIN_(\w+)_PER_ADDRESS`", _text("docs/operations.md"))

    assert {name.lower(): (f"{address}/minute", f"{user}/minute") for address, user, name in rows} == {
        name: (getattr(defaults, f"{name}_per_address"), getattr(defaults, f"{name}_per_user"))
        for name in ("login_limit", "user_data_limit", "phone_number_limit")
    }


@pytest.mark.parametrize("page", TWINS[0])
def test_the_readme_names_every_route(app: Flask, page: str) -> None:
    missing = [rule.rule for rule in app.url_map.iter_rules() if f"{rule.rule}`" not in _text(page)]

    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_route_that_a_page_names_is_there(app: Flask, page: str) -> None:
    sandbox = create_sandbox(SandboxState())
    rules = [rule for each in (app, sandbox) for rule in each.url_map.iter_rules()]
    known = {(method, rule.rule) for rule in rules for method in rule.methods or ()}
    named = set(re.findall(r"`(GET|HEAD|POST|PUT|DELETE) (/[^`?\s]*)", _text(page)))

    assert named - known == set()


def test_the_pages_are_found() -> None:
    assert {"README.md", "SECURITY.md", "docs/errors.zh-CN.md", "examples/backend/README.md"} <= set(PAGES)
    assert all(Path(PROJECT, page).is_file() for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page))

    assert [link for link in links if not _leads_somewhere(link, page)] == []


def test_make_help_names_the_commands_of_the_readme() -> None:
    named = set(re.findall(r"make ([a-z]+)", _text("README.md")))

    assert named
    assert [
        target for target in named if not re.search(rf"^{target}:.*## ", _text("Makefile"), re.MULTILINE)
    ] == []


@pytest.mark.usefixtures("signals_as_they_were")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_is_there(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"(?:`|\$ |bin/)wxlogin ([a-z]+)", _text(page)))

    cli.main(["--help"])

    assert named - set(re.findall(r"^  ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_nginx_that_a_page_names_is_there(page: str) -> None:
    named = set(re.findall(r"\b(?:00-)?wxlogin(?:-[a-z]+)?\.conf\b", _text(page)))
    there = {path.name.removesuffix(".template") for path in (PROJECT / "deploy/nginx").rglob("*.conf*")}

    assert named - there == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_a_page_names_is_counted(page: str) -> None:
    named = re.findall(r"\bwxlogin_\w+_(?:total|seconds|bucket|info|open|enabled|connected)\b", _text(page))
    told = Metrics().exposition("")[0].decode()

    assert [name for name in named if f" {name.removesuffix('_bucket')} " not in told] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_points_to_is_there(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", _text(page)))
    there = {
        name
        for path in (PROJECT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }

    assert named - there == set()


def test_every_line_of_the_log_that_the_manual_explains_is_logged() -> None:
    logged = set(_logged())

    assert [row for row in _explained_lines() if not any(_is_about(row, line) for line in logged)] == []


def test_every_line_of_the_log_is_explained() -> None:
    rows = list(_explained_lines())

    assert [line for line in _logged() if not any(_is_about(row, line) for row in rows)] == []


@pytest.mark.parametrize("page", TWINS[1])
def test_the_table_of_errors_has_each_code_of_the_service(page: str) -> None:
    documented = _documented_errors(page)

    for code, rows in _rows_by_code().items():
        row = documented[code]
        assert row.statuses == {each.status for each in rows}, code
        assert row.retryable == {each.retryable for each in rows}, code
        assert row.errcodes == _errcodes_by_code().get(code, set()), code
        assert "service" in row.said_by, code
    assert {code for code, row in documented.items() if "service" in row.said_by} == set(_rows_by_code())


@pytest.mark.parametrize("page", TWINS[1])
def test_the_table_of_errors_says_how_long_to_wait(page: str) -> None:
    documented = _documented_errors(page)

    told = {code: {each.retry_after_seconds for each in rows} - {None} for code, rows in _rows_by_code().items()}
    waits = [wechat.api_error(errcode, None) for errcode in documented["wechat_rate_limited"].errcodes]
    told["wechat_rate_limited"] = {
        each.retry_after_seconds for each in waits if isinstance(each, wechat.RateLimited)
    }
    del told["rate_limited"]
    assert {code: documented[code].retry_after for code in told} == told


@pytest.mark.parametrize("page", TWINS[1])
def test_the_table_of_errors_has_each_code_of_nginx(page: str) -> None:
    documented = _documented_errors(page)

    for code, (statuses, is_retryable) in _errors_of_nginx().items():
        row = documented[code]
        assert statuses <= row.statuses, code
        assert row.retryable >= {is_retryable}, code
        assert "nginx" in row.said_by, code
    assert {code for code, row in documented.items() if "nginx" in row.said_by} == set(_errors_of_nginx())


@pytest.mark.parametrize("page", TWINS[1])
def test_each_error_has_its_causes_and_cures(page: str) -> None:
    headings = re.findall(r"^### `(\w+)`$", _text(page), re.MULTILINE)

    assert sorted(headings) == sorted(_documented_errors(page))


@pytest.mark.parametrize("page", TWINS[1])
def test_each_errcode_of_wechats_is_explained(page: str) -> None:
    rows = re.findall(r"^\| (-?\d+) \| .*? \| `(\w+)` \|", _text(page), re.MULTILINE)

    assert {int(errcode): code for errcode, code in rows} == {
        errcode: code for code, errcodes in _errcodes_by_code().items() for errcode in errcodes
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_code_of_an_error_that_a_page_names_is_one(page: str) -> None:
    known = set(_rows_by_code()) | set(_errors_of_nginx())
    named = set(re.findall(rf"\b(?:{'|'.join(map(str, map(int, HTTPStatus)))}) `([a-z]+_[a-z_]+)`", _text(page)))

    assert named - known == set()


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_the_languages_have_the_same_headings(english: str, chinese: str) -> None:
    assert _levels(chinese) == _levels(english)


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_the_languages_have_the_same_code(english: str, chinese: str) -> None:
    assert _code_of(chinese) == _code_of(english)


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_the_languages_have_the_same_links(english: str, chinese: str) -> None:
    assert _targets(chinese) == _targets(english)


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_the_languages_have_the_same_rows_in_their_tables(english: str, chinese: str) -> None:
    assert _first_cells(chinese) == _first_cells(english)


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_the_languages_name_the_same_things(english: str, chinese: str) -> None:
    assert _named_things(chinese) == _named_things(english)


def _text(page: str) -> str:
    return (PROJECT / page).read_text()


def _prose(page: str) -> str:
    """Return the page without its blocks of code, in which a # begins a comment."""
    return re.sub(r"^ *```.*?^ *```$", "", _text(page), flags=re.MULTILINE | re.DOTALL)


def _settings() -> set[str]:
    return {settings_module.name_of(field) for field in dataclasses.fields(Settings)}


def _shown(name: str, defaults: Settings) -> str:
    if name in {"appid", "app_secret", "secret_keys"}:
        return "needed"
    value = getattr(defaults, name)
    if value == "":
        return "nothing"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _leads_somewhere(link: str, page: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (PROJECT / page).parent / path if path else PROJECT / page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(str(target.resolve().relative_to(PROJECT.resolve())))


def _anchors(page: str) -> set[str]:
    """Return what GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _explained_lines() -> Iterator[tuple[str, str]]:
    """Yield the lines, with … for what varies, and the levels of the manual's table."""
    table = _text("docs/operations.md").partition("| Line | Level | Means |\n")[2].partition("\n\n")[0]
    yield from re.findall(r"^\| `(.+?)` \| ([A-Z]+) \|", table, re.MULTILINE)


def _logged() -> Iterator[tuple[str, str]]:
    """Yield the lines, with … for what varies, and the levels of all that the code logs; events are apart."""
    for path in (*(PROJECT / "wxlogin").rglob("*.py"), PROJECT / "gunicorn.conf.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _is_log_of(call.func):
                text = ast.literal_eval(call.args[0])
                yield re.sub(r"%\w", "…", text), call.func.attr.upper()


def _is_log_of(function: ast.Attribute) -> bool:
    logger = function.value
    name = logger.id if isinstance(logger, ast.Name) else logger.attr if isinstance(logger, ast.Attribute) else ""
    return name in {"logger", "log"} and function.attr in {"info", "warning", "error"}


def _is_about(row: tuple[str, str], line: tuple[str, str]) -> bool:
    (explained, level), (logged, its_level) = row, line
    pattern = ".+".join(re.escape(part) for part in explained.split("…"))
    return level == its_level and bool(re.fullmatch(pattern, logged))


def _documented_errors(page: str) -> dict[str, Documented]:
    rows = re.findall(
        r"^\| \[`(\w+)`\]\(#\1\) \| (.*?) \| (.*?) \| ?(.*?) \| (.*?) \| ?(.*?) ?\|$", _text(page), re.MULTILINE
    )
    return {
        code: Documented(
            statuses={int(each) for each in re.findall(r"\d+", statuses)},
            retryable={each == "true" for each in re.findall("true|false", retryable)},
            retry_after={int(each) for each in re.findall(r"\d+", retry_after)},
            said_by=_SAID_BY[said_by],
            errcodes={int(each) for each in re.findall(r"-?\d+", errcodes)},
        )
        for code, statuses, retryable, retry_after, said_by, errcodes in rows
    }


def _rows_by_code() -> dict[str, list[errors.ErrorSpec]]:
    """Return how the service answers, in all the ways that one code may come about."""
    rows = [*errors._SPECS.values(), *errors._HTTP_SPECS.values(), errors.spec_of(BadRequest)]
    by_code = sorted(rows, key=lambda row: row.code)
    return {code: list(group) for code, group in itertools.groupby(by_code, key=lambda row: row.code)}


def _errcodes_by_code() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for errcode, kind in wechat._KINDS.items():
        found.setdefault(errors.spec_of(kind).code, set()).add(errcode)
    return found


def _errors_of_nginx() -> dict[str, tuple[set[int], bool]]:
    """Return the statuses of each of nginx's codes, as far as they are told, and whether it is retryable."""
    text = _text("deploy/nginx/templates/00-wxlogin.conf.template")
    codes = _map_of(text, "$wxlogin_error_code")
    retryable = dict(_map_of(text, "$wxlogin_error_retryable"))
    found: dict[str, tuple[set[int], bool]] = {}
    for condition, code in codes:
        statuses = found.setdefault(code, (set(), retryable.get(code) == "true"))[0]
        statuses.update(int(status) for status in re.findall(r"^\"~\^(\d{3}) ", condition))
    return found


def _map_of(text: str, variable: str) -> list[tuple[str, str]]:
    lines = re.search(rf"^map .* {re.escape(variable)} {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    assert lines
    return re.findall(r"^ +(\".*?\"|\w+) (\w+);$", lines[1], re.MULTILINE)


def _levels(page: str) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", _prose(page), re.MULTILINE)]


def _code_of(page: str) -> list[list[str]]:
    """Return the blocks of code by line, without comments and without what a diagram says to people."""
    blocks = re.findall(r"^ *(```.*?)^ *```$", _text(page), re.MULTILINE | re.DOTALL)
    return [
        [_bare(line, is_diagram=block.startswith("```mermaid")) for line in block.splitlines()] for block in blocks
    ]


def _bare(line: str, *, is_diagram: bool) -> str:
    people = r"(?:: | as ).*" if is_diagram else r"  +(?:#|//) .*"
    return re.sub(people, "", line)


def _targets(page: str) -> list[str]:
    """Return where the links lead, in whichever language, in order within each paragraph."""
    paragraphs = _prose(page).split("\n\n")
    links = [sorted(re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", paragraph)) for paragraph in paragraphs]
    return [link.replace(".zh-CN.", ".") for found in links for link in found]


def _first_cells(page: str) -> list[list[str]]:
    """Return what is in code in the first cell of each row; the rest is words."""
    cells = re.findall(r"^\| (.*?) \|", _text(page), re.MULTILINE)
    return [re.findall(r"`.*?`", cell) for cell in cells]


def _named_things(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", _prose(page)))
