"""Drives ``docker compose``: a stack of the tests' own, beside one that a developer may have up."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.drivers import MiniProgram, Sandbox, Send, over_http
from tests.servers import PROJECT, free_port, wait_until

NAME = "wxlogin-test"  # .ci/run takes down what has this name
SECRETS = {
    "wxlogin": ["/run/generated/secret_keys", "/run/generated/redis_url", "/run/secrets/app_secret"],
    "redis": [f"/run/secrets/{user}_password" for user in ("wxlogin", "replica", "sentinel", "admin")],
    "nginx": ["/run/certificates/tls.key"],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that is up. ``url`` is nginx's, with a certificate that ``certificate`` verifies."""

    url: str
    sandbox: Sandbox
    certificate: Path
    files: Sequence[str]
    environment: dict[str, str]

    @property
    def send(self) -> Send:
        """How a mini-program reaches it."""
        return over_http(self.url)

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose`` and return what it says; fail with that if it fails."""
        files = [option for name in self.files for option in ("--file", name)]
        return run("docker", "compose", "--project-name", NAME, *files, *arguments, environment=self.environment)

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's container."""
        return self.compose("exec", "--no-TTY", service, *command)

    def ask_redis(self, *command: str) -> str:
        """Ask Redis as its administrator."""
        ask = 'REDISCLI_AUTH=$(cat /run/secrets/admin_password) exec redis-cli --user admin "$@"'
        return self.execute("redis", "sh", "-c", ask, "sh", *command)

    def secrets(self) -> list[str]:
        """Return what nobody should read anywhere."""
        files = [(service, path) for service, paths in SECRETS.items() for path in paths]
        return [self.execute(service, "cat", path).strip() for service, path in files]

    def is_up(self) -> bool:
        """Say whether nginx and the service behind it answer."""
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(f"{self.url}/session", timeout=5, verify=str(self.certificate))
            return answer.status_code == 401
        return False

    def repair(self) -> None:
        """Start what a test stopped, and the service again: each of its workers serves, as in a new stack."""
        self.compose("up", "--detach", "--wait")
        self.compose("restart", "wxlogin")
        self.compose("up", "--detach", "--wait")
        wait_until(self.is_up, what="nginx answers")

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what Docker knows of each running container, by service."""
        known = json.loads(run("docker", "inspect", *self.compose("ps", "--quiet").split()))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in known}


@contextlib.contextmanager
def running_stack(*, overrides: Sequence[str] = ()) -> Iterator[Stack]:
    """Bring a stack up from nothing, as on a fresh clone, and leave nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        stack = _new_stack(Path(folder) / "tls.crt", overrides)
        stack.compose("down", "--volumes", "--remove-orphans")
        try:
            stack.compose("up", "--build", "--wait")
            stack.certificate.write_text(stack.execute("nginx", "cat", "/run/certificates/tls.crt"))
            wait_until(stack.is_up, what="nginx answers")
            yield stack
        finally:
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "3")


def _new_stack(certificate: Path, overrides: Sequence[str]) -> Stack:
    ports = {"STACK_HTTPS_PORT": str(free_port()), "STACK_SANDBOX_PORT": str(free_port())}
    return Stack(
        url=f"https://localhost:{ports['STACK_HTTPS_PORT']}",
        sandbox=Sandbox(f"http://127.0.0.1:{ports['STACK_SANDBOX_PORT']}"),
        certificate=certificate,
        files=["docker-compose.yml", *(f"deploy/compose/{name}.yml" for name in overrides)],
        environment={**ports, "STACK_STORE_NET": "10.249.18"},
    )


def is_served(mini_program: MiniProgram) -> bool:
    """Say whether the protected back end answers a user, who may be asking while nginx restarts."""
    with contextlib.suppress(requests.RequestException):
        return mini_program.get("/api/").status == 200
    return False


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command in the project's folder and return its output; fail with all it said if it fails."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
