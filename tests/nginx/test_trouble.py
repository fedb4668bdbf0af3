"""The service is down, slow, or answers what it should not: nobody is let through, and all are told in JSON."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import Answer, MiniProgram, Sandbox
from tests.nginx.behind import ALLOWED, Backend, StubService, stub_service
from tests.nginx.front import Client, Front, get, nginx, over_tls
from tests.servers import RedisServer, Service, gunicorn, wait_until


@pytest.fixture(scope="module")
def the_stub() -> Iterator[StubService]:
    with stub_service() as stub:
        yield stub


@pytest.fixture(scope="module")
def front(
    the_stub: StubService, the_backend: Backend, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """A front whose service is the stub."""
    folder, stub = tmp_path_factory.mktemp("nginx"), the_stub.address
    with nginx(folder, certificates=certificates, wxlogin=stub, backend=the_backend.address) as running:
        yield running


@pytest.fixture
def stub(the_stub: StubService) -> StubService:
    the_stub.answer, the_stub.ends_at_second_request = ALLOWED, False
    the_stub.requests.clear()
    return the_stub


def answered(status: str, *headers: str, body: str = "") -> bytes:
    """Return an answer of the service's."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body]).encode()


IDENTITY = ("X-WX-OPENID: oStub-0123456789", "X-WX-APPID: wx4f4bc4dec97d474b")
UNEXPECTED = {
    "200": answered("200 OK", body="{}"),
    "200 with an identity": answered("200 OK", *IDENTITY, body="{}"),
    "201 with an identity": answered("201 Created", *IDENTITY),
    "204 without an identity": answered("204 No Content"),
    "204 with an empty one": answered("204 No Content", "X-WX-OPENID: "),
    "204 with an odd one": answered("204 No Content", "X-WX-OPENID: o, p"),
    "206 with an identity": answered("206 Partial Content", *IDENTITY, body="x"),
    "301": answered("301 Moved Permanently", *IDENTITY, "Location: /"),
    "302": answered("302 Found", *IDENTITY, "Location: https://evil.example/"),
    "304": answered("304 Not Modified", *IDENTITY),
    "400": answered("400 Bad Request", *IDENTITY, body="<html>"),
    "404": answered("404 Not Found", *IDENTITY),
    "429": answered("429 Too Many Requests", *IDENTITY),
    "500": answered("500 Internal Server Error", *IDENTITY, body="<html>Traceback"),
    "503": answered("503 Service Unavailable", "Retry-After: 9", body='{"error": {"code": "store_unavailable"}}'),
    "a redirect of nginx's own kind": answered("200 OK", *IDENTITY, "X-Accel-Redirect: @backend"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
    "headers without an end": b"HTTP/1.1 204 No Content\r\nX-WX-OPENID: oStub-0123456789\r\n",
    "nothing, and closes": b"",
    "nothing at all": None,
}


def refused_for_now(answer: Answer) -> bool:
    """Say whether this is what clients are told while the service can't be asked."""
    assert (answer.status, answer.error["code"], answer.error["retryable"]) == (503, "service_unavailable", True)
    assert answer.headers.getlist("Retry-After") == ["1"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.set_cookie == ""
    return True


def test_a_204_with_an_identity_lets_through(stub: StubService, client: Client, backend: Backend) -> None:
    answer = client.get("/api/")

    assert (answer.status, answer.json["openid"]) == (200, "oStub-0123456789")


@pytest.mark.parametrize("answer", UNEXPECTED.values(), ids=UNEXPECTED.keys())
def test_any_other_answer_lets_nobody_through(
    stub: StubService, client: Client, backend: Backend, answer: bytes | None
) -> None:
    stub.answer = answer

    heard = client.get("/api/", "sessionid: x")

    assert refused_for_now(heard)
    assert backend.arrivals == []


@pytest.mark.parametrize(("status", "code"), [("401 No", "not_logged_in"), ("403 No", "wrong_app")])
def test_a_refusal_is_told_in_json_whatever_its_body(
    stub: StubService, client: Client, backend: Backend, status: str, code: str
) -> None:
    stub.answer = answered(status, *IDENTITY)

    answer = client.get("/api/")

    assert (answer.status, answer.error["code"]) == (int(status[:3]), code)
    assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
    assert backend.arrivals == []


def test_the_service_is_asked_with_what_it_needs_and_no_more(stub: StubService, client: Client) -> None:
    body = b'{"code": 1}'
    carriers = ["Cookie: sessionid=a", "sessionid: b", "Authorization: Bearer c", "X-Request-Id: d"]
    others = ["Range: bytes=0-0", "If-None-Match: *", "X-Forwarded-Uri: /", "X-WX-OPENID: o", "Content-Type: a/b"]
    request = get("/api/x?appid=wx1", *carriers, *others, f"Content-Length: {len(body)}")

    client.ask(request.replace(b"GET", b"POST", 1) + body)

    line, *headers = stub.requests[0].decode().split("\r\n")
    assert line == "GET /auth HTTP/1.1"
    assert sorted(headers) == sorted(["Host: localhost", *carriers])


def test_asking_again_and_again_keeps_the_connection(stub: StubService, client: Client) -> None:
    client.get("/api/")
    before = stub.connections

    statuses = [client.get("/api/").status for _ in range(50)]

    assert statuses == [200] * 50
    assert stub.connections == before


def test_a_kept_connection_that_was_closed_costs_nobody_anything(stub: StubService, client: Client) -> None:
    stub.ends_at_second_request = True

    statuses = [client.get("/api/").status for _ in range(5)]

    assert statuses == [200] * 5
    assert len(stub.requests) > 5


@pytest.mark.parametrize("target", ["/login", "/getOpenid?code=x"])
def test_a_login_is_sent_once_on_a_connection_of_its_own(stub: StubService, client: Client, target: str) -> None:
    client.get("/api/")
    stub.requests.clear()
    stub.answer = b""
    before = stub.connections

    answer = client.get(target)

    assert refused_for_now(answer)
    assert (len(stub.requests), stub.connections - before) == (1, 1)


@pytest.fixture
def two_services(
    the_backend: Backend, certificates: Path, tmp_path: Path
) -> Iterator[tuple[Front, list[StubService]]]:
    """A front with two services behind it, both of which take requests and close connections."""
    with stub_service() as one, stub_service() as other:
        one.answer = other.answer = b""
        both = f"{one.address}; server {other.address}"
        with nginx(tmp_path, certificates=certificates, wxlogin=both, backend=the_backend.address) as front:
            yield front, [one, other]


@pytest.mark.parametrize("target", ["/login", "/getOpenid?code=x"])
def test_a_login_that_fails_is_not_sent_to_another_service(
    two_services: tuple[Front, list[StubService]], target: str
) -> None:
    front, services = two_services

    answer = Client(front).get(target)

    assert refused_for_now(answer)
    assert sum(len(service.requests) for service in services) == 1


def test_another_service_is_asked_who_a_user_is_if_one_fails(
    two_services: tuple[Front, list[StubService]], backend: Backend
) -> None:
    front, services = two_services
    services[1].answer = ALLOWED

    statuses = [Client(front).get("/api/").status for _ in range(4)]

    assert statuses == [200] * 4
    assert services[0].requests


def test_the_service_learns_one_address_and_it_is_the_clients(stub: StubService, client: Client) -> None:
    forged = ["X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4"]

    client.get("/session", *forged)

    lines = stub.requests[0].decode().split("\r\n")
    assert [line for line in lines if "for" in line.lower()] == [f"X-Forwarded-For: {client.address}"]


def test_what_the_service_reads_is_passed_on(stub: StubService, client: Client) -> None:
    read = ["Referer: https://servicewechat.com/wx4f4bc4dec97d474b/0/", "User-Agent: phone", "Purpose: prefetch"]
    read += ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch", "sessionid: a"]

    client.get("/getOpenid?code=x", *read, "X-WX-OPENID: o", "X-Original-URI: /")

    line, *headers = stub.requests[0].decode().split("\r\n")
    assert line == "GET /getOpenid?code=x HTTP/1.1"
    assert {name.partition(":")[0] for name in headers} - {name.partition(":")[0] for name in read} == {
        *("Host", "Connection", "X-Request-Id", "X-Forwarded-For")
    }
    assert {*read} <= {*headers}


def test_a_cookie_that_the_service_sets_is_passed_on(stub: StubService, client: Client) -> None:
    stub.answer = answered("200 OK", "Set-Cookie: sessionid=a; Max-Age=5", body="{}")

    answer = client.get("/login")

    assert answer.headers.getlist("Set-Cookie") == ["sessionid=a; Max-Age=5"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504])
def test_what_the_service_says_of_a_login_is_passed_on(stub: StubService, client: Client, status: int) -> None:
    stub.answer = answered(f"{status} No", "Retry-After: 7", body='{"error": "its own"}')

    answer = client.get("/login")

    assert (answer.status, answer.error, answer.headers.getlist("Retry-After")) == (status, "its own", ["7"])


def test_while_nothing_listens_everybody_is_told_to_wait(
    the_backend: Backend, certificates: Path, tmp_path: Path, backend: Backend
) -> None:
    with stub_service() as gone:
        gone.close()
    with nginx(tmp_path, certificates=certificates, wxlogin=gone.address, backend=backend.address) as front:
        answers = [
            Client(front).get(path) for path in ("/api/?x=SECRET", "/login", "/session", "/getOpenid?code=SECRET")
        ]

    assert all(refused_for_now(answer) for answer in answers)
    assert backend.arrivals == []
    assert "SECRET" not in front.logs


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Stop the worker of a service that has one, for as long as the context lasts."""
    master = service.process.pid
    worker = int(Path(f"/proc/{master}/task/{master}/children").read_text())
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: _state_of(worker) == "T", what="the worker stands still")
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def _state_of(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def test_a_frozen_service_lets_nobody_through_and_goes_on_when_it_thaws(
    the_redis_server: RedisServer, sandbox: Sandbox, backend: Backend, certificates: Path, tmp_path: Path
) -> None:
    settings = environment(redis_url=the_redis_server.url, wechat_api_url=sandbox.url)
    (tmp_path / "nginx").mkdir()
    with gunicorn(tmp_path, settings, workers=1) as service:
        address = service.url.removeprefix("http://")
        with nginx(
            tmp_path / "nginx", certificates=certificates, wxlogin=address, backend=backend.address
        ) as front:
            user = MiniProgram(over_tls(Client(front)), sandbox)
            user.log_in()

            with frozen(service):
                during = user.get("/api/")
            after = user.get("/api/")

    assert refused_for_now(during)
    assert after.status == 200
    assert [arrival.header("X-WX-OPENID") for arrival in backend.arrivals] == [[user.openid]]
