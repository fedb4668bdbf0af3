"""The description at ``/openapi.json`` is so: requests made up from it get no answer that it doesn't know."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import APPID, environment
from tests.drivers import Sandbox
from tests.servers import PROJECT, RedisServer, Service, gunicorn

ADMIN_TOKEN = "operators-only-0123456789"
MIN_REQUESTS = 2000
MIN_SUCCESSES = 3  # of each operation
MAX_SECONDS = 300  # on a machine that does other things as well

OPTIONS = (
    "--no-color",
    "--warnings=off",
    "--phases=examples,coverage,fuzzing",
    "--max-examples=130",
    "--generation-deterministic",  # a gate that is red now and then is no gate
    "--suppress-health-check=all",
    "--continue-on-failure",
    "--max-response-time=5",
    # Which valid requests are accepted is told better by a check of our own.
    "--exclude-checks=positive_data_acceptance",
)

# After ten wrong tokens, operators are locked out for a minute: made-up ones would leave nothing else to see.
CONFIGURATION = """
[[operations]]
include-path-regex = "^/admin/"
generation.with-security-parameters = false
"""


@pytest.fixture(scope="module")
def service(
    store: RedisServer, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = environment(redis_url=store.url, wechat_api_url=the_sandbox.url)
    with gunicorn(tmp_path_factory.mktemp("service"), {**settings, "WXLOGIN_ADMIN_TOKEN": ADMIN_TOKEN}) as running:
        yield running


@dataclasses.dataclass(frozen=True)
class Run:
    """What schemathesis did: its exit status, what it printed, and how many answers of which kind it got."""

    status: int
    said: str
    answered: Counter[str]


@pytest.fixture(scope="module")
def run(service: Service, the_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Run:
    the_sandbox.reset()
    folder = tmp_path_factory.mktemp("schemathesis")
    description = requests.get(f"{service.url}/openapi.json", timeout=20).json()
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    (folder / "openapi.json").write_text(json.dumps(closed(description)))
    surroundings = {
        "service_url": service.url,
        "sandbox_url": the_sandbox.url,
        "appid": APPID,
        "admin_token": ADMIN_TOKEN,
        "counts_path": str(folder / "counts.json"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", service.url, *OPTIONS],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "SCHEMATHESIS_HOOKS": "tests.end_to_end.schemathesis_hooks",
            "SCHEMATHESIS_SURROUNDINGS": json.dumps(surroundings),
        },
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    counts = json.loads((folder / "counts.json").read_text())
    return Run(ended.returncode, ended.stdout + ended.stderr, Counter(counts))


def closed(description: Any) -> Any:
    """Return the description with every object closed: an answer with a field that is not in it is a failure."""
    if isinstance(description, list):
        return [closed(each) for each in description]
    if not isinstance(description, dict):
        return description
    parts = {name: closed(each) for name, each in description.items()}
    is_whole = description.get("type") == "object" and "properties" in description
    return {**parts, "additionalProperties": False} if is_whole else parts


def test_no_answer_is_missing_from_the_description(run: Run) -> None:
    assert run.status == 0, run.said


def test_no_answer_is_a_failure_of_the_service(run: Run, service: Service) -> None:
    assert [answer for answer in run.answered if re.search(r" 5\d\d$", answer)] == []
    assert '"level": "ERROR"' not in service.log


def test_the_requests_are_many(run: Run) -> None:
    assert run.answered.total() >= MIN_REQUESTS


def test_every_operation_succeeds_too(run: Run, service: Service) -> None:
    paths = requests.get(f"{service.url}/openapi.json", timeout=20).json()["paths"]
    operations = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]

    successes = {each: run.answered[f"{each} 200"] + run.answered[f"{each} 204"] for each in operations}

    assert {each: count for each, count in successes.items() if count < MIN_SUCCESSES} == {}
