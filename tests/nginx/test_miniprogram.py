"""The client of mini-programs, on node, against the whole site; its tests are in miniprogram/tests/end_to_end/."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.conftest import environment
from tests.drivers import Sandbox
from tests.nginx.front import Front
from tests.servers import PROJECT, RedisServer, gunicorn, program

TESTS = sorted(str(path) for path in (PROJECT / "miniprogram/tests/end_to_end").glob("*.test.mjs"))


def test_the_client_works_with_the_whole_site(
    front: Front, sandbox: Sandbox, the_redis_server: RedisServer, tmp_path: Path
) -> None:
    node = program("node", package="nodejs")
    telling = environment(redis_url=the_redis_server.url, wechat_api_url=sandbox.url)
    with gunicorn(tmp_path, {**telling, "WXLOGIN_SESSION_ID_IN_BODY": "true"}, workers=1) as in_body:
        places = {
            "SITE_URL": f"https://localhost:{front.port}",
            "BODY_URL": in_body.url,
            "SANDBOX_URL": sandbox.url,
        }
        run = subprocess.run(
            [node, "--test", "--test-reporter", "spec", *TESTS],
            env={**os.environ, **places},
            capture_output=True,
            text=True,
        )

    assert run.returncode == 0, run.stdout
    passed = re.search(r"pass (\d+)", run.stdout)
    assert passed
    assert int(passed[1]) > 30
