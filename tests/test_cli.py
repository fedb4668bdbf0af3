"""The command line, as people type it."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import PATIENCE_SECONDS, PROJECT, clean_environment, free_port, is_up, wait_until
from wxlogin.cli import main


@contextlib.contextmanager
def wxlogin(*arguments: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in an empty folder until the context ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wxlogin", *arguments],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": str(PROJECT), **environment}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def dev(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run ``wxlogin dev`` and give it, its first words, and its address."""
    port, sandbox_port = free_port(), free_port()
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(sandbox_port))
    with wxlogin(*arguments, folder=folder, **environment) as process:
        assert process.stdout
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        yield process, said, f"http://127.0.0.1:{port}"


def test_dev_prints_its_addresses_and_a_line_that_logs_in(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said, url):
        line = next(line for line in said.splitlines() if line.strip().startswith("curl"))
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout

    assert f"service  {url}\n" in said
    assert re.search(r"^sandbox  http://127\.0\.0\.1:\d+ ", said, re.MULTILINE)
    assert answer.startswith("HTTP/1.1 200 OK")
    assert "Set-Cookie: sessionid=" in answer


def test_devs_sessions_work(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said, url):
        sandbox = re.search(r"sandbox  (\S+)", said)
        assert sandbox
        mini_program = MiniProgram(over_http(url), Sandbox(sandbox[1]))

        assert (mini_program.log_in().status, mini_program.whoami().status) == (200, 200)


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_dev_stops_cleanly_and_leaves_nothing_behind(tmp_path: Path, signal_: int) -> None:
    with dev(tmp_path) as (process, _, url):
        process.send_signal(signal_)
        rest, _ = process.communicate(timeout=PATIENCE_SECONDS)

        assert (process.returncode, "Traceback" in rest) == (0, False)
        assert not is_up(url)


def test_dev_reloads_when_a_file_changes(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WXLOGIN_EXPOSE_OPENID=false\n")
    with dev(tmp_path) as (_, said, url):
        sandbox = re.search(r"sandbox  (\S+)", said)
        assert sandbox
        mini_program = MiniProgram(over_http(url), Sandbox(sandbox[1]))
        assert "openid" not in mini_program.log_in().json

        (tmp_path / ".env").write_text("WXLOGIN_EXPOSE_OPENID=true\n")

        wait_until(lambda: "openid" in _log_in_through_a_restart(mini_program), what="the service restarts")


def _log_in_through_a_restart(mini_program: MiniProgram) -> str:
    with contextlib.suppress(requests.ConnectionError):
        return mini_program.log_in().text
    return ""


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_dev_says_in_one_line_that_a_port_is_taken(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = "--sandbox-port" if option == "--port" else "--port"
        arguments = ("dev", option, str(taken.getsockname()[1]), other, str(free_port()))
        with wxlogin(*arguments, folder=tmp_path) as process:
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert said.count("\n") == 1
    assert f"choose another with {option}" in said


def test_dev_tells_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    with wxlogin("dev", folder=tmp_path, WXLOGIN_LOG_LEVEL="LOUD", WXLOGIN_APPID="wx") as process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert "WXLOGIN_LOG_LEVEL: " in said
    assert "WXLOGIN_APPID: " in said
    assert "Traceback" not in said


def test_dev_says_so_when_the_service_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.py").write_text("raise SystemExit('broken on purpose')\n")
    arguments = ("dev", "--port", str(free_port()), "--sandbox-port", str(free_port()))

    with wxlogin(*arguments, folder=tmp_path) as process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert said.endswith("wxlogin: the service did not start; what it said is above\n")


def test_the_sandbox_runs_alone_with_the_apps_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    arguments = (
        "sandbox",
        "--port",
        str(port),
        "--app",
        "wx0000000000000001=one",
        "--app",
        "wx0000000000000002=two",
    )

    with wxlogin(*arguments, folder=tmp_path) as process:
        wait_until(lambda: is_up(f"http://127.0.0.1:{port}/"), what="the sandbox answers")
        code = Sandbox(f"http://127.0.0.1:{port}").issue_code(appid="wx0000000000000002")
        query = {
            "appid": "wx0000000000000002",
            "secret": "two",
            "js_code": code,
            "grant_type": "authorization_code",
        }
        answer = requests.get(f"http://127.0.0.1:{port}/sns/jscode2session", params=query, timeout=5)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert "openid" in answer.json()
    assert process.returncode == 0
    assert said == f"sandbox  http://127.0.0.1:{port}  knows wx0000000000000001, wx0000000000000002\n"


def test_keys_new_prints_a_key_that_the_settings_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (_printed(capsys, "keys new") for _ in range(2))

    assert first != second
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", first)


def _printed(capsys: pytest.CaptureFixture[str], command: str) -> str:
    assert main(shlex.split(command)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["", "nothing", "dev --port 0", "dev --port 65536", "dev --port x", "sandbox --app x"]
)
def test_a_wrong_command_is_explained(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(command))

    assert caught.value.code == 2
    assert "usage: wxlogin" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["--help", "dev --help", "sandbox --help", "keys --help", "keys new --help"])
def test_every_command_has_a_help_text(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(command))

    assert caught.value.code == 0
    assert "usage: wxlogin" in capsys.readouterr().out
