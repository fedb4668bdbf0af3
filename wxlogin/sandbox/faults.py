"""What the next calls get instead of, or beside, WeChat's normal answer."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the next `times` calls of `path` get; without an effect, that is the normal answer.

    `changes` replace and add to the fields of an answer that is JSON. In `body`, `OPENID` and `SESSION_KEY` stand
    for those of the user whom the call is about.
    """

    path: str
    times: int = 1
    errcode: int | None = None
    status: int | None = None
    body: str | None = None
    content_type: str | None = None
    changes: Mapping[str, Any] | None = None
    delay_seconds: float = 0
    reset: bool = False

    @property
    def replaces_answer(self) -> bool:
        """Whether the call gets what the fault says, without WeChat's work being done."""
        return self.errcode is not None or self.status is not None or self.body is not None

    @property
    def has_effect(self) -> bool:
        """Whether the call is answered in another way than the normal one."""
        changed = self.content_type is not None or bool(self.changes)
        return self.replaces_answer or changed or bool(self.delay_seconds) or self.reset


class Faults:
    """The faults that are armed, by path; safe to share between threads."""

    def __init__(self) -> None:
        self._armed: dict[str, deque[Fault]] = {}
        self._lock = Lock()

    def arm(self, fault: Fault) -> None:
        """Show `fault` to the next calls of its path, after the faults that path still has to show."""
        with self._lock:
            self._armed.setdefault(fault.path, deque()).append(fault)

    def disarm(self, path: str | None = None) -> None:
        """Forget the faults that are still to be shown, at one path or at all."""
        with self._lock:
            for each in [path] if path else list(self._armed):
                self._armed.pop(each, None)

    def armed(self) -> list[Fault]:
        """Return the faults that are still to be shown, `times` as often."""
        with self._lock:
            return [fault for faults in self._armed.values() for fault in faults]

    def take(self, path: str) -> Fault:
        """Return what one call of `path` gets: a fault without effect if none is armed."""
        with self._lock:
            armed = self._armed.get(path)
            if not armed:
                return Fault(path=path)
            fault = armed.popleft()
            if fault.times > 1:
                armed.appendleft(replace(fault, times=fault.times - 1))
            return fault
