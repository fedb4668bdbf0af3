"""No request, however it is written, reaches the back end with a forged identity, or protected paths without."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import APPID
from tests.drivers import MiniProgram, Sandbox
from tests.nginx.attacks import ATTACKS, FORGED, Attack
from tests.nginx.behind import Arrival, Backend, example_app
from tests.nginx.front import SITE, SUB_PATH, Client, Front, nginx, over_tls
from tests.servers import Service


@pytest.fixture(scope="module", params=[SITE, SUB_PATH], ids=["site", "sub-path"])
def site(request: pytest.FixtureRequest) -> Path:
    """The two sites that ship; the second shows the same back end to everybody, but for what is protected."""
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def front(
    site: Path,
    service: Service,
    the_backend: Backend,
    certificates: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    folder, wxlogin = tmp_path_factory.mktemp("nginx"), service.url.removeprefix("http://")
    places = {"wxlogin": wxlogin, "backend": the_backend.address}
    with nginx(folder, certificates=certificates, sites=(site,), **places) as running:
        yield running


@pytest.fixture(scope="module")
def login(site: Path) -> str:
    return "/" if site == SITE else "/wxlogin/"


@pytest.fixture(scope="module")
def user(front: Front, login: str, the_sandbox: Sandbox) -> MiniProgram:
    send = over_tls(Client(front))
    user = MiniProgram(lambda method, path, **request: send(method, login + path[1:], **request), the_sandbox)
    assert user.log_in().status == 200
    return user


def test_the_list_is_as_long_as_promised() -> None:
    assert len({attack.message for attack in ATTACKS}) == len(ATTACKS) > 60


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_stranger_reaches_nothing_that_is_protected(
    client: Client, login: str, backend: Backend, attack: Attack
) -> None:
    answers = client.ask(_written(attack, login=login, carrier=b"X-Nothing: 1"))

    statuses = {answer.status for answer in answers} or {0}
    assert statuses <= attack.statuses
    assert [arrival for arrival in backend.arrivals if _is_protected(arrival, login) or arrival.identity] == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_user_is_never_anybody_else(
    client: Client, login: str, user: MiniProgram, backend: Backend, attack: Attack
) -> None:
    client.say(_written(attack, login=login, carrier=f"sessionid: {user.stored}".encode()))

    whole = {"X-WX-OPENID": user.openid, "X-WX-APPID": APPID, "X-WX-SOURCE": "wx_client"}
    identities = [arrival.identity for arrival in backend.arrivals if _is_protected(arrival, login)]
    assert identities == [whole] * len(identities)
    assert FORGED not in repr([arrival.identity for arrival in backend.arrivals])


def test_the_list_would_find_a_hole(client: Client, user: MiniProgram, login: str, backend: Backend) -> None:
    plain = next(attack for attack in ATTACKS if attack.message.startswith(b"GET {api} HTTP/1.1"))

    client.say(_written(plain, login=login, carrier=f"sessionid: {user.stored}".encode()))

    assert [_is_protected(arrival, login) for arrival in backend.arrivals] == [True]


@pytest.mark.parametrize("path", ["/API/", "/Api/", "/api"])
def test_the_back_end_is_as_exact_about_paths_as_nginx(path: str) -> None:
    answer = example_app().test_client().get(path, headers={"X-WX-OPENID": "o"})

    assert answer.status_code in {404, 308}
    assert "openid" not in answer.get_data(as_text=True)


def _written(attack: Attack, *, login: str, carrier: bytes) -> bytes:
    parts = {b"{api}": f"{login}api/".encode(), b"{login}": login.encode(), b"{carrier}": carrier}
    message = attack.message
    for name, value in parts.items():
        message = message.replace(name, value)
    return message


def _is_protected(arrival: Arrival, login: str) -> bool:
    """Say whether a back end that reads targets in any way that one does would take it for a protected one."""
    raw = arrival.target.partition("?")[0]
    readings = {raw, unquote(raw), unquote(unquote(raw)), raw.partition("#")[0]}
    readings |= {reading.replace("\\", "/") for reading in readings}
    readings |= {"/".join(part.partition(";")[0] for part in reading.split("/")) for reading in readings}
    readings |= {posixpath.normpath(reading).replace("//", "/") + "/" for reading in readings}
    return any(reading.startswith(f"{login}api/") for reading in readings)
