"""What holds for the files themselves, whoever includes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.nginx.front import NEIGHBOUR, SHIPPED, SITE, SUB_PATH, checked, configure
from tests.servers import PROJECT

FILES = sorted([*SHIPPED.rglob("*.conf"), *SHIPPED.rglob("*.template")])
LOCATION = re.compile(r"^( *)location [^\n]*\{\n(.*?)^\1\}", re.MULTILINE | re.DOTALL)
CLEARING = ("wxlogin-headers.conf", "wxlogin-identity.conf", "wxlogin-service.conf", "wxlogin-login.conf")
VARIABLE = re.compile(r"\$\{(\w+)\}")


def locations() -> list[tuple[str, str]]:
    """Return what is in each location of each file, with the file's name."""
    return [(path.name, match[2]) for path in FILES for match in LOCATION.finditer(path.read_text())]


@pytest.mark.parametrize("sites", [(SITE,), (SUB_PATH,), (SITE, NEIGHBOUR)], ids=["site", "sub-path", "neighbour"])
def test_nginx_finds_nothing_to_say_about_the_configuration(
    certificates: Path, tmp_path: Path, sites: tuple[Path, ...]
) -> None:
    places = {"wxlogin": "127.0.0.1:1", "backend": "127.0.0.1:1"}
    configure(tmp_path, certificates=certificates, port=8443, sites=sites, **places)

    said = checked(tmp_path).splitlines()

    assert [line for line in said if not line.endswith(("syntax is ok", "test is successful"))] == []
    assert len(said) == 2


def test_each_location_that_proxies_drops_the_clients_headers() -> None:
    proxying = [(name, inside) for name, inside in locations() if "proxy_pass " in inside]

    assert len(proxying) > 10
    assert [
        name
        for name, inside in proxying
        if not any(snippet in inside for snippet in CLEARING) and "proxy_pass_request_headers off;" not in inside
    ] == []


@pytest.mark.parametrize("name", ["wxlogin-headers.conf", "wxlogin-service.conf"])
def test_what_drops_the_clients_headers_does(name: str) -> None:
    text = (SHIPPED / "snippets" / name).read_text()

    assert "\nproxy_pass_request_headers off;" in text
    assert not re.search(r"http_x_wx|add_x_forwarded_for", text.replace("not $proxy_add_x_forwarded_for", ""))


def test_each_location_with_headers_or_errors_of_its_own_repeats_what_it_would_lose() -> None:
    adding = [inside for _, inside in locations() if "add_header" in inside or "error_page" in inside]

    assert adding == []


def test_a_location_leads_from_the_protected_one_to_one_with_an_identity() -> None:
    for path in (SITE, SUB_PATH):
        text = path.read_text()
        [target] = re.findall(r"wxlogin-protect.conf;\n *try_files /nothing (@\w+);", text)
        assert re.search(rf"location {target} {{\n *include snippets/wxlogin-identity.conf;", text)


def test_the_sub_path_has_the_routes_of_the_top() -> None:
    routes = (SHIPPED / "snippets/wxlogin-routes.conf").read_text()
    top = re.findall(r"location (= )?/(.*) \{\n *include snippets/(.*);", routes)

    below = re.findall(r"location (= )?/wxlogin/(.*) \{\n *include snippets/(.*);", SUB_PATH.read_text())

    assert top
    assert below == [*top, ("", "api/", "wxlogin-protect.conf")]


def test_the_files_name_the_variables_that_they_need() -> None:
    for template in (SHIPPED / "templates/00-wxlogin.conf.template", SITE):
        text = template.read_text()
        assert {*VARIABLE.findall(text)} == {*re.findall(r"^#   (NGINX_\w+)", text, re.MULTILINE)}
    assert {*VARIABLE.findall(SUB_PATH.read_text())} == {*VARIABLE.findall(SITE.read_text())}
    assert [path for path in (SHIPPED / "snippets").iterdir() if VARIABLE.search(path.read_text())] == []


def test_the_manual_explains_each_file_and_variable() -> None:
    manual = (PROJECT / "docs/nginx.md").read_text()

    names = [path.name.removesuffix(".template") for path in FILES]
    names += [*VARIABLE.findall("".join(path.read_text() for path in FILES))]
    assert [name for name in names if name not in manual] == []
