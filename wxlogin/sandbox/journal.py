"""What the sandbox remembers of calls: all for who tests, and failures for who asks WeChat about a rid."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

MAX_CALLS: Final = 10_000
FAILURE_KEPT_SECONDS: Final = 7 * 86_400
# A signature, too: who has it can have the user's `session_key` replaced.
MASKED_PARAMETERS: Final = frozenset(
    {"secret", "appsecret", "access_token", "component_access_token", "signature"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came in; `errcode` is 0 for a success, None before the answer or if a fault gave none."""

    path: str
    query: Mapping[str, str | list[str]]
    errcode: int | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that was refused, whose secrets are masked; `appid` is who called, as far as that is known."""

    path: str
    appid: str | None
    query: Mapping[str, str | list[str]]
    answer: str
    at: float


class Journal:
    """The newest calls and failures; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: dict[int, Call] = {}
        self._calls_noted = 0
        self._failures: dict[str, Failure] = {}

    def note_call(self, path: str, query: Mapping[str, list[str]], *, now: float) -> int:
        """Remember a call as it comes in; return its number for `note_errcode`."""
        with self._lock:
            self._calls_noted += 1
            self._calls[self._calls_noted] = Call(path, masked(query), None, now)
            self._calls.pop(self._calls_noted - MAX_CALLS, None)
            return self._calls_noted

    def note_errcode(self, number: int, errcode: int | None) -> None:
        """Remember how a call was answered, unless it was forgotten meanwhile."""
        with self._lock:
            if number in self._calls:
                self._calls[number] = replace(self._calls[number], errcode=errcode)

    def calls(self) -> list[Call]:
        """Return the newest calls, oldest first."""
        with self._lock:
            return list(self._calls.values())

    def note_failure(self, rid: str, failure: Failure) -> None:
        """Remember what WeChat calls by a rid."""
        with self._lock:
            self._failures[rid] = failure
            if len(self._failures) > MAX_CALLS:
                del self._failures[next(iter(self._failures))]

    def find_failure(self, rid: str, *, now: float) -> Failure | None:
        """Return what that rid names, if it is known and not too old."""
        with self._lock:
            failure = self._failures.get(rid)
        return failure if failure and now - failure.at < FAILURE_KEPT_SECONDS else None


def masked(query: Mapping[str, list[str]]) -> dict[str, str | list[str]]:
    """Return each parameter's value, or a list of them where it was repeated, with the secrets masked."""
    return {name: one_or_all(name, values) for name, values in query.items()}


def one_or_all(name: str, values: list[str]) -> str | list[str]:
    shown = ["***"] * len(values) if name in MASKED_PARAMETERS else list(values)
    return shown[0] if len(shown) == 1 else shown
