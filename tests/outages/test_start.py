"""The service starts whatever Redis does, says what is wrong with it, and serves as soon as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, Send, in_process
from tests.outages.conftest import IMPATIENT, careful
from tests.redis_topologies import Cluster, SentinelGroup, cluster, running
from tests.servers import RedisServer, wait_until
from wxlogin.services import Services
from wxlogin.web.app import from_environment

Start = Callable[[str], Send]
Appearing = tuple[str, AbstractContextManager[None]]


@pytest.fixture
def start(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logging_as_it_was: None
) -> Iterator[Start]:
    """Start a service as gunicorn does."""
    monkeypatch.chdir(tmp_path)
    gateways = []

    def from_environment_with(redis_url: str) -> Send:
        for name, value in (environment(redis_url=redis_url, wechat_api_url=sandbox.url) | IMPATIENT).items():
            monkeypatch.setenv(name, value)
        app = from_environment()
        Services.of(app).health.warn_of_eviction()
        gateways.append(Services.of(app).sessions._redis)
        return careful(in_process(app))

    yield from_environment_with
    for gateway in gateways:
        if gateway._client:
            gateway._client.close()


def one_server(folder: Path) -> Appearing:
    server = RedisServer(folder)

    @contextmanager
    def appear() -> Iterator[None]:
        server.start()
        try:
            yield
        finally:
            server.stop()

    return server.url, appear()


def under_sentinels(folder: Path) -> Appearing:
    group = SentinelGroup(folder, down_after_ms=1000)

    @contextmanager
    def appear() -> Iterator[None]:
        with running(*group.nodes):
            group.replicate()
            with running(*group.sentinel_nodes):
                yield

    return group.url, appear()


def in_a_cluster(folder: Path) -> Appearing:
    formed = Cluster(folder, node_timeout_ms=1000, options=())

    @contextmanager
    def appear() -> Iterator[None]:
        with running(*formed.nodes):
            formed.form()
            yield

    return formed.url, appear()


@pytest.mark.parametrize("topology", [one_server, under_sentinels, in_a_cluster])
def test_a_service_that_starts_before_redis_is_ready_once_redis_is(
    start: Start, sandbox: Sandbox, tmp_path: Path, topology: Callable[[Path], Appearing]
) -> None:
    url, appearing = topology(tmp_path)
    send = start(url)
    assert [send("GET", path).status for path in ("/healthz", "/readyz")] == [200, 503]

    with appearing:
        wait_until(lambda: send("GET", "/readyz").status == 200, what="the service is ready")

        user = MiniProgram(send, sandbox)
        assert [user.log_in().status, user.get("/auth").status] == [200, 204]


def test_a_cluster_that_has_not_formed_yet_is_an_outage(start: Start, tmp_path: Path) -> None:
    nodes = Cluster(tmp_path, node_timeout_ms=1000, options=())
    with running(*nodes.nodes):
        send = start(nodes.url)

        assert [send("GET", path).status for path in ("/healthz", "/readyz")] == [200, 503]


# what happens to sessions when memory is short


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as formed:
        yield formed


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "noeviction"])
def test_a_redis_that_would_throw_sessions_away_is_a_warning(
    start: Start, server: RedisServer, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    with server.client() as operator:
        operator.config_set("maxmemory-policy", policy)

    send = start(server.url)

    assert (f"maxmemory-policy {policy}" in capsys.readouterr().err) == (policy != "noeviction")
    assert send("GET", "/readyz").status == 200


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_single_master_of_a_cluster_that_would_is_one_too(
    start: Start, formed: Cluster, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    master = formed._masters()[number]
    master.call("CONFIG SET", "maxmemory-policy", "allkeys-lru")

    send = start(formed.url)

    master.call("CONFIG SET", "maxmemory-policy", "noeviction")
    assert capsys.readouterr().err.count("maxmemory-policy allkeys-lru") == 1
    assert send("GET", "/readyz").status == 200


def test_a_cluster_that_would_not_is_none(
    start: Start, formed: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start(formed.url)

    assert "maxmemory-policy" not in capsys.readouterr().err


def test_a_redis_that_may_not_be_asked_is_no_trouble(
    start: Start, server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.client() as operator:
        operator.config_set("maxmemory-policy", "allkeys-lru")
        operator.execute_command("ACL SETUSER default -info -config")

    send = start(server.url)

    assert "WARNING" not in capsys.readouterr().err
    assert send("GET", "/readyz").status == 200
