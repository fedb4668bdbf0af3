"""Tests that leave something behind fail, and are told what; where all is put back, none fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import left_behind
from tests.servers import PROJECT, clean_environment

BY_A_TEST = {
    "environment LEFT": 'os.environ["LEFT"] = "x"',
    "environment HOME": 'del os.environ["HOME"]',
    "logger left": 'logging.getLogger("left").propagate = False',
    "logger root": "logging.getLogger().addFilter(print)",
    "signal handler SIGTERM": "signal.signal(signal.SIGTERM, print)",
    "thread <Thread(left, started": 'threading.Thread(target=OVER.wait, name="left").start()',
    "child process sleep 60": 'CHILDREN.append(subprocess.Popen(["sleep", "60"]))',
    "process working directory": 'os.chdir("/")',
    "process default timeout of sockets": "socket.setdefaulttimeout(5)",
    "process logging.disable": "logging.disable(logging.DEBUG)",
    "process sys.path": 'sys.path.append("left")',
    "process time machine": "time_machine.travel(0).start()",
    "service request id": 'logs.request_id.set("left")',
}
BY_A_MODULE = {
    "module json.tool": 'sys.modules["json.tool"] = sys',
    "permissions umask": "os.umask(0o007)",
    "metric of prometheus_client left": 'prometheus_client.Counter("left", "")',
}
BEGINNING = """
import json.tool, logging, os, signal, socket, subprocess, sys, threading, time
import prometheus_client, pytest, time_machine
from wxlogin.observability import logging as logs

OVER, CHILDREN = threading.Event(), []


@pytest.fixture(scope="session", autouse=True)
def _end():
    yield
    OVER.set()
    for child in CHILDREN:
        child.kill()
        child.wait()
"""
ALL_IS_PUT_BACK = """
@pytest.fixture(scope="module")
def lasting():
    os.environ["LASTING"] = "x"
    child = subprocess.Popen(["sleep", "60"])
    yield
    child.kill()
    child.wait()
    del os.environ["LASTING"]


@pytest.fixture
def late(request):
    return request.getfixturevalue("lasting")


def test_a_wider_fixture_outlasts_the_test_that_asks_for_it_first(late):
    assert "LASTING" in os.environ


def test_and_the_next_one(late):
    assert "LASTING" in os.environ


def test_a_thread_may_take_a_moment_to_end():
    threading.Thread(target=time.sleep, args=[0.01]).start()


def test_what_is_patched_is_put_back(monkeypatch):
    monkeypatch.setenv("PATCHED", "x")


def test_a_new_logger_is_no_change():
    logging.getLogger("new").addHandler(logging.NullHandler())
"""


def run(folder: Path, *files: str, seconds: float) -> str:
    """Return what is said of tests; threads have so many seconds to end."""
    (folder / "conftest.py").write_text(
        f"from tests import left_behind\n\nleft_behind.THREAD_ENDS_WITHIN_SECONDS = {seconds}\n"
    )
    for number, text in enumerate(files):
        (folder / f"test_{number}.py").write_text(BEGINNING + text)
    plugins = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:schemathesis", "-p", "tests.left_behind"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": str(PROJECT)}),
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a file in which each test leaves something, and of files with one such test each."""
    each = "".join(f"\n\ndef test_{number}():\n    {code}\n" for number, code in enumerate(BY_A_TEST.values()))
    modules = [f"\n\ndef test_it():\n    {code}\n" for code in BY_A_MODULE.values()]
    return run(tmp_path_factory.mktemp("left"), each, *modules, seconds=0.01)


@pytest.mark.parametrize("what", BY_A_TEST)
def test_a_test_that_leaves_something_is_told_what(said: str, what: str) -> None:
    number = list(BY_A_TEST).index(what)
    told = said.partition(f" ERROR at teardown of test_{number} ")[2].partition("ERROR at teardown")[0]

    assert f"this function leaves behind:\n{what}" in told


@pytest.mark.parametrize("what", BY_A_MODULE)
def test_a_module_that_leaves_something_is_told_what(said: str, what: str) -> None:
    assert f"this module leaves behind:\n{what}" in said


def test_where_all_is_put_back_nothing_fails(tmp_path: Path) -> None:
    assert "= 5 passed in" in run(tmp_path, ALL_IS_PUT_BACK, seconds=20)


def test_a_process_that_has_just_begun_is_told_by_what_it_runs() -> None:
    """Linux tells the command of many of them only a moment later."""
    for _ in range(100):
        with subprocess.Popen(["sleep", "60"]) as child:
            told = left_behind._command_of(str(child.pid))
            child.kill()

        assert told == "sleep 60"


def test_a_process_that_has_ended_is_told_without_a_command() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert left_behind._command_of(str(child.pid)) == "(ended)"
    assert left_behind._command_of(str(child.pid)) == "(ended)"
