"""The metrics of a service of four workers, some of which die: they say what its clients saw."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import environment
from tests.drivers import MiniProgram, Sandbox, over_http
from tests.servers import RedisServer, Service, gunicorn, wait_until

WORKERS = 4
CLIENTS = 8
REQUESTS_EACH = 300


@pytest.fixture
def four_workers(store: RedisServer, the_sandbox: Sandbox, tmp_path: Path) -> Iterator[Service]:
    told = environment(redis_url=store.url, wechat_api_url=the_sandbox.url)
    with gunicorn(tmp_path, told, workers=WORKERS) as running:
        wait_until(lambda: value(running, "workers") == WORKERS, what="all workers serve")
        yield running


def samples(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = requests.get(f"{service.url}/metrics", timeout=20).text
    families = text_string_to_metric_families(text)
    return {
        (each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples
    }


def value(service: Service, name: str, **labels: str) -> float:
    return samples(service).get((f"wxlogin_{name}", frozenset(labels.items())), 0)


def checks(service: Service) -> float:
    """Return how many checks the service says that it has answered."""
    return sum(
        number
        for (name, labels), number in samples(service).items()
        if name == "wxlogin_http_requests_total" and ("route", "/auth") in labels
    )


def pids_of_workers(service: Service) -> list[int]:
    return [
        int(pid)
        for pid in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    ]


def folder_of(service: Service) -> Path:
    """Return where the workers of the service put their counts together."""
    mapped = Path(f"/proc/{pids_of_workers(service)[0]}/maps").read_text()
    [folder] = {Path(line.split()[-1]).parent for line in mapped.splitlines() if "wxlogin-metrics-" in line}
    return folder


def mapped_by(pid: int) -> set[str]:
    """Return the names of the files that a worker counts in; none if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {Path(line.split()[-1]).name for line in lines if "wxlogin-metrics-" in line}


def files_of(service: Service) -> list[str]:
    """Return the names of the files that the service counts in."""
    return sorted(path.name for path in folder_of(service).glob("*.db"))


def ask(user: MiniProgram, *, times: int, told: Callable[[], None]) -> Counter[str]:
    """Have one client check its session again and again, each time anew, and count what it got."""
    seen: Counter[str] = Counter()
    for _ in range(times):
        try:
            seen[str(user.get("/auth").status)] += 1
        except requests.ConnectionError:
            seen["lost"] += 1
        told()
    return seen


def ask_while(user: MiniProgram, *, at: int, happens: Callable[[], None]) -> Counter[str]:
    """Have all clients ask, and let something happen when they are in the midst of it."""
    enough = threading.Semaphore(0)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask, user, times=REQUESTS_EACH, told=enough.release) for _ in range(CLIENTS)]
        for _ in range(at):
            enough.acquire()
        happens()
    return sum((client.result() for client in clients), Counter())


@pytest.fixture
def user(four_workers: Service, sandbox: Sandbox) -> MiniProgram:
    user = MiniProgram(over_http(four_workers.url), sandbox)
    user.log_in()
    return user


def test_what_all_workers_counted_is_what_the_clients_saw_though_one_was_killed(
    four_workers: Service, user: MiniProgram
) -> None:
    victim = pids_of_workers(four_workers)[0]

    seen = ask_while(user, at=500, happens=lambda: os.kill(victim, signal.SIGKILL))

    wait_until(lambda: value(four_workers, "workers_started_total") == WORKERS + 1, what="another one takes over")
    wait_until(lambda: value(four_workers, "workers") == WORKERS, what="the dead one is taken off")
    answered, lost = seen["204"], seen["lost"]
    assert answered + lost == CLIENTS * REQUESTS_EACH
    assert lost <= CLIENTS
    assert answered <= checks(four_workers) <= answered + lost


def test_a_reload_loses_no_count(four_workers: Service, user: MiniProgram) -> None:
    old = set(pids_of_workers(four_workers))

    seen = ask_while(user, at=500, happens=lambda: four_workers.process.send_signal(signal.SIGHUP))

    wait_until(lambda: not old & set(pids_of_workers(four_workers)), what="the old workers have ended")
    assert seen == {"204": CLIENTS * REQUESTS_EACH}
    assert checks(four_workers) == CLIENTS * REQUESTS_EACH
    wait_until(lambda: value(four_workers, "workers") == WORKERS, what="the old ones are taken off")
    assert value(four_workers, "workers_started_total") == 2 * WORKERS


def test_a_count_never_falls_while_workers_die(four_workers: Service, user: MiniProgram) -> None:
    told: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            told.append(value(four_workers, "logins_total", outcome="ok"))

    user.log_in()
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for _ in range(3):
            _replace_workers(four_workers)
        over.set()
        looking.result()

    assert {*told} == {2}


def test_there_are_no_more_files_after_many_workers_than_after_a_few(
    four_workers: Service, user: MiniProgram
) -> None:
    for _ in range(3):
        _replace_workers(four_workers)
        user.get("/auth")

    kinds = 4  # counters, histograms, and gauges of two kinds
    assert len(files_of(four_workers)) <= kinds * 2 * WORKERS  # at a reload, the old ones end beside the new


def test_no_two_workers_that_live_count_in_the_same_file(four_workers: Service, user: MiniProgram) -> None:
    shared: list[list[str]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            counted_in = Counter(name for pid in pids_of_workers(four_workers) for name in mapped_by(pid))
            shared.append([name for name, times in counted_in.items() if times > 1])

    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(look)
        asking = pool.submit(ask, user, times=REQUESTS_EACH, told=lambda: None)
        for _ in range(3):
            os.kill(pids_of_workers(four_workers)[0], signal.SIGKILL)
            _replace_workers(four_workers)
        asking.result()
        over.set()
        looking.result()

    assert [each for each in shared if each] == []


def test_files_that_just_came_or_went_are_no_error(four_workers: Service, user: MiniProgram) -> None:
    """A worker makes its file first and fills it then; and another's may go while all are read."""
    folder = folder_of(four_workers)
    made, gone = folder / "counter_4194303.db", folder / "gauge_livesum_4194302.db"
    made.touch()
    gone.symlink_to("nowhere")

    try:
        assert {user.send("GET", "/metrics").status for _ in range(8)} == {200}
    finally:
        made.unlink()
        gone.unlink()


def test_metrics_are_for_the_outside_nothing_but_numbers(four_workers: Service, user: MiniProgram) -> None:
    user.whoami()

    text = requests.get(f"{four_workers.url}/metrics", timeout=20).text

    assert user.openid not in text
    assert user.stored not in text
    assert user.stored.partition("=")[2][:16] not in text
    assert "127.0.0.1" not in text


def _replace_workers(service: Service) -> None:
    """Reload, and wait until none of the workers is an old one."""
    old = set(pids_of_workers(service))
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old & set(pids_of_workers(service)), what="the old workers have ended")
    wait_until(lambda: len(pids_of_workers(service)) == WORKERS, what="as many are there again")
