"""The operators' token: one, compared in constant time, and few guesses at it."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections.abc import Callable

_MAX_FAILURES = 10
_WINDOW_SECONDS = 60
_MAX_ADDRESSES = 10_000


class InvalidAdminToken(Exception):
    """Raised if a request has not the operators' token."""


class AdminAuthThrottled(Exception):
    """Raised if an address has guessed too often lately; what it says is not even looked at."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class AdminTokenVerifier:
    """Let those through who have the token. Each process counts for itself. Thread-safe."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._clock = clock
        self._lock = threading.Lock()
        self._guesses: dict[str, list[float]] = {}

    @property
    def is_enabled(self) -> bool:
        """Say whether there is a token at all."""
        return bool(self._token)

    def verify(self, token: str, *, address: str) -> None:
        """Return if ``token`` is right; raise `InvalidAdminToken` or `AdminAuthThrottled` else."""
        with self._lock:
            recent = self._recent_failures(address)
            if len(recent) >= _MAX_FAILURES:
                raise AdminAuthThrottled(math.ceil(recent[0] + _WINDOW_SECONDS - self._clock()))
            if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
                return
            self._guesses[address] = [*recent, self._clock()]
        raise InvalidAdminToken

    def _recent_failures(self, address: str) -> list[float]:
        if len(self._guesses) >= _MAX_ADDRESSES:
            self._guesses.clear()
        start = self._clock() - _WINDOW_SECONDS
        return [guess for guess in self._guesses.get(address, ()) if guess > start]
