"""What workers counted is still counted when they have ended, in no more files than before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.values import MultiProcessValue, close_all_multiprocess_files

from wxlogin.observability import metrics_files
from wxlogin.observability.metrics import Metrics
from wxlogin.observability.metrics_files import merge_dead_worker

MakeWorker = Callable[[int], Metrics]


@pytest.fixture(autouse=True)
def _nobody_to_merge_dead_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test bury the workers that another one left."""
    monkeypatch.setattr("wxlogin.observability.metrics_files._unmerged", set())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(metrics_files.VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorker]:
    """Make what a worker counts with, as if this were the process that it is given."""

    def make(pid: int) -> Metrics:
        with monkeypatch.context() as changed:
            values = MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]  # nor this
            changed.setattr("prometheus_client.values.ValueClass", values)
            metrics = Metrics(folder)
            metrics.login_ended("ok", 0.3)  # what has labels is made when it is needed
            metrics.token_refreshed("wx1", 7200)
            metrics.wechat_breaker_changed("/x", True)
        return metrics

    yield make
    close_all_multiprocess_files()  # type: ignore[no-untyped-call]  # prometheus_client types no multiprocess part


def told(folder: Path) -> dict[str, float]:
    """Return what a worker would answer: the values by the names and labels of the series."""
    text, _ = Metrics(folder).exposition("")
    families = text_string_to_metric_families(text.decode())
    return {
        " ".join([each.name.removeprefix("wxlogin_"), *each.labels.values()]): each.value
        for family in families
        for each in family.samples
    }


def _counts_in(answer: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in answer.items() if "_total" in name or "_seconds" in name}


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.db")}


def test_all_workers_are_told_of_together(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    worker(2)

    answer = told(folder)
    assert (answer["logins_total ok"], answer["login_duration_seconds_count"], answer["workers"]) == (2, 2, 2)


def test_what_a_dead_worker_counted_is_not_lost(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    worker(2).login_ended("ok", 5.5)
    before = told(folder)

    merge_dead_worker(1, folder)
    merge_dead_worker(2, folder)

    after = told(folder)
    assert _counts_in(after) == _counts_in(before)
    assert after["login_duration_seconds_bucket +Inf"] == 3
    assert after["login_duration_seconds_bucket 0.5"] == 2


def test_how_a_dead_worker_fared_is_forgotten(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    worker(2)

    merge_dead_worker(1, folder)

    assert (told(folder)["workers"], told(folder)["wechat_circuit_breakers_open /x"]) == (1, 1)


def test_the_last_token_stays_known_when_the_worker_that_fetched_it_is_dead(
    worker: MakeWorker, folder: Path
) -> None:
    worker(1)
    worker(2)
    newest = told(folder)["access_token_refreshed_timestamp_seconds wx1"]

    merge_dead_worker(2, folder)
    merge_dead_worker(1, folder)

    assert told(folder)["access_token_refreshed_timestamp_seconds wx1"] == newest


def test_after_a_hundred_workers_there_are_no_more_files_than_after_one(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    merge_dead_worker(1, folder)
    after_one = files_in(folder)

    for pid in range(2, 101):
        worker(pid)
        merge_dead_worker(pid, folder)

    assert files_in(folder) == after_one == {"counter_dead.db", "histogram_dead.db", "gauge_max_dead.db"}
    assert told(folder)["logins_total ok"] == 100


def test_while_somebody_reads_nothing_is_moved(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    worker(2)

    with metrics_files.read_lock(folder):
        merge_dead_worker(1, folder)

    assert "counter_1.db" in files_in(folder)
    assert told(folder)["logins_total ok"] == 2


def test_while_something_is_moved_nobody_reads(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    file = folder / "counter_1.db"

    with ThreadPoolExecutor(1) as pool:
        with metrics_files.try_merge_lock(folder):
            away = file.rename(folder / "away")
            answer = pool.submit(told, folder)
            with pytest.raises(TimeoutError):  # that is, it waits for us
                answer.result(timeout=0.3)
            away.rename(file)

        assert answer.result()["logins_total ok"] == 1


def test_what_could_not_be_moved_is_with_the_next_dead_worker(worker: MakeWorker, folder: Path) -> None:
    worker(1)
    worker(2)
    with metrics_files.read_lock(folder):
        merge_dead_worker(1, folder)

    merge_dead_worker(2, folder)

    assert not {"counter_1.db", "counter_2.db"} & files_in(folder)
    assert told(folder)["logins_total ok"] == 2


def test_a_worker_that_never_counted_is_no_trouble(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    merge_dead_worker(1, folder)

    assert caplog.records == []


def test_a_folder_that_is_gone_does_not_stop_the_master(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    merge_dead_worker(1, folder / "gone")

    assert caplog.messages == ["the metrics of worker 1 are not added up"]


def test_a_file_that_cannot_be_read_stops_neither_the_master_nor_the_others(
    worker: MakeWorker, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "counter_1.db").write_bytes(b"\xff\xff\xff\x7f" + b"\xff" * 60)
    worker(2)

    merge_dead_worker(1, folder)

    assert caplog.messages == ["the metrics of worker 1 are not added up"]
    assert told(folder)["logins_total ok"] == 1
