"""A whole site: nginx in front, the service under gunicorn and the example back end behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox
from tests.nginx.behind import Backend, example_backend
from tests.nginx.front import NEIGHBOUR, SITE, Client, Front, nginx, over_tls
from tests.redis_topologies import write_certificates
from tests.servers import RedisServer, Service, gunicorn


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="package")
def service(
    the_redis_server: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = environment(redis_url=the_redis_server.url, wechat_api_url=the_sandbox.url)
    options = ("--log-level", "debug")
    with gunicorn(
        tmp_path_factory.mktemp("service"), {**settings, "WXLOGIN_TRUSTED_PROXIES": "1"}, options=options
    ) as running:
        yield running


@pytest.fixture(scope="package")
def the_backend() -> Iterator[Backend]:
    with example_backend() as backend:
        yield backend


@pytest.fixture
def backend(the_backend: Backend) -> Backend:
    the_backend.arrivals.clear()
    return the_backend


@pytest.fixture(scope="module")
def front(
    service: Service, the_backend: Backend, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    places = {"wxlogin": service.url.removeprefix("http://"), "backend": the_backend.address}
    with nginx(folder, certificates=certificates, sites=(SITE, NEIGHBOUR), **places) as running:
        yield running


@pytest.fixture
def client(front: Front) -> Client:
    return Client(front)


@pytest.fixture
def mini_program(client: Client, sandbox: Sandbox) -> MiniProgram:
    return MiniProgram(over_tls(client), sandbox)
