"""How often WeChat lets an app, or a user, call: as often as one likes, unless a limit is set."""

from dataclasses import dataclass
from threading import Lock

from wxlogin.sandbox.errcodes import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """After so many `calls` of `path` in a window of so many `seconds`, an app or a user gets `errcode`."""

    path: str
    calls: int
    seconds: int
    per: str
    errcode: int


class Limits:
    """The limits that are set, and what was counted; safe to share between threads."""

    def __init__(self) -> None:
        self._set: dict[tuple[str, int, str], Limit] = {}
        self._counted: dict[tuple[Limit, str, str], tuple[int, int]] = {}
        self._lock = Lock()

    def set(self, limit: Limit) -> None:
        """Set a limit, in place of one of the same path, window and kind."""
        with self._lock:
            self._set[limit.path, limit.seconds, limit.per] = limit

    def remove(self, path: str | None = None) -> None:
        """Remove the limits of one path, or all of them."""
        with self._lock:
            self._set = {key: limit for key, limit in self._set.items() if path and limit.path != path}

    def all(self) -> list[Limit]:
        """Return the limits that are set."""
        with self._lock:
            return list(self._set.values())

    def count(self, path: str, *, appid: str, openid: str, now: float) -> None:
        """Count a call of an app's about a user, if it is about one; raise `ApiError` if it is over a limit."""
        with self._lock:
            limits = [limit for limit in self._set.values() if limit.path == path]
            for limit in limits:
                if limit.per == "app" or openid:
                    self._count(limit, appid, openid if limit.per == "user" else "", now=now)

    def _count(self, limit: Limit, appid: str, openid: str, *, now: float) -> None:
        caller, window = (limit, appid, openid), int(now // limit.seconds)
        counted_in, count = self._counted.get(caller, (window, 0))
        count = count + 1 if counted_in == window else 1
        self._counted[caller] = window, count
        if count > limit.calls:
            raise ApiError(limit.errcode)

    def clear(self, appid: str) -> None:
        """Forget what was counted of an app and its users."""
        with self._lock:
            self._counted = {caller: counted for caller, counted in self._counted.items() if caller[1] != appid}
