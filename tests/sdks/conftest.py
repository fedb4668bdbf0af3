"""Back ends with an SDK each, whose way to api.weixin.qq.com ends at the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import APPID
from tests.drivers import Sandbox
from tests.sdks.backend import SDKS, Backend, Sdk, Start, running
from tests.sdks.wechat_host import wechat_host

SECRET = "sandbox-secret"


@pytest.fixture(scope="package")
def way_to_wechat(the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment in which WeChat's host is the sandbox."""
    address = urlsplit(the_sandbox.url)
    assert address.hostname
    assert address.port
    with wechat_host(tmp_path_factory.mktemp("certificates"), (address.hostname, address.port)) as environment:
        yield environment


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where drivers are that have to be built."""
    return tmp_path_factory.mktemp("drivers")


@pytest.fixture(params=SDKS, ids=str)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each of the SDKs: tests with it hold for all of them."""
    chosen: Sdk = request.param
    return chosen


@pytest.fixture
def start(
    sdk: Sdk, sandbox: Sandbox, way_to_wechat: Mapping[str, str], built: Path, tmp_path: Path
) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start_one(
            *, secret: str = SECRET, tokens: str = "token", environment: Mapping[str, str] = way_to_wechat
        ) -> Backend:
            command = [*sdk.command(built), APPID, secret, tokens]
            return stack.enter_context(running(command, folder=tmp_path, environment=environment))

        yield start_one


@pytest.fixture
def backend(start: Start) -> Backend:
    return start()
