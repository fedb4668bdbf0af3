"""The folder that the workers of one gunicorn count in: its own, in memory, gone when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wxlogin.observability import metrics_files

MASTER = """
import os, sys
from wxlogin.observability import metrics_files
folder = metrics_files.prepare()
if sys.argv[1] == "forks":
    if os.fork() == 0:
        sys.exit()
    os.wait()
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the folders made in a place of our own, as where there is no /dev/shm."""
    monkeypatch.setattr(metrics_files, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def master(how: str = "alone") -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run what makes a folder and holds it until it is told to end."""
    command = [sys.executable, "-c", MASTER, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())


def make_old(folder: Path) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(folder, (an_hour_ago, an_hour_ago))


def test_a_folder_lasts_as_long_as_its_process() -> None:
    with master() as (_, folder):
        assert folder.is_dir()

    assert not folder.exists()


def test_a_worker_that_ends_leaves_the_folder_to_the_others() -> None:
    with master("forks") as (_, folder):
        assert folder.is_dir()


def test_two_services_have_two_folders() -> None:
    with master() as (_, one), master() as (_, other):
        assert one != other


def test_nobody_else_may_look_into_the_folder() -> None:
    with master() as (_, folder):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_service_left_behind_goes_when_the_next_one_starts() -> None:
    with master() as (process, left):
        process.kill()
    make_old(left)

    with master():
        assert not left.exists()


def test_a_service_that_runs_for_long_keeps_its_folder_when_another_starts() -> None:
    with master() as (_, folder):
        make_old(folder)

        with master():
            assert folder.is_dir()


def test_a_folder_that_was_made_just_now_is_left_alone() -> None:
    with master() as (process, left):
        process.kill()

    with master():
        assert left.exists()

    make_old(left)
    with master():
        assert not left.exists()


def test_without_memory_to_share_it_is_a_temporary_folder(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics_files.VARIABLE, "")

    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    folder = metrics_files.prepare.__wrapped__()

    assert folder.parent == parent
    assert metrics_files.current() == folder


def test_another_users_folder_is_no_trouble(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics_files.VARIABLE, "")
    dangling = parent / "wxlogin-metrics-dangling"
    dangling.symlink_to(parent / "nowhere")
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)

    assert metrics_files.prepare.__wrapped__().is_dir()
    assert dangling.is_symlink()
