"""A fuse: when a server is silent, callers are told at once instead of waiting for it, thread after thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Fuse:
    """Blow after some calls in a row were waited for in vain; then let one through at a time, to see. Thread-safe.

    A refused connection costs nothing and is not counted: after a restart the first call is served.
    """

    def __init__(
        self,
        *,
        blows_after: int = 3,
        mends_after_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blows_after = blows_after
        self._mends_after = mends_after_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._waits_in_vain = 0
        self._blown_until = 0.0

    @property
    def is_blown(self) -> bool:
        """Say whether most calls are turned away."""
        return self._waits_in_vain >= self._blows_after

    def lets_through(self) -> bool:
        """Say whether to try a call; while the fuse is blown, one caller at a time is told to."""
        with self._lock:
            if not self.is_blown:
                return True
            if self._clock() < self._blown_until:
                return False
            self._blown_until = self._clock() + self._mends_after
            return True

    def note_answer(self) -> bool:
        """Mend: somebody was answered, be it with an error. Return whether it was blown."""
        with self._lock:
            was_blown = self.is_blown
            self._waits_in_vain = 0
            return was_blown

    def note_wait_in_vain(self) -> bool:
        """Count a call that took its time and was not answered; return whether this one blew it."""
        with self._lock:
            self._waits_in_vain += 1
            self._blown_until = self._clock() + self._mends_after
            return self._waits_in_vain == self._blows_after
