"""Checks that are answered without a thread: by gunicorn, over connections that are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import (
    PATIENT,
    TIMEOUT_SECONDS,
    RedisServer,
    Service,
    free_port,
    gunicorn,
    monitored,
    redis_server,
    wait_until,
)
from wxlogin.config.settings import Settings
from wxlogin.services import Services
from wxlogin.sessions.record import SessionRecord, User
from wxlogin.sessions.session_id import LENGTH
from wxlogin.storage.gateway import StoreUnavailable

THREADS = 4


@pytest.fixture(params=["0", "60"], ids=["redis", "memory"])
def seconds(request: pytest.FixtureRequest) -> str:
    """How long what is known of a session is good."""
    return str(request.param)


@pytest.fixture
def told(store: RedisServer, the_sandbox: Sandbox) -> dict[str, str]:
    """What a service is told that asks Redis each time."""
    told = environment(redis_url=store.url, wechat_api_url=the_sandbox.url)
    return {**told, "WXLOGIN_THREADS": str(THREADS)}


@pytest.fixture
def service(told: dict[str, str], seconds: str, tmp_path: Path) -> Iterator[Service]:
    settings = {**told, "WXLOGIN_NEAR_CACHE_SECONDS": seconds}
    with gunicorn(tmp_path, settings, workers=1, options=PATIENT) as running:
        yield running


@pytest.fixture
def proxy(store: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy(store.port) as running:
        yield running


@pytest.fixture
def proxied(told: dict[str, str], proxy: FaultProxy, tmp_path: Path) -> Iterator[Service]:
    with gunicorn(tmp_path, {**told, "WXLOGIN_REDIS_URL": proxy.url}, workers=1) as running:
        yield running


class Client:
    """A logged-in user's connection that is kept, as nginx keeps its own."""

    def __init__(self, service: Service, sandbox: Sandbox) -> None:
        self.user = MiniProgram(over_http(service.url), sandbox)
        self.user.log_in()
        self.url = service.url
        self.session = requests.Session()
        self.session.headers["Cookie"] = self.user.stored.partition(";")[0]

    def check(self, path: str = "/auth", **how: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=TIMEOUT_SECONDS, headers=how)

    def connect(self) -> socket.socket:
        """Return another connection, on which one check was answered."""
        address = urlsplit(self.url)
        made = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=TIMEOUT_SECONDS)
        made.sendall(self.request())
        assert made.recv(4096).startswith(b"HTTP/1.1 204")
        return made

    def request(self, path: str = "/auth") -> bytes:
        cookie = str(self.session.headers["Cookie"])
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode()


@pytest.fixture
def client(service: Service, sandbox: Sandbox) -> Iterator[Client]:
    client = Client(service, sandbox)
    client.check()
    yield client
    client.session.close()


@contextlib.contextmanager
def all_threads_busy(service: Service) -> Iterator[None]:
    """Have each thread read a request that doesn't end."""
    address = urlsplit(service.url)
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            slow = stack.enter_context(socket.create_connection((str(address.hostname), int(address.port or 0))))
            slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises(requests.Timeout):
            requests.get(f"{service.url}/healthz", timeout=0.5)
        yield


def test_a_check_needs_no_thread(client: Client, service: Service) -> None:
    """With all of them busy, who has a connection is answered."""
    wait_until(lambda: is_answered_without_a_thread(client, service), what="it is")

    with all_threads_busy(service):
        answers = [client.check().status_code for _ in range(20)]
        named = client.check("/auth?appid=wx4f4bc4dec97d474b").status_code

    assert answers == [204] * 20
    assert named == 204


def is_answered_without_a_thread(client: Client, service: Service) -> bool:
    client.check()
    with all_threads_busy(service), contextlib.suppress(requests.Timeout):
        return client.session.get(f"{client.url}/auth", timeout=1).status_code == 204
    return False


def test_the_answer_is_the_one_that_a_thread_gives(client: Client, service: Service) -> None:
    wait_until(lambda: is_answered_without_a_thread(client, service), what="it is")
    client.check()

    at_once = client.check(**{"X-Request-Id": "a-request"})
    by_a_thread = client.check(**{"X-Request-Id": "a-request", "Connection": "close"})

    told = [
        {name: value for name, value in each.headers.items() if name not in {"Date", "Connection"}}
        for each in (at_once, by_a_thread)
    ]
    assert told[0] == told[1]
    assert [each.headers["Connection"] for each in (at_once, by_a_thread)] == ["keep-alive", "close"]
    assert [each.status_code for each in (at_once, by_a_thread)] == [204, 204]


def test_who_is_refused_gets_the_error_of_the_service(client: Client) -> None:
    wrong_app = client.check("/auth?appid=wx0000000000000000")
    client.user.log_out()

    refused = client.check()
    client.session.headers["Cookie"] = "other=1"
    nobody = client.check()

    assert (wrong_app.status_code, wrong_app.json()["error"]["code"]) == (403, "wrong_app")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "not_logged_in")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "not_logged_in")


def test_every_check_is_counted_once(client: Client, service: Service, seconds: str) -> None:
    wait_until(lambda: is_looked_up_without_a_thread(client), what="there is a connection for that")
    wait_until(lambda: is_answered_without_a_thread(client, service), what="it is")
    granted, asked = 'auth_decisions_total{decision="granted"}', 'redis_calls_total{outcome="ok"}'
    before = {line: value_of(client, line) for line in (granted, asked)}

    for _ in range(50):
        client.check()

    assert value_of(client, granted) == before[granted] + 50
    assert value_of(client, asked) == before[asked] + (50 if seconds == "0" else 0)


def is_looked_up_without_a_thread(client: Client) -> bool:
    """Ask about a session that no memory has, and say whether the worker is connected to look such ones up."""
    assert client.check(sessionid="A" * LENGTH).status_code == 401
    return value_of(client, "session_pipelines_connected") == 1


def value_of(client: Client, line: str) -> float:
    lines = requests.get(f"{client.url}/metrics", timeout=TIMEOUT_SECONDS).text.splitlines()
    (found,) = [each for each in lines if each.startswith(f"wxlogin_{line} ")]
    return float(found.rpartition(" ")[2])


def test_what_is_found_without_a_thread_is_remembered(
    told: dict[str, str], sandbox: Sandbox, store: RedisServer, tmp_path: Path
) -> None:
    settings = {**told, "WXLOGIN_NEAR_CACHE_SECONDS": "60"}
    with gunicorn(tmp_path, settings, workers=1, options=PATIENT) as service:
        client = Client(service, sandbox)
        wait_until(lambda: is_answered_without_a_thread(client, service), what="it is")
        client.user.log_in()
        client.session.headers["Cookie"] = client.user.stored.partition(";")[0]
        with all_threads_busy(service), store.client() as redis, monitored(redis) as commands:
            answers = [client.check().status_code for _ in range(5)]

    assert answers == [204] * 5
    assert [each for each in commands if each.startswith("HGET wxlogin:user:")] == commands[:1]


def test_a_service_whose_redis_became_a_replica_asks_elsewhere(settings: Settings, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, server.client() as redis:
        services = Services.build(dataclasses.replace(settings, redis_url=server.url))
        lookups = services.verifier.pipeline
        assert lookups
        record = SessionRecord(user=User("wx4f4bc4dec97d474b", "o"), session_key="", created_at=1, last_seen_at=1)
        services.sessions.create(record)
        before = lookups._failover_count()
        redis.replicaof("127.0.0.1", str(free_port()))

        with pytest.raises(StoreUnavailable):
            services.sessions.create(record)

        assert (before, lookups._failover_count()) == (0, 1)


def test_several_requests_in_one_piece_are_all_answered(client: Client) -> None:
    with client.connect() as raw:
        raw.sendall(client.request() * 3)

        assert _received(raw, count=3).count(b"HTTP/1.1 204") == 3


def test_a_request_in_pieces_is_answered(client: Client) -> None:
    with client.connect() as raw:
        for byte in client.request():
            raw.sendall(bytes([byte]))

        assert raw.recv(4096).startswith(b"HTTP/1.1 204")


def test_what_is_no_request_is_refused_as_ever(client: Client) -> None:
    with client.connect() as raw:
        raw.sendall(b"GET /auth HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")

        assert raw.recv(4096).startswith(b"HTTP/1.1 400")


def test_clients_that_go_away_are_no_trouble(client: Client) -> None:
    for _ in range(10):
        with client.connect() as raw:
            raw.sendall(client.request())
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset

    with client.connect():
        pass

    assert client.check().status_code == 204


def test_who_goes_away_while_redis_is_asked_is_no_trouble(
    proxied: Service, proxy: FaultProxy, sandbox: Sandbox
) -> None:
    client = Client(proxied, sandbox)
    wait_until(lambda: is_answered_without_a_thread(client, proxied), what="Redis is asked without a thread")
    gone = client.connect()
    proxy.delay(0.02)
    gone.sendall(client.request())
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()

    assert client.check().status_code == 204


def test_with_redis_silent_the_error_is_that_of_the_service_and_then_all_is_well(
    proxied: Service, proxy: FaultProxy, sandbox: Sandbox
) -> None:
    client = Client(proxied, sandbox)
    wait_until(lambda: is_answered_without_a_thread(client, proxied), what="Redis is asked without a thread")

    proxy.blackhole()
    silent = client.check()
    proxy.pass_on()

    assert (silent.status_code, silent.json()["error"]["code"]) == (503, "store_unavailable")
    wait_until(lambda: client.check().status_code == 204, what="it answers again")
    wait_until(lambda: is_answered_without_a_thread(client, proxied), what="Redis is asked without a thread")


def test_gunicorns_access_log_has_every_check_if_it_is_wanted(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told, workers=1, options=("--access-logfile", "-")) as service:
        client = Client(service, sandbox)
        for _ in range(5):
            client.check()

        wait_until(lambda: service.log.count('"GET /auth" 204') == 5, what="all are there")


def test_a_worker_that_is_to_end_after_some_requests_ends(
    told: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, told, workers=1, options=("--max-requests", "20")) as service:
        client = Client(service, sandbox)

        answers = [client.check().status_code for _ in range(50)]

        assert answers == [204] * 50
        assert service.log.count("Autorestarting worker") >= 2


def test_another_class_of_workers_serves_as_well(told: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> None:
    with gunicorn(tmp_path, told, workers=1, options=("--worker-class", "gthread")) as service:
        assert Client(service, sandbox).check().status_code == 204


def _received(raw: socket.socket, *, count: int) -> bytes:
    """Return what comes until there are so many answers."""
    received = b""
    while received.count(b"\r\n\r\n") < count:
        chunk = raw.recv(65536)
        assert chunk, received
        received += chunk
    return received
