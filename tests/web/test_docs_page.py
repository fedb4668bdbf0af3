"""``/docs``: a page that needs nothing from elsewhere, for those who develop with the service."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.drivers import Send, in_process
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.web.app import create_app

PARTS = ("/docs/page.css", "/docs/page.js")


@pytest.fixture
def develop(settings: Settings) -> Send:
    return in_process(create_app(Services.build(settings), with_docs=True))


def test_it_is_a_page(develop: Send) -> None:
    answer = develop("GET", "/docs")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_it_is_not_there_unless_it_is_asked_for(app: Flask) -> None:
    assert {in_process(app)("GET", path).status for path in ("/docs", *PARTS)} == {404}


def test_all_that_it_names_is_there(develop: Send) -> None:
    named = re.findall(r'(?:src|href)="(?!#|data:)([^"]+)"', develop("GET", "/docs").text)

    statuses = {name: develop("GET", f"/{name}").status for name in named}

    assert set(statuses) >= {"docs/page.css", "docs/page.js", "openapi.json"}
    assert set(statuses.values()) == {200}


@pytest.mark.parametrize("path", ["/docs", *PARTS])
def test_nothing_comes_from_elsewhere(develop: Send, path: str) -> None:
    answer = develop("GET", path)

    assert not re.search(r"https?:|[\"'(]//", answer.text)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["page.txt", "..%2fdocs.py", "%2e%2e/docs.py", "page.html/x"])
def test_no_other_file_is_shown(develop: Send, name: str) -> None:
    answer = develop("GET", f"/docs/{name}")

    assert (answer.status, answer.error["code"]) == (404, "not_found")
