"""Who may use the sandbox through a developer's browser."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.sandbox.test_control import error_of

PATHS = [
    ("GET", "/simulator/configuration"),
    ("GET", "/simulator/page.mjs"),
    ("GET", "/simulator/messages"),
    ("POST", "/simulator/messages"),
    ("POST", "/simulator/request"),
    ("POST", "/simulator/end-session"),
    ("POST", "/simulator/wx/login"),
    ("POST", "/_sandbox/codes"),
    ("POST", "/_sandbox/faults"),
    ("GET", "/_sandbox/calls"),
    ("DELETE", "/_sandbox"),
]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:8002"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_is_refused(app: Flask, method: str, path: str, headers: dict[str, str]) -> None:
    answer = app.test_client().open(path, method=method, headers={"Host": "localhost:8001", **headers})

    assert answer.status_code == 403
    assert error_of(answer)["code"] == "forbidden"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8001"}],
)
def test_programs_and_the_own_page_are_let_in(app: Flask, headers: dict[str, str]) -> None:
    answer = app.test_client().post("/_sandbox/codes", headers={"Host": "localhost:8001", **headers})

    assert answer.status_code == 200


def test_a_link_elsewhere_may_lead_to_the_page(app: Flask) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert app.test_client().get("/simulator", headers=headers).status_code == 200


for_both_sides = pytest.mark.parametrize("path", ["/simulator/configuration", "/_sandbox/calls"])


@for_both_sides
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "evillocal.net", ""],
)
def test_nothing_is_there_under_a_name_that_somebody_may_own(app: Flask, path: str, host: str) -> None:
    answer = app.test_client().get(path, headers={"Host": host})

    assert answer.status_code == 403
    assert "localhost" in error_of(answer)["message"]


@for_both_sides
@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001", "192.168.1.7:8001", "sandbox:8001"),
        *("host.docker.internal:8001", "sandbox.default.svc", "sandbox.default.svc.cluster.local", "wechat.test"),
    ],
)
def test_it_is_there_under_addresses_and_names_in_the_own_network(app: Flask, path: str, host: str) -> None:
    assert app.test_client().get(path, headers={"Host": host}).status_code == 200


def test_wechats_side_is_there_under_any_name(app: Flask) -> None:
    answer = app.test_client().get("/cgi-bin/token", headers={"Host": "api.weixin.qq.com"})

    assert answer.get_json(force=True)["errcode"] == 41002


def test_the_address_alone_says_what_it_is_and_where_to_look(app: Flask) -> None:
    answer = app.test_client().get("/")

    assert answer.content_type.startswith("text/plain")
    assert all(
        part in answer.text for part in ("api.weixin.qq.com", "/_sandbox/codes", "/simulator", "docs/sandbox.md")
    )
