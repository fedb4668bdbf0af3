"""How much time a piece of work has left: a limit on everything that a thread does inside it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator

_work = threading.local()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let what this thread does inside take ``seconds`` in all.

    Limits nest: an inner one shortens the time that is left, and never extends it.
    """
    outer = _deadline()
    _work.deadline = min(outer, time.monotonic() + seconds)
    try:
        yield
    finally:
        _work.deadline = outer


def time_left() -> float:
    """Return how many seconds are left within this thread's limit; infinity outside of any."""
    return max(0.0, _deadline() - time.monotonic())


def shortened(seconds: float | None) -> float:
    """Return ``seconds``, or the time that is left if that is less; raise `TimeoutError` if none is left.

    Work whose time is over gets no last chance: a flood of bytes that count for nothing would take it each time.
    """
    left = time_left()
    if not left:
        raise TimeoutError("the time is over")
    return min(seconds or left, left)


def _deadline() -> float:
    deadline: float = getattr(_work, "deadline", math.inf)
    return deadline
