"""The time that a piece of work has left."""

from __future__ import annotations

import math

import pytest

from wxlogin.resilience.deadline import NEVER, Deadline


def test_without_a_deadline_time_is_endless() -> None:
    assert NEVER.remaining() == math.inf


def test_time_runs_out() -> None:
    deadline = Deadline.after(100)

    first, second = deadline.remaining(), deadline.remaining()

    assert 50 < second <= first <= 100


def test_a_part_has_less_time() -> None:
    assert 50 < Deadline.after(1000).within(100).remaining() <= 100


def test_a_part_never_has_more_time_than_the_whole() -> None:
    whole = Deadline.after(100)

    assert whole.within(1000) == whole


def test_of_time_that_is_over_nothing_is_left() -> None:
    assert Deadline.after(100).within(-1).remaining() == 0


def test_a_timeout_is_no_longer_than_what_is_left() -> None:
    assert NEVER.timeout(3) == 3
    assert Deadline.after(1000).timeout(3) == 3
    assert 50 < Deadline.after(100).timeout(1000) <= 100
    assert 50 < Deadline.after(100).timeout(None) <= 100


def test_work_whose_time_is_over_gets_no_last_chance() -> None:
    with pytest.raises(TimeoutError):
        Deadline.after(0).timeout(3)
