"""The service and what it protects on a path of a site that has other pages, and who its clients are to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, Send
from tests.nginx.behind import Backend
from tests.nginx.front import SUB_PATH, Client, Front, nginx, over_tls
from tests.servers import RedisServer, gunicorn


@pytest.fixture(scope="module")
def front(
    the_redis_server: RedisServer,
    the_sandbox: Sandbox,
    the_backend: Backend,
    certificates: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    """A front with a service that lets an address log in twice, and whose workers end after forty requests."""
    folder = tmp_path_factory.mktemp("sub-path")
    (folder / "nginx").mkdir()
    settings = environment(redis_url=the_redis_server.url, wechat_api_url=the_sandbox.url)
    settings |= {"WXLOGIN_COOKIE_PATH": "/wxlogin/", "WXLOGIN_TRUSTED_PROXIES": "1"}
    settings["WXLOGIN_LOGIN_LIMIT_PER_ADDRESS"] = "2/minute"
    with gunicorn(folder, settings, options=("--max-requests", "40")) as service:
        address, backend = service.url.removeprefix("http://"), the_backend.address
        sites = (SUB_PATH,)
        with nginx(
            folder / "nginx", certificates=certificates, wxlogin=address, backend=backend, sites=sites
        ) as running:
            yield running


def below(client: Client) -> Send:
    """Send requests to the service, where it is."""
    send = over_tls(client)
    return lambda method, path, **request: send(method, f"/wxlogin{path}", **request)


@pytest.fixture
def user(client: Client, sandbox: Sandbox) -> MiniProgram:
    return MiniProgram(below(client), sandbox)


def test_a_user_logs_in_is_let_in_and_logs_out(user: MiniProgram, backend: Backend) -> None:
    statuses = [user.log_in().status, user.whoami().status, user.get("/api/").status]

    out = user.log_out().status

    assert statuses == [200, 200, 200]
    assert (out, user.whoami().status, user.get("/api/").status) == (204, 401, 401)
    assert [arrival.header("X-WX-OPENID") for arrival in backend.arrivals] == [[user.openid]]


def test_the_old_client_logs_in(user: MiniProgram) -> None:
    assert user.log_in_the_old_way().status == 200


def test_the_cookie_is_for_the_path_alone(user: MiniProgram) -> None:
    assert "Path=/wxlogin/" in user.log_in().set_cookie.split("; ")


def test_a_session_is_ended_by_its_handle(user: MiniProgram) -> None:
    user.log_in()
    [session] = [each for each in user.get("/sessions").json["sessions"] if each["is_current"]]

    answer = user.send("DELETE", f"/sessions/{session['handle']}", headers={"sessionid": user.stored})

    assert answer.status == 204
    assert user.whoami().status == 401


@pytest.mark.parametrize(
    "path", ["/user-data/decrypt", "/user-data/verify", "/phone-number", "/session-key/check"]
)
def test_the_other_routes_are_there_too(client: Client, path: str) -> None:
    answer = below(client)("POST", path, json={})

    assert answer.status in {400, 401}


def test_the_rest_of_the_site_is_open_and_is_told_of_nobody(
    user: MiniProgram, client: Client, backend: Backend
) -> None:
    user.log_in()

    client.get("/news", f"sessionid: {user.stored}", "X-WX-OPENID: oForged")

    assert [(arrival.target, arrival.identity) for arrival in backend.arrivals] == [("/news", {})]


def test_the_service_counts_logins_by_the_clients_real_address(front: Front) -> None:
    forging = Client(front)
    headers = [{"X-Forwarded-For": f"10.0.0.{number}"} for number in range(4)]

    statuses = [
        below(forging)("POST", "/login", json={"code": "no code"}, headers=each).status for each in headers
    ]

    assert statuses == [400, 400, 429, 429]
    assert below(Client(front))("POST", "/login", json={"code": "no code"}).status == 400


@pytest.mark.alone  # a new worker's first call of Redis has 0.5 s, and so has each one that it takes over
def test_workers_that_end_under_the_load_cost_nobody_anything(
    front: Front, user: MiniProgram, backend: Backend
) -> None:
    user.log_in()

    statuses = {user.get("/api/").status for _ in range(200)}

    assert statuses == {200}
