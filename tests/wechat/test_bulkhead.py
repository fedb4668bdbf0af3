"""Half of the threads may wait for WeChat; the others only while it is quick."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.conftest import Clock
from wxlogin.resilience.deadline import Deadline
from wxlogin.wechat.api.bulkhead import QUICK_SECONDS, SPARE_SECONDS, Bulkhead
from wxlogin.wechat.api.errors import CallRejected

_ALL = 100


@pytest.fixture
def bulkhead(clock: Clock) -> Bulkhead:
    return Bulkhead(8, seconds=_ALL, clock=clock)


@pytest.fixture
def waiting() -> Iterator[ExitStack]:
    with ExitStack() as contexts:
        yield contexts


def _seconds_in(place: AbstractContextManager[Deadline]) -> float:
    """Return how long the one who has a place may wait, to the second: time passes meanwhile."""
    with place as deadline:
        return round(deadline.remaining())


def _take(places: int, bulkhead: Bulkhead, waiting: ExitStack) -> None:
    for _ in range(places):
        waiting.enter_context(bulkhead.slot())


def test_half_of_the_threads_may_wait_as_long_as_they_like(bulkhead: Bulkhead, waiting: ExitStack) -> None:
    _take(3, bulkhead, waiting)

    assert _seconds_in(bulkhead.slot()) == _ALL


def test_the_other_half_may_wait_briefly_while_nobody_waits_for_long(
    bulkhead: Bulkhead, waiting: ExitStack
) -> None:
    _take(4, bulkhead, waiting)

    assert _seconds_in(bulkhead.slot()) == SPARE_SECONDS


def test_more_than_there_are_threads_never_wait(bulkhead: Bulkhead, waiting: ExitStack) -> None:
    _take(8, bulkhead, waiting)

    with pytest.raises(CallRejected):
        _take(1, bulkhead, waiting)


def test_while_somebody_waits_for_long_half_is_all(bulkhead: Bulkhead, waiting: ExitStack, clock: Clock) -> None:
    _take(1, bulkhead, waiting)
    clock.advance(QUICK_SECONDS + 0.01)
    _take(3, bulkhead, waiting)

    with pytest.raises(CallRejected):
        _take(1, bulkhead, waiting)


def test_after_somebody_waited_for_long_half_is_all(bulkhead: Bulkhead, waiting: ExitStack, clock: Clock) -> None:
    with bulkhead.slot():
        clock.advance(QUICK_SECONDS + 0.01)
    _take(4, bulkhead, waiting)

    with pytest.raises(CallRejected):
        _take(1, bulkhead, waiting)


def test_after_somebody_waited_briefly_the_other_half_may_wait_again(
    bulkhead: Bulkhead, waiting: ExitStack, clock: Clock
) -> None:
    for seconds in (60, QUICK_SECONDS / 2):
        with bulkhead.slot():
            clock.advance(seconds)
    _take(4, bulkhead, waiting)

    assert _seconds_in(bulkhead.slot()) == SPARE_SECONDS


def test_who_asks_nobody_may_come_while_the_others_wait_a_little_longer(
    bulkhead: Bulkhead, waiting: ExitStack, clock: Clock
) -> None:
    _take(4, bulkhead, waiting)
    clock.advance(0.5)

    assert _seconds_in(bulkhead.slot(quick_seconds=1.0)) == SPARE_SECONDS


def test_a_place_is_free_again_when_it_is_left(bulkhead: Bulkhead, clock: Clock) -> None:
    with ExitStack() as waiting:
        _take(4, bulkhead, waiting)
        clock.advance(60)

    assert _seconds_in(bulkhead.slot()) == _ALL


def test_a_place_is_free_again_when_it_is_left_with_an_error(bulkhead: Bulkhead) -> None:
    for _ in range(20):
        with pytest.raises(ZeroDivisionError), bulkhead.slot():
            raise ZeroDivisionError

    assert _seconds_in(bulkhead.slot()) == _ALL


def test_a_process_of_one_thread_can_log_in_too(clock: Clock) -> None:
    assert _seconds_in(Bulkhead(1, seconds=_ALL, clock=clock).slot()) == _ALL


def test_threads_that_come_at_once_share_the_places(bulkhead: Bulkhead) -> None:
    """All 40 meet before anybody leaves: 8 are inside, 32 were turned away."""
    all_there = threading.Barrier(40)
    outcomes: list[float] = []

    def come() -> None:
        try:
            with bulkhead.slot() as deadline:
                outcomes.append(round(deadline.remaining()))
                all_there.wait()
        except CallRejected:
            outcomes.append(0)
            all_there.wait()

    threads = [threading.Thread(target=come) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(outcomes) == {_ALL: 4, SPARE_SECONDS: 4, 0: 32}
