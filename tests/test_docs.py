"""What the documentation says about settings, routes and commands is so."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.conftest import APPID, SECRET_KEY
from tests.servers import PROJECT
from wxlogin import settings as settings_module
from wxlogin.app import create_app
from wxlogin.services import Services
from wxlogin.settings import Settings

ROW = re.compile(r"^\| `(WXLOGIN_\w+)` \| (.*?) \|", re.MULTILINE)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(PROJECT / "tests")
    for name, value in (("APPID", APPID), ("APP_SECRET", "x" * 8), ("SECRET_KEYS", SECRET_KEY)):
        monkeypatch.setenv(f"WXLOGIN_{name}", value)
    return settings_module.load()


def test_the_table_of_settings_has_each_setting_with_its_default(defaults: Settings) -> None:
    table = dict(ROW.findall((PROJECT / "docs/settings.md").read_text()))

    assert table == {
        settings_module.name_of(field): _shown(field.name, defaults) for field in dataclasses.fields(Settings)
    }


def test_the_example_environment_has_no_other_names_than_settings() -> None:
    names = set(re.findall(r"^#? ?(WXLOGIN_\w+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE))

    assert names <= {settings_module.name_of(field) for field in dataclasses.fields(Settings)}
    assert {"WXLOGIN_APPID", "WXLOGIN_APP_SECRET", "WXLOGIN_SECRET_KEYS"} <= names


def test_the_readme_names_every_route(settings: Settings) -> None:
    app = create_app(Services.build(dataclasses.replace(settings, admin_token="x" * 32)))
    readme = (PROJECT / "README.md").read_text()

    missing = [rule.rule for rule in app.url_map.iter_rules() if f"{rule.rule}`" not in readme]

    assert missing == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (PROJECT / "docs").glob("*.md"))]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (PROJECT / page).read_text())

    assert [link for link in links if not (PROJECT / page).parent.joinpath(link).exists()] == []


def test_make_help_names_the_commands_of_the_readme() -> None:
    makefile = (PROJECT / "Makefile").read_text()

    named = set(re.findall(r"make ([a-z]+)", (PROJECT / "README.md").read_text()))
    assert named
    assert [target for target in named if not re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)] == []


def _shown(name: str, defaults: Settings) -> str:
    if name in {"appid", "app_secret", "secret_keys"}:
        return "needed"
    value = getattr(defaults, name)
    if value == "":
        return "nothing"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
