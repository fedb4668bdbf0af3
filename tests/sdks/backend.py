"""Back ends, each with one of the SDKs: processes that do what they are told, a JSON line each."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import TIMEOUT_SECONDS, do_without, program

FOLDER = Path(__file__).parent
BUILD_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """An SDK, and what it does; README.md has a table of it."""

    name: str
    command: Callable[[Path], list[str]]
    """Returns what runs its driver; what has to be built goes into the folder."""
    renews_tokens: bool = False
    """Whether it gets a new access token when WeChat says that the one it has has ended, and asks again."""
    sends_token_to_log_in: bool = False
    checks_watermark: bool = False
    has_stable_tokens: bool = False
    gives_all_fields: bool = True
    """Whether it gives what it has decrypted as it is; else those of its fields that it knows."""

    def __str__(self) -> str:
        return self.name


def python_driver(_built: Path) -> list[str]:
    return [sys.executable, str(FOLDER / "python/driver.py")]


def go_driver(built: Path) -> list[str]:
    driver = built / "driver"
    if not driver.exists():
        build = [program("go", package="golang-go"), "build", "-buildvcs=false", "-o", str(driver), "."]
        done = subprocess.run(build, cwd=FOLDER / "go", capture_output=True, text=True, timeout=BUILD_SECONDS)
        assert done.returncode == 0, done.stderr
    return [str(driver)]


def node_driver(_built: Path) -> list[str]:
    node = program("node", package="nodejs")
    if not (FOLDER / "node/node_modules").exists():
        do_without("node-easywechat: npm --prefix tests/sdks/node ci")
    return [node, str(FOLDER / "node/driver.mjs")]


SDKS = (
    Sdk(
        name="wechatpy",
        command=python_driver,
        renews_tokens=True,
        sends_token_to_log_in=True,
        checks_watermark=True,
    ),
    Sdk(
        name="silenceper/wechat",
        command=go_driver,
        checks_watermark=True,
        has_stable_tokens=True,
        gives_all_fields=False,
    ),
    Sdk(name="node-easywechat", command=node_driver, has_stable_tokens=True),
)


class Refused(Exception):
    """Raised if the SDK raised or returned an error; without WeChat's errcode where it has none."""

    def __init__(self, errcode: int | None, message: str) -> None:
        super().__init__(errcode, message)
        self.errcode = errcode


class Backend:
    """A running one; each method raises Refused."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def log_in(self, code: str) -> dict[str, Any]:
        """Exchange a code, and return what the SDK makes of the answer."""
        session: dict[str, Any] = self._ask("log_in", code=code)
        return session

    def access_token(self) -> str:
        """Return the access token that the SDK has, or gets."""
        token: str = self._ask("access_token")
        return token

    def renew_token(self) -> None:
        """Have the SDK take another access token, in the way that it offers."""
        self._ask("renew_token")

    def phone_number(self, code: str) -> dict[str, Any]:
        """Exchange the code of a phone number, which takes an access token."""
        phone: dict[str, Any] = self._ask("phone_number", code=code)
        return phone

    def decrypt(self, data: Mapping[str, str], *, session_key: str) -> dict[str, Any]:
        """Open what a phone has sent."""
        encrypted = {name: data[name] for name in ("encryptedData", "iv")}
        opened: dict[str, Any] = self._ask("decrypt", session_key=session_key, **encrypted)
        return opened

    def _ask(self, do: str, **told: str) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **told}).encode() + b"\n")
        answer = json.loads(self._answer())
        if refusal := answer.get("error"):
            raise Refused(refusal["errcode"], refusal["message"])
        return answer["result"]

    def _answer(self) -> bytes:
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], TIMEOUT_SECONDS)[0]:
            pytest.fail(f"waited {TIMEOUT_SECONDS} s in vain for an answer")
        line = self._process.stdout.readline()
        assert line, self._log.read_text(encoding="utf-8", errors="replace")
        return line


Start = Callable[..., Backend]
"""``start(secret=…, tokens=…, environment=…)``: run a back end until the test ends"""


@contextlib.contextmanager
def running(command: list[str], *, folder: Path, environment: Mapping[str, str]) -> Iterator[Backend]:
    """Run one until the context ends, in a folder where its SDK may keep a token, and with no more to go by."""
    log = folder / "stderr"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            bufsize=0,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield Backend(process, log)
        finally:
            process.kill()
