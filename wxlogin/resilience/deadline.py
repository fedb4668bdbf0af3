"""The point in time by which a piece of work has to be over: a value, handed down to whatever may wait."""

from __future__ import annotations

import dataclasses
import math
import time


@dataclasses.dataclass(frozen=True, slots=True)
class Deadline:
    """A second of the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline of work that begins now and may take so many seconds."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> Deadline:
        """Return the deadline of a part of the work, which may take ``seconds`` and never more than is left."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    def remaining(self) -> float:
        """Return how many seconds are left, 0 at the least."""
        return max(0.0, self.at - time.monotonic())

    def timeout(self, seconds: float | None) -> float:
        """Return ``seconds``, or what is left if that is less; raise `TimeoutError` if nothing is left.

        Work whose time is over gets no last chance: a flood of bytes that count for nothing would take it each
        time.
        """
        remaining = self.remaining()
        if not remaining:
            raise TimeoutError("the time is over")
        return remaining if seconds is None else min(seconds, remaining)


NEVER = Deadline(math.inf)
