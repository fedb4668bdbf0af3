"""The gate in front of the operators' routes: one token, compared in constant time, and few guesses."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections.abc import Callable

_GUESSES = 10
_WINDOW_SECONDS = 60
_MOST_ADDRESSES = 10_000


class NotAnOperator(Exception):
    """Raised if a request has not the operators' token."""


class TooManyGuesses(Exception):
    """Raised if an address has guessed too often lately; what it says is not even looked at."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class AdminGate:
    """Let those through who have the token. Each process counts for itself. Thread-safe."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._clock = clock
        self._lock = threading.Lock()
        self._guesses: dict[str, list[float]] = {}

    @property
    def is_open(self) -> bool:
        """Say whether there is a token at all."""
        return bool(self._token)

    def check(self, token: str, *, address: str) -> None:
        """Return if ``token`` is right; raise `NotAnOperator` or `TooManyGuesses` else."""
        with self._lock:
            recent = self._recent_guesses(address)
            if len(recent) >= _GUESSES:
                raise TooManyGuesses(math.ceil(recent[0] + _WINDOW_SECONDS - self._clock()))
            if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
                return
            self._guesses[address] = [*recent, self._clock()]
        raise NotAnOperator

    def _recent_guesses(self, address: str) -> list[float]:
        if len(self._guesses) >= _MOST_ADDRESSES:
            self._guesses.clear()
        start = self._clock() - _WINDOW_SECONDS
        return [guess for guess in self._guesses.get(address, ()) if guess > start]
