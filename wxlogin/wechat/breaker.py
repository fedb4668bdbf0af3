"""A breaker for an endpoint of WeChat's: while that is out of order, nobody waits for it or piles calls on it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wxlogin.fuse import Fuse

logger = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 5
_PROBE_EVERY_SECONDS = 1.0


class Breaker:
    """Turn callers of a path away after some failures in a row, but for one a second, to see. Thread-safe.

    ``on_change`` is told the path, and whether the breaker has opened or closed.
    """

    def __init__(self, path: str, *, clock: Callable[[], float], on_change: Callable[[str, bool], object]) -> None:
        self._path = path
        self._on_change = on_change
        self._fuse = Fuse(blows_after=_FAILURES_IN_A_ROW, mends_after_seconds=_PROBE_EVERY_SECONDS, clock=clock)

    def lets_through(self) -> bool:
        """Say whether to make a call."""
        return self._fuse.lets_through()

    def note(self, *, is_failure: bool) -> None:
        """Take in what came of a call."""
        if not is_failure:
            self._note_answer()
        elif not self._fuse.is_blown:  # else each failing probe, seconds after its start, would put off the next
            self._note_failure()

    def _note_failure(self) -> None:
        if self._fuse.note_wait_in_vain():
            logger.warning("WeChat fails at %s: calls are turned away, but for one a second", self._path)
            self._on_change(self._path, True)

    def _note_answer(self) -> None:
        if self._fuse.note_answer():
            logger.warning("WeChat works again at %s", self._path)
            self._on_change(self._path, False)
