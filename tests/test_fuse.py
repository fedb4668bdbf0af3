"""The fuse: when it blows, whom it lets through then, and when it mends."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Clock
from wxlogin.fuse import Fuse

MENDS_AFTER = 0.5


@pytest.fixture
def fuse(clock: Clock) -> Fuse:
    return Fuse(blows_after=3, mends_after_seconds=MENDS_AFTER, clock=clock)


@pytest.fixture
def blown(fuse: Fuse) -> Fuse:
    wait_in_vain(fuse, times=3)
    return fuse


def wait_in_vain(fuse: Fuse, *, times: int) -> None:
    for _ in range(times):
        fuse.note_wait_in_vain()


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_a_fuse_lets_everybody_through_before_it_blows(fuse: Fuse, waits: int) -> None:
    wait_in_vain(fuse, times=waits)

    assert not fuse.is_blown
    assert all(fuse.lets_through() for _ in range(10))


def test_a_fuse_blows_after_some_waits_in_vain(blown: Fuse) -> None:
    assert blown.is_blown
    assert not any(blown.lets_through() for _ in range(10))


def test_an_answer_between_waits_keeps_the_fuse_from_blowing(fuse: Fuse) -> None:
    wait_in_vain(fuse, times=2)
    fuse.note_answer()
    wait_in_vain(fuse, times=2)

    assert not fuse.is_blown
    assert fuse.lets_through()


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (MENDS_AFTER - 0.01, False), (MENDS_AFTER, True)])
def test_a_blown_fuse_lets_one_through_after_a_while(
    blown: Fuse, clock: Clock, seconds: float, expected: bool
) -> None:
    clock.advance(seconds)

    assert blown.lets_through() == expected


def test_a_blown_fuse_lets_one_through_at_a_time(blown: Fuse, clock: Clock) -> None:
    let_through = []

    for _ in range(3):
        clock.advance(MENDS_AFTER)
        let_through.append([blown.lets_through() for _ in range(3)])

    assert let_through == [[True, False, False]] * 3


def test_of_20_threads_at_once_a_blown_fuse_lets_one_through(clock: Clock) -> None:
    def clock_that_gives_way() -> float:
        os.sched_yield()  # to the other threads
        return clock()

    fuse, barrier = Fuse(blows_after=1, clock=clock_that_gives_way), threading.Barrier(20)
    wait_in_vain(fuse, times=1)
    clock.advance(MENDS_AFTER)

    def ask(_: int) -> bool:
        barrier.wait(20)
        return fuse.lets_through()

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 1


def test_a_try_that_waits_in_vain_keeps_the_fuse_blown_for_as_long_again(blown: Fuse, clock: Clock) -> None:
    clock.advance(MENDS_AFTER)
    assert blown.lets_through()
    clock.advance(MENDS_AFTER - 0.1)
    blown.note_wait_in_vain()

    clock.advance(MENDS_AFTER - 0.1)
    assert not blown.lets_through()

    clock.advance(0.1)
    assert blown.lets_through()


def test_one_wait_in_vain_is_told_that_it_blew_the_fuse(fuse: Fuse) -> None:
    told = [fuse.note_wait_in_vain() for _ in range(6)]

    assert told == [False, False, True, False, False, False]


def test_one_answer_is_told_that_it_mended_the_fuse(blown: Fuse) -> None:
    told = [blown.note_answer() for _ in range(3)]

    assert told == [True, False, False]


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_an_answer_mends_nothing_that_is_whole(fuse: Fuse, waits: int) -> None:
    wait_in_vain(fuse, times=waits)

    assert not fuse.note_answer()


def test_of_20_threads_that_wait_in_vain_one_blows_the_fuse_and_one_mends_it(fuse: Fuse) -> None:
    barrier = threading.Barrier(20)

    def wait_and_be_answered(_: int) -> tuple[bool, bool]:
        barrier.wait(20)
        blew = fuse.note_wait_in_vain()
        barrier.wait(20)
        return blew, fuse.note_answer()

    with ThreadPoolExecutor(20) as pool:
        blew, mended = zip(*pool.map(wait_and_be_answered, range(20)), strict=True)

    assert (sum(blew), sum(mended)) == (1, 1)


def test_an_answer_mends_the_fuse(blown: Fuse) -> None:
    blown.note_answer()

    assert not blown.is_blown
    assert all(blown.lets_through() for _ in range(10))


def test_a_mended_fuse_blows_no_sooner_than_a_new_one(blown: Fuse) -> None:
    blown.note_answer()

    wait_in_vain(blown, times=2)
    assert not blown.is_blown

    wait_in_vain(blown, times=1)
    assert blown.is_blown
