"""What is remembered of sessions, and above all what is not."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conftest import Clock
from wxlogin.sessions.record import User
from wxlogin.sessions.session_id import SessionId
from wxlogin.sessions.verification.cache import MAX_SESSIONS_PER_USER, NearCache

USER = User("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE")
OTHER = User("wx4f4bc4dec97d474b", "oOther")
AGES = 100.0


@pytest.fixture
def cache(clock: Clock) -> NearCache:
    cache = NearCache(seconds=2, clock=clock)
    cache.enable()
    return cache


def keep(cache: NearCache, session_id: SessionId, user: User = USER, *, seconds: float = AGES) -> None:
    cache.fill(session_id, cache.begin_fill(session_id), user, seconds=seconds)


def test_a_session_that_was_kept_is_known(cache: NearCache) -> None:
    session_id, other = SessionId.new(USER), SessionId.new(USER)

    keep(cache, session_id)

    assert cache.find(session_id) is USER
    assert cache.find(other) is None
    assert cache.find(SessionId.new(OTHER)) is None


@pytest.mark.parametrize(("rest", "good_for"), [(AGES, 2), (1.5, 1.5), (0, 0), (-1, 0)])
def test_it_is_known_for_the_shorter_of_the_times(
    cache: NearCache, clock: Clock, rest: float, good_for: float
) -> None:
    session_id = SessionId.new(USER)
    keep(cache, session_id, seconds=rest)

    clock.advance(good_for - 0.01)
    before = cache.find(session_id)
    clock.advance(0.01)

    assert before is (USER if good_for else None)
    assert cache.find(session_id) is None


def test_a_clock_that_is_put_back_lets_nothing_live_longer(cache: NearCache, clock: Clock) -> None:
    session_id = SessionId.new(USER)
    keep(cache, session_id)

    clock.advance(-1)

    assert cache.find(session_id) is None


def test_all_sessions_of_a_user_are_forgotten_and_no_others(cache: NearCache) -> None:
    mine, mine_too, others = SessionId.new(USER), SessionId.new(USER), SessionId.new(OTHER)
    for session_id, user in ((mine, USER), (mine_too, USER), (others, OTHER)):
        keep(cache, session_id, user)

    cache.invalidate([mine.user_hash, "nobody"])

    assert [cache.find(each) for each in (mine, mine_too, others)] == [None, None, OTHER]


@pytest.mark.parametrize("change", ["invalidate", "disable", "enable"])
def test_what_was_read_while_it_changed_is_not_kept(cache: NearCache, change: str) -> None:
    session_id = SessionId.new(USER)
    sessions = cache.begin_fill(session_id)

    cache.invalidate([session_id.user_hash]) if change == "invalidate" else getattr(cache, change)()
    cache.fill(session_id, sessions, USER, seconds=AGES)

    assert cache.find(session_id) is None


def test_what_is_read_after_a_change_is_kept(cache: NearCache) -> None:
    session_id = SessionId.new(USER)
    cache.invalidate([session_id.user_hash])

    keep(cache, session_id)

    assert cache.find(session_id) is USER


def test_a_cache_that_nobody_tells_of_changes_knows_and_learns_nothing(cache: NearCache) -> None:
    session_id = SessionId.new(USER)
    keep(cache, session_id)

    cache.disable()
    after_closing = cache.find(session_id)
    keep(cache, session_id)

    assert (after_closing, cache.find(session_id)) == (None, None)


def test_one_that_is_opened_again_begins_anew(cache: NearCache) -> None:
    session_id = SessionId.new(USER)
    keep(cache, session_id)
    cache.disable()

    cache.enable()

    assert cache.find(session_id) is None
    keep(cache, session_id)
    assert cache.find(session_id) is USER


def test_no_more_users_are_known_than_may_be(clock: Clock) -> None:
    cache = NearCache(seconds=2, max_users=3, clock=clock)
    cache.enable()
    users = [User("wx4f4bc4dec97d474b", f"o{number}") for number in range(10)]
    ids = [SessionId.new(user) for user in users]

    for session_id, user in zip(ids, users, strict=True):
        keep(cache, session_id, user)

    assert [cache.find(each) for each in ids] == [None] * 7 + users[7:]


def test_no_more_sessions_of_a_user_are_known_than_may_be(cache: NearCache) -> None:
    ids = [SessionId.new(USER) for _ in range(MAX_SESSIONS_PER_USER + 5)]

    for session_id in ids:
        keep(cache, session_id)

    assert sum(cache.find(each) is USER for each in ids) == MAX_SESSIONS_PER_USER


def test_ids_that_were_guessed_take_nobodys_place(clock: Clock) -> None:
    cache = NearCache(seconds=2, max_users=2, clock=clock)
    cache.enable()
    mine = SessionId.new(USER)
    keep(cache, mine)

    for number in range(10):
        guessed = SessionId.new(User("wx4f4bc4dec97d474b", f"o{number}"))
        cache.cancel_fill(guessed, cache.begin_fill(guessed))

    assert cache.find(mine) is USER


def test_a_wrong_id_of_a_user_takes_nothing_from_the_right_one(cache: NearCache) -> None:
    mine, wrong = SessionId.new(USER), SessionId.new(USER)
    keep(cache, mine)

    cache.cancel_fill(wrong, cache.begin_fill(wrong))

    assert cache.find(mine) is USER


def test_nothing_but_the_user_is_kept_of_a_session(cache: NearCache) -> None:
    session_id = SessionId.new(USER)
    keep(cache, session_id)

    (known,) = cache.begin_fill(session_id).values()

    assert [field.name for field in dataclasses.fields(known)] == ["user", "since", "until"]
