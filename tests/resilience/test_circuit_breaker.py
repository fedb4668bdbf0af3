"""The circuit breaker: when it opens, which requests it allows then, and when it closes."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Clock
from wxlogin.resilience.circuit_breaker import CircuitBreaker

INTERVAL = 0.5


@pytest.fixture
def changes() -> list[bool]:
    return []


@pytest.fixture
def breaker(clock: Clock, changes: list[bool]) -> CircuitBreaker:
    return CircuitBreaker(
        failure_threshold=3, probe_interval_seconds=INTERVAL, clock=clock, on_change=changes.append
    )


@pytest.fixture
def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    fail(breaker, times=3)
    return breaker


def fail(breaker: CircuitBreaker, *, times: int) -> None:
    for _ in range(times):
        breaker.record_failure()


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_closed_breaker_allows_every_request(breaker: CircuitBreaker, failures: int) -> None:
    fail(breaker, times=failures)

    assert not breaker.is_open
    assert all(breaker.allow_request() for _ in range(10))


def test_the_breaker_opens_after_some_failures_in_a_row(opened: CircuitBreaker) -> None:
    assert opened.is_open
    assert not any(opened.allow_request() for _ in range(10))


def test_a_success_between_failures_keeps_the_breaker_closed(breaker: CircuitBreaker) -> None:
    fail(breaker, times=2)
    breaker.record_success()
    fail(breaker, times=2)

    assert not breaker.is_open
    assert breaker.allow_request()


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (INTERVAL - 0.01, False), (INTERVAL, True)])
def test_an_open_breaker_allows_one_request_after_the_interval(
    opened: CircuitBreaker, clock: Clock, seconds: float, expected: bool
) -> None:
    clock.advance(seconds)

    assert opened.allow_request() == expected


def test_an_open_breaker_allows_one_request_per_interval(opened: CircuitBreaker, clock: Clock) -> None:
    allowed = []

    for _ in range(3):
        clock.advance(INTERVAL)
        allowed.append([opened.allow_request() for _ in range(3)])

    assert allowed == [[True, False, False]] * 3


def test_of_20_threads_at_once_an_open_breaker_allows_one(clock: Clock) -> None:
    def clock_that_gives_way() -> float:
        os.sched_yield()  # to the other threads
        return clock()

    breaker, barrier = CircuitBreaker(failure_threshold=1, clock=clock_that_gives_way), threading.Barrier(20)
    fail(breaker, times=1)
    clock.advance(INTERVAL)

    def ask(_: int) -> bool:
        barrier.wait(20)
        return breaker.allow_request()

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 1


def test_a_probe_that_fails_keeps_the_breaker_open_for_an_interval(opened: CircuitBreaker, clock: Clock) -> None:
    clock.advance(INTERVAL)
    assert opened.allow_request()
    clock.advance(INTERVAL - 0.1)
    opened.record_failure()

    clock.advance(INTERVAL - 0.1)
    assert not opened.allow_request()

    clock.advance(0.1)
    assert opened.allow_request()


def test_one_failure_opens_the_breaker(breaker: CircuitBreaker, changes: list[bool]) -> None:
    told = []

    for _ in range(6):
        breaker.record_failure()
        told.append(len(changes))

    assert (told, changes) == ([0, 0, 1, 1, 1, 1], [True])


def test_one_success_closes_the_breaker(opened: CircuitBreaker, changes: list[bool]) -> None:
    told = []

    for _ in range(3):
        opened.record_success()
        told.append(len(changes))

    assert (told, changes) == ([2, 2, 2], [True, False])


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_success_changes_nothing_while_the_breaker_is_closed(
    breaker: CircuitBreaker, changes: list[bool], failures: int
) -> None:
    fail(breaker, times=failures)

    breaker.record_success()

    assert changes == []


def test_of_20_threads_that_fail_one_opens_the_breaker_and_one_closes_it(
    breaker: CircuitBreaker, changes: list[bool]
) -> None:
    barrier = threading.Barrier(20)

    def fail_and_succeed(_: int) -> None:
        barrier.wait(20)
        breaker.record_failure()
        barrier.wait(20)
        breaker.record_success()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(fail_and_succeed, range(20)))

    assert changes == [True, False]


def test_a_success_closes_the_breaker(opened: CircuitBreaker) -> None:
    opened.record_success()

    assert not opened.is_open
    assert all(opened.allow_request() for _ in range(10))


def test_a_closed_breaker_opens_no_sooner_than_a_new_one(opened: CircuitBreaker) -> None:
    opened.record_success()

    fail(opened, times=2)
    assert not opened.is_open

    fail(opened, times=1)
    assert opened.is_open
