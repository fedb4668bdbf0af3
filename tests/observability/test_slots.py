"""Workers that count in files: one takes over what another left, and no two that live have the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import PROJECT, TIMEOUT_SECONDS, clean_environment
from wxlogin.observability import metrics_files
from wxlogin.observability.metrics import Metrics

WORKER = """
import sys
from wxlogin.observability import metrics_files

folder = metrics_files.current()
metrics_files._use_slots(folder)
from wxlogin.observability.metrics import Metrics

metrics = Metrics(folder)
metrics.login_ended("ok", float(sys.argv[1]))
metrics.token_refreshed("wx1", 7200)
metrics.wechat_breaker_changed("/x", True)
print("it counts", flush=True)
sys.stdin.read()
"""
FORK = """
import os
from wxlogin.observability import metrics_files

slot = metrics_files._Slot(metrics_files.prepare())
parents = slot()
if child := os.fork():
    os.waitpid(child, 0)
else:
    print(parents, slot(), flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(metrics_files.VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a process that counts a login of so many seconds, among others, and waits."""
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float = 0.3) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(seconds)],
            env=clean_environment({metrics_files.VARIABLE: str(folder), "PYTHONPATH": str(PROJECT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> str:
    """Kill a process, and return what it had logged."""
    process.kill()
    return process.communicate(timeout=TIMEOUT_SECONDS)[1]


def told(folder: Path) -> dict[str, float]:
    """Return what a worker would answer: the values by the names and labels of the series."""
    metrics = Metrics(None)
    metrics._folder = folder
    families = text_string_to_metric_families(metrics.exposition("")[0].decode())
    return {
        " ".join([each.name.removeprefix("wxlogin_"), *each.labels.values()]): each.value
        for family in families
        for each in family.samples
    }


def files_of(process: subprocess.Popen[str]) -> set[str]:
    """Return the names of the files that a process counts in."""
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    return {Path(line.split()[-1]).name for line in lines if line.endswith(".db")}


def test_all_workers_are_told_of_together(start: Start, folder: Path) -> None:
    start(0.3)
    start(5.5)

    answer = told(folder)
    assert (answer["logins_total ok"], answer["login_duration_seconds_count"], answer["workers"]) == (2, 2, 2)
    assert answer["login_duration_seconds_bucket 0.5"] == 1


def test_what_a_killed_worker_counted_stays_and_what_was_there_goes_with_it(start: Start, folder: Path) -> None:
    ended, _ = start(), start()
    before = told(folder)

    end(ended)

    after = told(folder)
    assert {name for name in before if before[name] != after.get(name)} == {
        "workers",
        "wechat_circuit_breakers_open /x",
    }
    assert (after["workers"], after["wechat_circuit_breakers_open /x"]) == (1, 1)


def test_a_worker_goes_on_with_the_files_of_one_that_has_ended(start: Start, folder: Path) -> None:
    ended, other = start(), start()
    files = files_of(ended)
    end(ended)

    successor = start()

    assert files_of(successor) == files
    assert not files & files_of(other)
    answer = told(folder)
    assert (answer["logins_total ok"], answer["workers_started_total"], answer["workers"]) == (3, 3, 2)
    assert answer["wechat_circuit_breakers_open /x"] == 2


def test_after_many_workers_there_are_no_more_files_than_after_one(start: Start, folder: Path) -> None:
    end(start())
    after_one = {path.name for path in folder.iterdir()}

    for _ in range(4):
        end(start())

    assert {path.name for path in folder.iterdir()} == after_one
    assert told(folder)["logins_total ok"] == 5


def test_workers_that_start_at_once_have_files_of_their_own(start: Start) -> None:
    workers = [start() for _ in range(3)]

    files = [name for each in workers for name in files_of(each)]
    assert len(files) == len(set(files)) == 3 * len(files_of(workers[0]))


def test_a_file_that_cannot_be_read_stops_neither_its_next_worker_nor_the_others(
    start: Start, folder: Path
) -> None:
    ended, _ = start(), start()
    [counters] = [folder / name for name in files_of(ended) if name.startswith("counter")]
    end(ended)
    counters.write_bytes(b"\xff\xff\xff\x7f" + b"\xff" * 60)

    said = end(start())

    assert f"the counts in {counters.name} can't be read and are lost" in said
    assert told(folder)["logins_total ok"] == 2


def test_a_worker_that_made_a_file_and_put_nothing_into_it_is_no_trouble(start: Start, folder: Path) -> None:
    (folder / "counter_0.db").touch()
    (folder / "gauge_livesum_7.db").symlink_to("nowhere")

    start()

    assert told(folder)["logins_total ok"] == 1


def test_a_slot_that_only_another_user_may_take_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = os.open

    def refuse(path: object, *how: int) -> int:
        if str(path).endswith("slot_0"):
            raise PermissionError
        return opens(str(path), *how)

    monkeypatch.setattr(os, "open", refuse)

    assert metrics_files._Slot(folder)() == 1


def test_a_process_that_is_forked_gets_a_slot_of_its_own() -> None:
    forked = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, cwd=PROJECT)

    assert forked.stdout.split() == ["1", "2"]  # the folder's own, which `prepare` took, is 0


@pytest.mark.parametrize("content", [b"\xff\xff\xff\x7f" + b"\xff" * 60, b"\x01"])
def test_a_file_that_is_none_of_metrics_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "counter_0.db"
    path.write_bytes(content)

    assert not metrics_files._is_readable(path)
    assert "counter_0.db can't be read" in caplog.text
