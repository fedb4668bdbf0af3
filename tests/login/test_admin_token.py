"""The operators' token: who passes, and how many guesses there are."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Clock
from wxlogin.login.admin_token import AdminAuthThrottled, AdminTokenVerifier, InvalidAdminToken

TOKEN = "the-operators-token"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def verifier(clock: Clock) -> AdminTokenVerifier:
    return AdminTokenVerifier(TOKEN, clock=clock)


def guess(verifier: AdminTokenVerifier, *, times: int = 1, address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(InvalidAdminToken):
            verifier.verify("wrong", address=address)


def is_let_in(verifier: AdminTokenVerifier, *, address: str = HERE) -> bool:
    try:
        verifier.verify(TOKEN, address=address)
    except AdminAuthThrottled:
        return False
    return True


@pytest.mark.parametrize(("token", "expected"), [(TOKEN, True), ("", False)])
def test_a_gate_without_a_token_is_not_open(token: str, expected: bool) -> None:
    assert AdminTokenVerifier(token).is_enabled == expected


def test_the_right_token_is_let_in_any_number_of_times(verifier: AdminTokenVerifier) -> None:
    assert all(is_let_in(verifier) for _ in range(100))


@pytest.mark.parametrize(
    "token", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", TOKEN + "\0", "é", "\ud800"]
)
def test_a_wrong_token_is_refused(verifier: AdminTokenVerifier, token: str) -> None:
    with pytest.raises(InvalidAdminToken):
        verifier.verify(token, address=HERE)


def test_after_9_wrong_tokens_the_right_one_is_let_in(verifier: AdminTokenVerifier) -> None:
    guess(verifier, times=9)

    assert is_let_in(verifier)


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_after_10_wrong_tokens_none_is_looked_at(verifier: AdminTokenVerifier, token: str) -> None:
    guess(verifier, times=10)

    with pytest.raises(AdminAuthThrottled):
        verifier.verify(token, address=HERE)


def test_the_right_token_in_between_makes_no_room_for_guesses(verifier: AdminTokenVerifier) -> None:
    guess(verifier, times=9)
    assert is_let_in(verifier)
    guess(verifier)

    assert not is_let_in(verifier)


def test_who_guesses_elsewhere_locks_nobody_out_here(verifier: AdminTokenVerifier) -> None:
    guess(verifier, times=10, address=ELSEWHERE)

    assert is_let_in(verifier)
    guess(verifier, times=10)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 60), (0.5, 60), (1, 59), (59, 1), (59.9, 1)])
def test_who_has_guessed_too_often_is_told_how_many_seconds_to_wait(
    verifier: AdminTokenVerifier, clock: Clock, seconds: float, expected: int
) -> None:
    guess(verifier, times=10)
    clock.advance(seconds)

    with pytest.raises(AdminAuthThrottled) as caught:
        verifier.verify(TOKEN, address=HERE)

    assert caught.value.retry_after_seconds == expected


@pytest.mark.parametrize(("seconds", "expected"), [(59.9, False), (60, True)])
def test_after_a_minute_the_right_token_is_let_in_again(
    verifier: AdminTokenVerifier, clock: Clock, seconds: float, expected: bool
) -> None:
    guess(verifier, times=10)

    clock.advance(seconds)

    assert is_let_in(verifier) == expected


def test_a_guess_is_forgotten_when_it_is_a_minute_old_and_no_other(
    verifier: AdminTokenVerifier, clock: Clock
) -> None:
    guess(verifier)
    clock.advance(30)
    guess(verifier, times=9)
    clock.advance(30)

    guess(verifier)

    assert not is_let_in(verifier)


def test_trying_on_does_not_make_the_wait_longer(verifier: AdminTokenVerifier, clock: Clock) -> None:
    guess(verifier, times=10)
    clock.advance(30)
    assert not any(is_let_in(verifier) for _ in range(10))

    clock.advance(30)

    assert is_let_in(verifier)


def test_of_20_guesses_at_once_10_are_looked_at(clock: Clock) -> None:
    verifier, barrier = AdminTokenVerifier(TOKEN, clock=giving_way(clock)), threading.Barrier(20)

    def guess_at_once(_: int) -> type[Exception]:
        barrier.wait(20)
        with pytest.raises((InvalidAdminToken, AdminAuthThrottled)) as caught:
            verifier.verify("wrong", address=HERE)
        return caught.type

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(guess_at_once, range(20)))

    assert outcomes.count(InvalidAdminToken) == 10


def giving_way(clock: Clock) -> Callable[[], float]:
    """Return a clock that lets the other threads go on first whenever it is looked at."""

    def now() -> float:
        os.sched_yield()
        return clock()

    return now


def test_no_more_than_10000_addresses_are_remembered(verifier: AdminTokenVerifier) -> None:
    guess(verifier, times=10)
    assert not is_let_in(verifier)

    for number in range(9_999):
        guess(verifier, address=str(number))

    assert is_let_in(verifier)
