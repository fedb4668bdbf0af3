"""How long something took, without the time for which a busy machine did not let this process run.

What has to happen in time is promised for a machine that has time for it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TICK_SECONDS = 0.01


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Give a function that tells how many seconds have passed since, or until the context ended."""
    delays = _watched_delays()
    started_at, lost_before = time.monotonic(), delays.total()
    seconds: list[float] = []

    def passed() -> float:
        return seconds[0] if seconds else time.monotonic() - started_at - (delays.total() - lost_before)

    yield passed
    seconds.append(passed())


class _Delays:
    """How late a thread was, in all, that wants to run again and again."""

    def __init__(self) -> None:
        self._lost_and_due_at = (0.0, time.monotonic())  # changed in one step: others read it meanwhile
        threading.Thread(target=self._run, name="stopwatch", daemon=True).start()

    def total(self) -> float:
        """Return the seconds that were lost up to now."""
        lost, due_at = self._lost_and_due_at
        return lost + max(0.0, time.monotonic() - due_at)

    def _run(self) -> None:
        never = threading.Event()
        while True:
            self._lost_and_due_at = (self.total(), time.monotonic() + _TICK_SECONDS)
            never.wait(_TICK_SECONDS)


@functools.cache
def _watched_delays() -> _Delays:
    return _Delays()
