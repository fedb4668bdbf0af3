"""docs/sandbox.md, in both languages, beside the code."""

import re

import pytest

from tests.servers import PROJECT
from wxlogin.sandbox.control import (
    CODE_FIELDS,
    FAULT_FIELDS,
    LIMIT_FIELDS,
    PHONE_CODE_FIELDS,
    PREFIX,
    ROUTES,
    TOKEN_FIELDS,
    USER_DATA_FIELDS,
)
from wxlogin.sandbox.endpoints.table import ENDPOINTS
from wxlogin.sandbox.user_data import KINDS

PAGES = ["sandbox.md", "sandbox.zh-CN.md"]
FIELDS = {
    "/codes": CODE_FIELDS,
    "/user-data": USER_DATA_FIELDS,
    "/phone-codes": PHONE_CODE_FIELDS,
    "/tokens": TOKEN_FIELDS,
}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    return (PROJECT / "docs" / str(request.param)).read_text(encoding="utf-8")


def rows(page: str) -> list[list[str]]:
    """Return the cells of all tables."""
    lines = [line.strip("|") for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def first_words(page: str) -> set[str]:
    """Return what stands in quotes in the first cell of rows."""
    return {match[1] for row in rows(page) if (match := re.match("`([^`]+)`", row[0]))}


def test_every_endpoint_is_told_with_its_method(page: str) -> None:
    told = {row[0].strip("`"): row[1] for row in rows(page) if row[0].startswith(("`/sns", "`/wxa", "`/cgi-bin"))}

    assert told.keys() == ENDPOINTS.keys()
    for path, endpoint in ENDPOINTS.items():
        assert not endpoint.method or told[path].startswith(f"`{endpoint.method}`")


def test_every_request_is_told_and_no_other(page: str) -> None:
    told = {word for word in first_words(page) if word.startswith(("GET ", "POST ", "DELETE "))}

    assert told == {f"{method} {PREFIX}{path}" for method, path, _ in ROUTES}


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_of_a_request_is_told(page: str, path: str) -> None:
    (row,) = [row for row in rows(page) if row[0] == f"`POST {PREFIX}{path}`"]

    assert set(re.findall("`([A-Za-z_]+)(?::[^`]*)?`", row[2])) == FIELDS[path].keys()


def test_every_effect_of_a_fault_and_every_field_of_a_limit_is_told(page: str) -> None:
    limits = page.partition(f"{PREFIX}/limits` `{{path, calls}}`")[2].partition("\n\n")[0]

    assert first_words(page) >= FAULT_FIELDS.keys() - {"path", "times"}
    assert all(f"`{name}`" in limits for name in LIMIT_FIELDS.keys() - {"path"})


def test_every_kind_of_user_data_is_told(page: str) -> None:
    assert first_words(page) >= KINDS.keys()
