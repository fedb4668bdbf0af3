"""The order of tests: another one in each run, and what a process ran can be run again."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers import PROJECT, clean_environment

WRONG_USAGE = 4
FILES = [f"test_{letter}" for letter in "abcdefgh"]
TESTS = """
import os
import random

import pytest
from hypothesis import given, strategies

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "replay")


def note(what):
    with open(f"{WORKER}.ran", "a") as ran:
        print(__name__, what, file=ran)


def test_first():
    note(random.random())


def test_second():
    note("second")


@pytest.mark.alone
def test_alone():
    note("alone")


@given(strategies.integers())
def test_with_any_number(number):
    note(number)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder as this project's are run."""
    plugins = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "tests.order"]
    environment = clean_environment({"PYTHONPATH": str(PROJECT)})
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments],
        cwd=folder,
        env={name: value for name, value in environment.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "setup.cfg").write_text("[tool:pytest]\nmarkers = alone\n")
    (folder / "tests").mkdir()
    for name in FILES:
        (folder / f"tests/{name}.py").write_text(TESTS)
    return folder


def replays_in(said: str) -> Mapping[str, str]:
    """Return the argument that each process printed."""
    found = re.findall(r"^(\S.*): (--replay=.*)$", said, re.MULTILINE)
    return {process: shlex.split(argument)[0] for process, argument in found}


def files_in(ran: str) -> list[str]:
    return list(dict.fromkeys(line.split()[0] for line in ran.splitlines()))


@pytest.fixture(scope="module")
def first_run(folder: Path) -> Mapping[str, str]:
    """What each of two processes printed; the folder has what each of them ran."""
    ended = run(folder, "-m", "not alone", "--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    assert ended.returncode == 0, ended.stdout
    return replays_in(ended.stdout)


def test_each_process_prints_what_it_ran(first_run: Mapping[str, str], folder: Path) -> None:
    ran = {process: files_in((folder / f"{process}.ran").read_text()) for process in first_run}

    assert ran.keys() == {"gw0", "gw1"}
    assert sorted([*ran["gw0"], *ran["gw1"]]) == FILES
    assert [argument.rpartition(":")[2].split(",") for argument in first_run.values()] == [*ran.values()]


@pytest.mark.parametrize("process", ["gw0", "gw1"])
def test_one_argument_runs_it_again(first_run: Mapping[str, str], folder: Path, process: str) -> None:
    (folder / "replay.ran").unlink(missing_ok=True)

    ended = run(folder, first_run[process])

    assert ended.returncode == 0, ended.stdout
    assert (folder / "replay.ran").read_text() == (folder / f"{process}.ran").read_text()
    assert replays_in(ended.stdout) == {"this process": first_run[process]}


def test_the_order_is_another_one_in_each_run(folder: Path) -> None:
    (one,), (other,) = (
        replays_in(run(folder, "-k", "second").stdout).values(),
        replays_in(run(folder, "-k", "second").stdout).values(),
    )

    assert one != other


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--replay=no-seed:alone:test_a"], "invalid"),
        (["--replay=1:test_a"], "invalid"),
        (["--replay=1::test_a", "--numprocesses", "2"], "leave --numprocesses out"),
        (["--replay=1::test_a,test_z"], "no tests in tests/test_z.py"),
    ],
)
def test_a_wrong_argument_is_explained(folder: Path, arguments: list[str], reason: str) -> None:
    ended = run(folder, *arguments)

    assert ended.returncode == WRONG_USAGE
    assert reason in ended.stderr
