"""How often somebody may ask: counted in Redis, for all workers together. What can't be counted is let through."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NoReturn, get_args

from limits import RateLimitItem, RateLimitItemPerMinute, parse_many

from wxlogin.resilience.instrumentation import NULL, Instrumentation
from wxlogin.storage.client import Client
from wxlogin.storage.gateway import RedisGateway, StoreUnavailable
from wxlogin.storage.scripts import load_script
from wxlogin.wechat.api.user_data import StaleSessionKey, UnknownUserData

logger = logging.getLogger(__name__)

Scope = Literal["login", "user_data", "phone_number"]
"""Requests that are counted together."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

UNLIMITED = "none"

# An oracle that tells good padding from bad needs some 2,000 tries for 16 characters.
_FAILED_DECRYPTIONS = RateLimitItemPerMinute(20, 10)
# Whether a cut text is JSON tells something about an id in it that is not answered: some 40 tries a character.
_UNKNOWN_DATA = RateLimitItemPerMinute(60, 10)

_WARN_EVERY_SECONDS = 60

_COUNT = load_script("wxlogin.login", "count")

_WITH_PORT = re.compile(r"\[([^]]*)\](?::\d+)?|([\d.]+):\d+")


class RateLimited(Exception):
    """Raised if somebody has asked too often lately."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How often one client address, and one user, may ask, in the notation of ``limits``, or `UNLIMITED`.

    https://limits.readthedocs.io/en/stable/quickstart.html#rate-limit-string-notation
    """

    per_address: str
    per_user: str


class Counters:
    """Counts in Redis, each of which ends with its window. Thread-safe.

    No method fails or is repeated: while Redis does not count, nothing has happened yet, and a warning says so.
    """

    def __init__(self, redis: RedisGateway, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._warned_at = -math.inf

    def add(self, key: str, *, window_seconds: int) -> int:
        """Count one more and return how many there are in this window; one round trip."""
        name = _name_of(key)
        return self._call_or_zero(lambda client: client.eval(_COUNT, 1, name, str(window_seconds)), name)

    def count(self, key: str) -> int:
        """Return how many there are; one round trip."""
        name = _name_of(key)
        return self._call_or_zero(lambda client: client.get(name), name)

    def seconds_left(self, key: str) -> int:
        """Return in how many seconds the window is over, at least one; one round trip."""
        name = _name_of(key)
        return max(1, math.ceil(self._call_or_zero(lambda client: client.pttl(name), name) / 1000))

    def _call_or_zero(self, work: Callable[[Client], Any], name: str) -> int:
        try:
            return int(self._redis.call(work, key=name, retry_safe=False) or 0)
        except (StoreUnavailable, ValueError):  # the latter of what somebody else put there
            self._warn()
            return 0

    def _warn(self) -> None:
        if self._clock() - self._warned_at >= _WARN_EVERY_SECONDS:
            self._warned_at = self._clock()
            logger.warning("the limits are not counted: requests are let through")


class RateLimits:
    """The limits of each scope, and two on decryptions that fail. Thread-safe."""

    def __init__(
        self,
        redis: RedisGateway,
        allowances: Mapping[Scope, Allowance],
        *,
        instrumentation: Instrumentation = NULL,
    ) -> None:
        self._instrumentation = instrumentation
        self._counters = Counters(redis)
        self._per_address = {scope: _items_of(each.per_address) for scope, each in allowances.items()}
        self._per_user = {scope: _items_of(each.per_user) for scope, each in allowances.items()}

    def hit_address(self, address: str, scope: Scope) -> None:
        """Count a request from a client's address, or raise `RateLimited`."""
        for item in self._per_address[scope]:
            self._hit(item, "address", client_key(address), scope)

    def hit_user(self, user_hash: str, scope: Scope) -> None:
        """Count a request of a user who is known to be one, or raise `RateLimited`."""
        for item in self._per_user[scope]:
            self._hit(item, "user", user_hash, scope)

    @contextlib.contextmanager
    def counting_failures_of(self, user_hash: str) -> Iterator[None]:
        """Let a user's data be decrypted, and count `StaleSessionKey`, but raise `RateLimited` after too many.

        `UnknownUserData` is counted separately: too many of it do not keep other data from being decrypted. One
        round trip, and a second after a failure.
        """
        key = _FAILED_DECRYPTIONS.key_for(f"user:{user_hash}", "decryption")
        if self._counters.count(key) >= _FAILED_DECRYPTIONS.amount:
            self._refuse(key, "user", "decryption")
        try:
            yield
        except StaleSessionKey:
            self._hit(_FAILED_DECRYPTIONS, "user", user_hash, "decryption")  # not told if others were enough
            raise
        except UnknownUserData:
            self._hit(_UNKNOWN_DATA, "user", user_hash, "unknown_data")
            raise

    def _hit(self, item: RateLimitItem, subject: str, who: str, scope: str) -> None:
        key = item.key_for(f"{subject}:{who}", scope)
        if self._counters.add(key, window_seconds=item.get_expiry()) > item.amount:
            logger.info("ratelimit %s (%s:%s) exceeded at endpoint: %s", item, subject, who, scope)
            self._refuse(key, subject, scope)

    def _refuse(self, key: str, subject: str, scope: str) -> NoReturn:
        self._instrumentation.rate_limit_exceeded(scope, subject)
        raise RateLimited(self._counters.seconds_left(key))


def client_key(address: str) -> str:
    """Return what is counted as one client: an IPv4 address, the /64 of an IPv6 one, or ``unknown``.

    Whoever has IPv6 has a whole /64 at the least. A port, which some proxies add, is left out.
    """
    match = _WITH_PORT.fullmatch(address)
    try:
        parsed = ipaddress.ip_address((match[1] or match[2]) if match else address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64")


def _items_of(allowance: str) -> list[RateLimitItem]:
    """Return the limits, the shortest window first: what that refuses does not use up the longer ones."""
    return [] if allowance == UNLIMITED else sorted(parse_many(allowance), key=lambda item: item.get_expiry())


def _name_of(key: str) -> str:
    return f"wxlogin:limit:{key.removeprefix('LIMITER/')}"
