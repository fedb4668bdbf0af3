"""The way to the sandbox is a way to nowhere else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
import requests

from tests.drivers import Sandbox
from tests.servers import PROJECT, clean_environment


@pytest.mark.parametrize("address", ["https://127.0.0.1", "https://api.weixin.qq.com:8443"])
def test_no_other_host_and_port_can_be_reached(way_to_wechat: Mapping[str, str], address: str) -> None:
    proxies = {"https": way_to_wechat["HTTPS_PROXY"]}

    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get(address, proxies=proxies, timeout=20)


def test_the_way_is_there_for_other_sdks_too(the_sandbox: Sandbox) -> None:
    command = [sys.executable, "-m", "tests.sdks.wechat_host", urlsplit(the_sandbox.url).netloc]
    with subprocess.Popen(
        command, cwd=PROJECT, env=clean_environment({}), stdout=subprocess.PIPE, text=True
    ) as standing_in:
        assert standing_in.stdout
        lines = [standing_in.stdout.readline() for _ in range(4)]
        way = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)

        answer = requests.get(
            "https://api.weixin.qq.com/",
            proxies={"https": way["HTTPS_PROXY"]},
            verify=way["REQUESTS_CA_BUNDLE"],
            timeout=20,
        )
        standing_in.terminate()

    assert answer.text == requests.get(the_sandbox.url, timeout=20).text
